"""The class table: 25 organs and 7 lesion classes, their names, groups, colours and codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .errors import InputError
from .resources import resource


@dataclass(frozen=True)
class Code:
    """A coded concept of a terminology, such as SNOMED CT."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class StructureClass:
    """One class of the universal model (models.md 1.1).

    ``index`` is 1-based; its channel in the network is ``index - 1``. ``hosts`` are the organs in which a lesion
    lies. ``prompt_noun`` is what the text embedding was made from, misspellings included (models.md 1.7).
    """

    index: int
    name: str
    slug: str
    kind: str
    prompt_noun: str
    hosts: tuple[int, ...]
    synonyms: tuple[str, ...]
    color: tuple[int, int, int]
    category: Code
    type: Code
    modifier: Code | None
    region: Code | None

    @property
    def is_lesion(self) -> bool:
        """Whether this is a tumour or a cyst."""
        return self.kind == "lesion"


@cache
def class_table() -> dict[int, StructureClass]:
    """The 32 classes by index, in ascending order."""
    document = json.loads(resource("GenesisSegmentClasses.json").read_text(encoding="utf-8"))
    return {entry["index"]: _structure(entry) for entry in document["classes"]}


@cache
def class_slugs() -> dict[str, int]:
    """The index of each class by its slug; do not change it."""
    return {c.slug: index for index, c in class_table().items()}


def all_classes() -> tuple[int, ...]:
    """Every class index, ascending."""
    return tuple(class_table())


def find_classes(names: Iterable[str], offered: Iterable[int] | None = None) -> tuple[int, ...]:
    """Class indices, ascending, for names, slugs, synonyms, numbers or groups ("kidneys", "organs", "lesions").

    Raises:
        InputError: a name is unknown, or not among the ``offered`` classes.
    """
    words = _words()
    found: set[int] = set()
    for name in names:
        key = _key(name)
        if key not in words:
            raise InputError(
                f'There is no class "{name.strip()}".',
                f"Choose from: {', '.join(c.slug for c in class_table().values())}, or a group such as kidneys, lungs, "
                "organs, lesions.",
            )
        found |= words[key]
    allowed = set(offered) if offered is not None else found
    if not found <= allowed:
        missing = ", ".join(class_table()[c].slug for c in sorted(found - allowed))
        have = ", ".join(class_table()[c].slug for c in sorted(allowed))
        raise InputError(f"The model does not offer: {missing}.", f"It offers: {have}.")
    return tuple(sorted(found))


@cache
def _words() -> dict[str, frozenset[int]]:
    table = class_table().values()
    document = json.loads(resource("GenesisSegmentClasses.json").read_text(encoding="utf-8"))
    words = {
        "all": frozenset(c.index for c in table),
        "organs": frozenset(c.index for c in table if not c.is_lesion),
        "lesions": frozenset(c.index for c in table if c.is_lesion),
        **{_key(group): frozenset(members) for group, members in document["groups"].items()},
    }
    for c in table:
        for word in (c.name, c.slug, str(c.index), *c.synonyms):
            words[_key(word)] = frozenset({c.index})
    return words


def _key(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name.strip().lower())


def _code(entry: dict[str, str] | None) -> Code | None:
    return Code(**entry) if entry else None


def _structure(entry: dict) -> StructureClass:
    return StructureClass(
        index=entry["index"],
        name=entry["name"],
        slug=entry["slug"],
        kind=entry["kind"],
        prompt_noun=entry["prompt_noun"],
        hosts=tuple(entry["hosts"]),
        synonyms=tuple(entry["synonyms"]),
        color=tuple(entry["color"]),
        category=Code(**entry["category"]),
        type=Code(**entry["type"]),
        modifier=_code(entry["modifier"]),
        region=_code(entry["region"]),
    )
