"""The tree of classes that a person chooses from: groups, search, ticks."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from ..class_names import structure_title
from ..classes import FIRST_OWN, StructureClass, class_table, structures
from ..i18n import _
from ..resources import resource
from .text import names_text
from .view import ClassRow


@dataclass(frozen=True)
class Group:
    """Classes under one name; ``words`` are what the search finds it by."""

    key: str
    classes: tuple[int, ...]
    words: frozenset[str]


@cache
def groups() -> tuple[Group, ...]:
    """Organs, lesions, then the groups of the class table; several names of the same classes make one group."""
    table = class_table()
    members = {
        "organs": tuple(c.index for c in table.values() if not c.is_lesion),
        "lesions": tuple(c.index for c in table.values() if c.is_lesion),
    }
    document = json.loads(resource("GenesisSegmentClasses.json").read_text(encoding="utf-8"))
    members.update({name: tuple(sorted(classes)) for name, classes in document["groups"].items()})
    names: dict[tuple[int, ...], list[str]] = {}
    for name, classes in members.items():
        names.setdefault(classes, []).append(name)
    return tuple(Group(keys[0], classes, search_words(keys)) for classes, keys in names.items())


_OWN = "own structures"


def _own_group(own: tuple[str, ...]) -> tuple[Group, ...]:
    """What a person taught the model, where there is anything."""
    classes = tuple(range(FIRST_OWN, FIRST_OWN + len(own)))
    return (Group(_OWN, classes, search_words([_OWN])),) if classes else ()


def group_title(key: str) -> str:
    """The name of a group in the person's language."""
    return {
        _OWN: _("Your own structures"),
        "organs": _("All organs"),
        "lesions": _("All lesions"),
        "kidneys": _("Kidneys"),
        "lungs": _("Lungs"),
        "adrenal glands": _("Adrenal glands"),
        "femurs": _("Femoral heads"),
        "vessels": _("Vessels"),
        "bowel": _("Bowel"),
        "digestive tract": _("Digestive tract"),
        "tumors": _("Tumors"),
        "pelvis": _("Pelvis"),
    }.get(key, key.capitalize())


def class_tree(
    offered: Iterable[int], wanted: Iterable[int], search: str = "", busy: str = "", own: tuple[str, ...] = ()
) -> tuple[ClassRow, ...]:
    """The rows that match ``search``, with their ticks.

    ``offered`` are the classes of the chosen model, ``wanted`` those that are ticked; ``busy`` says why nothing can be
    changed now; ``own`` are the names of the model's classes from 33 on. A group's ``classes`` are those of its rows
    that can be ticked.
    """
    there, ticked, asked = frozenset(offered), frozenset(wanted), tuple(sorted(search_words([search])))
    table = structures(own)
    rows = (_group_row(group, table, there, ticked, asked, busy) for group in (*_own_group(own), *groups()))
    return tuple(row for row in rows if row is not None)


def _group_row(
    group: Group,
    table: Mapping[int, StructureClass],
    offered: frozenset[int],
    wanted: frozenset[int],
    asked: tuple[str, ...],
    busy: str,
) -> ClassRow | None:
    title = group_title(group.key)
    is_whole = not asked or _matches(asked, group.words | search_words([title]))
    shown = [table[c] for c in group.classes if is_whole or _matches(asked, _class_words(table[c]))]
    if not shown:
        return None
    usable = tuple(c.index for c in shown if c.index in offered)
    tip = busy or (
        names_text([structure_title(table[c]) for c in usable]) if usable else _("Not offered by this model.")
    )
    children = tuple(_class_row(group.key, c, offered, wanted, busy) for c in shown)
    check = _check(usable, wanted.__contains__)
    return ClassRow(group.key, title, tip, usable, check, bool(usable) and not busy, None, children)


def _class_row(
    group: str, structure: StructureClass, offered: frozenset[int], wanted: frozenset[int], busy: str
) -> ClassRow:
    is_offered = structure.index in offered
    tip = busy or (_class_tip(structure) if is_offered else _("Not offered by this model."))
    check = "on" if is_offered and structure.index in wanted else "off"
    slug = structure.slug if structure.kind != "own" else f"{structure.index}-{structure.slug}"
    key, classes = f"{group}/{slug}", (structure.index,)
    return ClassRow(key, structure_title(structure), tip, classes, check, is_offered and not busy, structure.color)


def _class_tip(structure: StructureClass) -> str:
    title = structure_title(structure)
    if not structure.synonyms:
        return title
    return _("{name}, also: {synonyms}").format(name=title, synonyms=", ".join(structure.synonyms))


def _check(classes: tuple[int, ...], is_ticked: Callable[[int], bool]) -> str:
    count = sum(map(is_ticked, classes))
    return "off" if count == 0 else "on" if count == len(classes) else "some"


def search_words(names: Iterable[str]) -> frozenset[str]:
    """The words of names without case and accents, as the search compares them."""
    decomposed = unicodedata.normalize("NFKD", " ".join(names)).casefold()
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return frozenset(re.findall(r"[^\W_]+", plain))


@cache
def _class_words(structure: StructureClass) -> frozenset[str]:
    return search_words((structure_title(structure), structure.name, structure.slug, *structure.synonyms))


def _matches(asked: tuple[str, ...], words: frozenset[str]) -> bool:
    """Whether each word that was typed begins one of ``words``."""
    return all(any(word.startswith(part) for word in words) for part in asked)
