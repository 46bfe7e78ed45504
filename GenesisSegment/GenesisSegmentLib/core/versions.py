"""Versions of packages compared as PEP 440 says, for the released versions and the plain ranges that occur here.

Slicer's Python has ``packaging`` for this, but this room of the code uses the standard library alone.
"""

from __future__ import annotations

import re

_VERSION = re.compile(
    r"v?(?:\d+!)?(\d+(?:\.\d+)*)[-._]?((?:a|b|c|rc|alpha|beta|pre|preview|dev)[-._]?\d*)?", re.IGNORECASE
)
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*?)\s*")
_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*([^\s,]+)")

Key = tuple[tuple[int, ...], bool]


def split_requirement(line: str) -> tuple[str, str]:
    """Name and version specifier of a requirement without extras and markers."""
    found = _REQUIREMENT.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is not a requirement.")
    return found[1], found[2].replace(" ", "")


def normalized(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_at_least(version: str, least: str) -> bool:
    """Whether ``version`` is ``least`` or later."""
    return _key(version) >= _key(least)


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version lies in a range such as ``>=2.8,!=2.9.*``; a version that cannot be read does not.

    Raises:
        ValueError: the specifier has a clause that is not known here.
    """
    clauses = [clause for clause in specifier.split(",") if clause]
    parsed = [_CLAUSE.fullmatch(clause.strip()) for clause in clauses]
    if not all(parsed):
        raise ValueError(f"{specifier!r} is not a range that is known here.")
    if _VERSION.match(version) is None:
        return False
    return all(_holds(version, found[1], found[2]) for found in parsed if found)


def _holds(version: str, operator: str, bound: str) -> bool:
    if bound.endswith(".*"):
        prefix = _numbers(bound[:-2])
        is_equal = _padded(_numbers(version), len(prefix))[: len(prefix)] == prefix
        return is_equal if operator == "==" else not is_equal
    here, there = _key(version), _key(bound)
    return {
        ">=": here >= there,
        "<=": here <= there,
        ">": here > there,
        "<": here < there,
        "==": here == there,
        "!=": here != there,
    }[operator]


def _key(version: str) -> Key:
    """Comparable: numbers without trailing zeros, then whether it is a final release; what is local is left out."""
    found = _VERSION.match(version)
    numbers = list(_numbers(version))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), not (found and found[2])


def _numbers(version: str) -> tuple[int, ...]:
    found = _VERSION.match(version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (*numbers, *(0,) * (length - len(numbers)))
