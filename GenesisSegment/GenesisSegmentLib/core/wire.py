"""Frozen dataclasses as JSON and back, and bytes of a pipe as lines; garbage is found out, not fallen over.

Knows the types that messages are made of: str, int, float, bool, literals, optionals, tuples, ``dict[str, X]`` and
further dataclasses. Fields that are not known are left aside, so that a newer sender can be understood.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from functools import cache
from typing import Any, TypeVar

from .errors import InputError
from .i18n import Worded

T = TypeVar("T")

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. No message comes near it: bulk data does not go through the pipe."""
_CARRIED = ("text", "context", "template")
_LARGEST_INT = 2**63 - 1
_OBJECT = b'{"v":'
"""How every message starts. Inside a JSON string the quotes are escaped, so that this can only be a start."""


class MisfitError(ValueError):
    """A value is not what the field is declared to hold."""


class LineSplitter:
    """Bytes as they come from a pipe -> whole lines; a line that grows beyond ``longest`` bytes is dropped."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._size = 0
        self._is_dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines, without their ends, that ``data`` completes."""
        *complete, rest = data.split(b"\n")
        lines = []
        for piece in complete:
            self._keep(piece)
            if not self._is_dropping:
                lines.append(b"".join(self._begun))
            self._begun, self._size, self._is_dropping = [], 0, False
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._longest:
            self._begun, self._is_dropping = [], True
        elif piece and not self._is_dropping:
            self._begun.append(piece)


def to_line(document: dict[str, Any]) -> bytes:
    """One JSON object as one line in ASCII, so that names that are no valid Unicode survive too."""
    return (
        json.dumps(_plain(document), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    )


def _plain(value: Any) -> Any:
    """What JSON knows: a text that carries its literal becomes an object."""
    if isinstance(value, Worded):
        carried = {"text": str(value), "context": value.context, "template": value.template, "values": value.values}
        return {name: _plain(part) for name, part in carried.items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, or None where there is none.

    A message behind other text on the same line, such as the beginning of one that was cut off, is found as well.
    """
    document = _parsed(line)
    if document is None and (start := line.rfind(_OBJECT)) > 0:
        document = _parsed(line[start:])
    return document


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def build(cls: type[T], document: dict[str, Any]) -> T:
    """An instance of a dataclass from a JSON object.

    Raises:
        MisfitError: a field is missing or holds something else than declared, and is named; or what the fields hold
            does not go together.
    """
    values = {}
    hints = _hints(cls)  # type: ignore[arg-type]
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in document:
            values[field.name] = _read(hints[field.name], document[field.name], field.name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise MisfitError(f"{field.name} is missing")
    try:
        return cls(**values)
    except InputError as error:
        raise MisfitError(error.what) from error


def _read(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _read(next(a for a in arguments if a is not type(None)), value, name)
    if origin is typing.Literal:
        return _checked(value, isinstance(value, str) and value in arguments, name)
    if origin is tuple:
        return _read_tuple(arguments, value, name)
    if origin is dict:
        _checked(value, isinstance(value, dict), name)
        return {key: _read(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, _checked(value, isinstance(value, dict), name))  # type: ignore[arg-type]
    return _read_plain(hint, value, name)


def _read_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    _checked(value, isinstance(value, list), name)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{name}[]") for item in value)
    _checked(value, len(value) == len(arguments), name)
    return tuple(_read(hint, item, f"{name}[]") for hint, item in zip(arguments, value, strict=True))


def _read_plain(hint: Any, value: Any, name: str) -> Any:
    if hint is str and isinstance(value, dict):
        return _read_carried(value, name)
    if hint is bool or hint is str:
        return _checked(value, isinstance(value, hint), name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_INT
    if hint is int:
        return _checked(value, is_number and isinstance(value, int), name)
    if hint is float:
        return float(_checked(value, is_number and math.isfinite(value), name))
    raise TypeError(f"A message cannot hold {hint!r} ({name}).")


def _read_carried(value: dict[str, Any], name: str) -> Worded:
    """A text that carries its literal (:class:`.i18n.Worded`)."""
    text, context, template = (_checked(value.get(part), isinstance(value.get(part), str), name) for part in _CARRIED)
    values = _checked(value.get("values"), isinstance(value.get("values"), dict), name)
    return Worded(text, context, template, {str(key): _read_value(item, name) for key, item in values.items()})


def _read_value(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return _read_carried(value, name)
    if isinstance(value, list):
        return [_read_value(item, name) for item in value]
    return _checked(value, isinstance(value, (str, int, float)), name)


def _checked(value: Any, is_right: bool, name: str) -> Any:
    if not is_right:
        raise MisfitError(f"{name} is not what it must be")
    return value
