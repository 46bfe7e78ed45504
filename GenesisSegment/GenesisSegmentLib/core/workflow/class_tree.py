"""The tree of classes that a person chooses from: groups, search, ticks."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from ..class_names import class_title
from ..classes import StructureClass, class_table
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


def group_title(key: str) -> str:
    """The name of a group in the person's language."""
    return {
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


def class_tree(offered: Iterable[int], wanted: Iterable[int], search: str = "", busy: str = "") -> tuple[ClassRow, ...]:
    """The rows that match ``search``, with their ticks.

    ``offered`` are the classes of the chosen model, ``wanted`` those that are ticked; ``busy`` says why nothing can be
    changed now. A group's ``classes`` are those of its rows that can be ticked.
    """
    there, ticked, asked = frozenset(offered), frozenset(wanted), tuple(sorted(search_words([search])))
    rows = (_group_row(group, there, ticked, asked, busy) for group in groups())
    return tuple(row for row in rows if row is not None)


def _group_row(
    group: Group, offered: frozenset[int], wanted: frozenset[int], asked: tuple[str, ...], busy: str
) -> ClassRow | None:
    title = group_title(group.key)
    is_whole = not asked or _matches(asked, group.words | search_words([title]))
    table = class_table()
    shown = [table[c] for c in group.classes if is_whole or _matches(asked, _class_words(c))]
    if not shown:
        return None
    usable = tuple(c.index for c in shown if c.index in offered)
    tip = busy or (names_text([class_title(c) for c in usable]) if usable else _("Not offered by this model."))
    children = tuple(_class_row(group.key, c, offered, wanted, busy) for c in shown)
    check = _check(usable, wanted.__contains__)
    return ClassRow(group.key, title, tip, usable, check, bool(usable) and not busy, None, children)


def _class_row(
    group: str, structure: StructureClass, offered: frozenset[int], wanted: frozenset[int], busy: str
) -> ClassRow:
    is_offered = structure.index in offered
    tip = busy or (_class_tip(structure) if is_offered else _("Not offered by this model."))
    check = "on" if is_offered and structure.index in wanted else "off"
    key, classes = f"{group}/{structure.slug}", (structure.index,)
    return ClassRow(key, class_title(structure.index), tip, classes, check, is_offered and not busy, structure.color)


def _class_tip(structure: StructureClass) -> str:
    title = class_title(structure.index)
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
def _class_words(index: int) -> frozenset[str]:
    structure = class_table()[index]
    return search_words((class_title(index), structure.name, structure.slug, *structure.synonyms))


def _matches(asked: tuple[str, ...], words: frozenset[str]) -> bool:
    """Whether each word that was typed begins one of ``words``."""
    return all(any(word.startswith(part) for word in words) for part in asked)
