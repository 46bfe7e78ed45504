"""The class table: 25 organs and 7 lesion classes, their names, groups, colours and codes.

What a person taught beyond it are structures of their own: the classes from 33 on (:func:`structures`).
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from .errors import InputError
from .files import safe_name
from .i18n import _
from .resources import resource

FIRST_OWN = 33
"""Class index of the first structure that the table lacks."""
_OWN_SCHEME = "99GENESIS"
_GOLDEN = 0.618034


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


@cache
def structures(own: tuple[str, ...] = ()) -> Mapping[int, StructureClass]:
    """The class table, and behind it the structures named ``own``: the classes 33, 34, ... Do not change it."""
    table = class_table()
    taken = {c.slug for c in table.values()}
    for index, name in enumerate(own, FIRST_OWN):
        slug = safe_name(name, "structure")
        slug = slug if slug.lower() not in taken else f"{slug}_{index}"
        taken.add(slug.lower())
        table = {**table, index: _own(index, name, slug)}
    return table


def own_structure(index: int, name: str) -> StructureClass:
    """The structure of one's own ``name`` as class ``index``, whatever others there are beside it."""
    slug = safe_name(name, "structure")
    return _own(index, name, slug if slug.lower() not in class_slugs() else f"{slug}_{index}")


def own_color(index: int) -> tuple[int, int, int]:
    """The colour of a structure of one's own: its hue is far from those of the structures before it."""
    r, g, b = (round(255 * part) for part in colorsys.hsv_to_rgb((index - FIRST_OWN) * _GOLDEN % 1, 0.55, 0.95))
    return r, g, b


def all_classes() -> tuple[int, ...]:
    """Every class index, ascending."""
    return tuple(class_table())


def find_classes(
    names: Iterable[str], offered: Iterable[int] | None = None, own: tuple[str, ...] = ()
) -> tuple[int, ...]:
    """Class indices, ascending, for names, slugs, synonyms, numbers or groups ("kidneys", "organs", "lesions").

    ``own`` are the structures from class 33 on; one that is called like a class or a group is meant along with it.

    Raises:
        InputError: a name is unknown, or not among the ``offered`` classes.
    """
    words, table = _words(own), structures(own)
    found: set[int] = set()
    for name in names:
        key = _key(name)
        if key not in words:
            raise InputError(
                _('There is no class "{name}".').format(name=name.strip()),
                _("Choose from: {classes}, or a group such as kidneys, lungs, organs, lesions.").format(
                    classes=", ".join(c.slug for c in table.values())
                ),
            )
        found |= words[key]
    allowed = set(offered) if offered is not None else found
    if not found <= allowed:
        missing = ", ".join(table[c].slug for c in sorted(found - allowed))
        have = ", ".join(table[c].slug for c in sorted(allowed))
        raise InputError(
            _("The model does not offer: {missing}.").format(missing=missing), _("It offers: {have}.").format(have=have)
        )
    return tuple(sorted(found))


@cache
def _words(own: tuple[str, ...]) -> dict[str, frozenset[int]]:
    table = structures(own).values()
    document = json.loads(resource("GenesisSegmentClasses.json").read_text(encoding="utf-8"))
    words = {
        "all": frozenset(c.index for c in table),
        "organs": frozenset(c.index for c in table if c.kind == "organ"),
        "lesions": frozenset(c.index for c in table if c.is_lesion),
        **{_key(group): frozenset(members) for group, members in document["groups"].items()},
    }
    if own:
        words["own structures"] = frozenset(c.index for c in table if c.kind == "own")
    for c in table:
        for word in (c.name, c.slug, str(c.index), *c.synonyms):
            also = words.get(_key(word), frozenset()) if c.kind == "own" else frozenset()
            words[_key(word)] = also | {c.index}
    return words


def _key(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name.strip().lower())


def _own(index: int, name: str, slug: str) -> StructureClass:
    """A structure of which only the name is known. Its code is made of it: the same on every machine."""
    code = hashlib.sha256(name.encode()).hexdigest()[:12]
    return StructureClass(
        index=index,
        name=" ".join(name.split()),
        slug=slug,
        kind="own",
        prompt_noun="",
        hosts=(),
        synonyms=(),
        color=own_color(index),
        category=Code("SCT", "85756007", "Tissue"),
        type=Code(_OWN_SCHEME, code, _plain(name)),
        modifier=None,
        region=None,
    )


def _plain(name: str) -> str:
    """A name as the meaning of a code: 64 characters at most in DICOM, without those that separate fields."""
    return " ".join(re.sub(r"[\\^~|]+|[^\w\s!-~]+", " ", name).split())[:64].strip() or "Structure"


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
