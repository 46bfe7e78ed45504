"""What we keep with a segment, as tags: they are saved in .seg.nrrd and MRB, and undo brings old ones back."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote, unquote

import slicer
import vtk

from ..core.classes import FIRST_OWN, StructureClass, class_table, own_structure
from ..core.errors import GenesisError
from ..core.i18n import _
from ..core.segmentation import MOST_CLASSES
from ..core.terminology import ENTRY_TAG, terminology_entry

CLASS_TAG, LOCKED_TAG = "GenesisSegment.Class", "GenesisSegment.Locked"
TAUGHT_TAG = "GenesisSegment.Taught"
"""The name under which a model was taught a structure of the person's own. Its number in :data:`CLASS_TAG`, 33 or more,
holds in one segmentation alone."""
RUN_TAG = "GenesisSegment.Run"
"""Names the run that wrote a segment, so that its proposal is found again after Undo, and its model is known."""
MARKS_TAG = "GenesisSegment.Marks"
"""Another text after every change of lock or tick: Slicer's undo brings old tags back, and this tells that it did."""


class LockedError(GenesisError):
    """A segment that may not be changed was to be changed."""

    code = "locked"


def tag_of(segment: Any, name: str) -> str:
    """The value of a tag, or an empty string."""
    value = vtk.reference("")
    return value.get() if segment.GetTag(name, value) else ""


def new_run(model: str, sha256: str) -> str:
    """A name for a run of a model, for the tag. A file stores tags with bars between them: none is in it."""
    return f"{uuid.uuid4().hex} {sha256} {quote(model)}"


def model_of(segment: Any) -> tuple[str, str]:
    """Name and SHA-256 of the model whose run wrote a segment; both "" where an older version wrote it."""
    _id, sha256, model = (*tag_of(segment, RUN_TAG).split(" "), "", "")[:3]
    return unquote(model), sha256


def class_of(segment_id: str, segment: Any) -> int:
    """Class index of a segment that a model wrote, here or in a .seg.nrrd of the command line; 0 for any other.

    Name and position do not count: people rename and sort.
    """
    if tag := tag_of(segment, CLASS_TAG):
        index = int(tag) if tag.isdecimal() else 0
        is_own = FIRST_OWN <= index <= MOST_CLASSES and bool(taught_name(segment))
        return index if is_own or index in class_table() else 0
    entry = _codes(segment.GetTerminology())
    found = (c.index for c in class_table().values() if segment_id == c.slug and entry == _codes(terminology_entry(c)))
    return next(found, 0)


def taught_name(segment: Any) -> str:
    """The name under which a structure of the person's own was taught, whatever it is called now; "" for any other."""
    return unquote(tag_of(segment, TAUGHT_TAG))


def structure_of(segment: Any, index: int) -> StructureClass:
    """What a segment of the class ``index`` stands for."""
    return class_table()[index] if index < FIRST_OWN else own_structure(index, taught_name(segment))


def label_of(segment: Any, index: int) -> str:
    """Under which name what is accepted of a segment of the class ``index`` teaches a model."""
    return class_table()[index].slug if index < FIRST_OWN else taught_name(segment)


def is_locked(segment: Any) -> bool:
    """Whether the segment may not be changed."""
    return tag_of(segment, LOCKED_TAG) == "1"


def set_locked(segment: Any, locked: bool) -> None:
    """Locks a segment, or frees it."""
    if locked:
        segment.SetTag(LOCKED_TAG, "1")
    else:
        segment.RemoveTag(LOCKED_TAG)


def is_reviewed(segment: Any) -> bool:
    """Whether somebody looked at the segment and found it right: Slicer's own status "completed"."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    return logic.GetSegmentStatus(segment) == logic.Completed


def set_reviewed(segment: Any, reviewed: bool) -> None:
    """Sets Slicer's status of the segment to completed, or back to in progress."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(segment, logic.Completed if reviewed else logic.InProgress)


def is_protected(segment: Any) -> bool:
    """Whether nothing that we write may change the segment: it is locked or reviewed."""
    return is_locked(segment) or is_reviewed(segment)


def marks_of(segment: Any) -> tuple[bool, bool]:
    """Whether the segment is locked, and whether it is reviewed."""
    return is_locked(segment), is_reviewed(segment)


def set_marks(segment: Any, marks: tuple[bool, bool]) -> None:
    """Makes them those of :func:`marks_of`; touches nothing where they are."""
    for mark, is_set, change in zip(marks, marks_of(segment), (set_locked, set_reviewed), strict=True):
        if mark != is_set:
            change(segment, mark)


def stamp(segment: Any) -> str:
    """Gives the segment another :data:`MARKS_TAG`; returns it."""
    segment.SetTag(MARKS_TAG, uuid.uuid4().hex)
    return tag_of(segment, MARKS_TAG)


def check_not_protected(segment: Any) -> None:
    """Refuses to change a locked or reviewed segment.

    Raises:
        LockedError: it is one.
    """
    if is_locked(segment):
        raise LockedError(_("{name} is locked.").format(name=segment.GetName()), _("Unlock it to change it."))
    if is_reviewed(segment):
        raise LockedError(
            _("{name} is marked as reviewed.").format(name=segment.GetName()), _("Take the tick away to change it.")
        )


def describe(segment: Any, index: int, taught: str = "") -> StructureClass:
    """Gives a new segment the name, standard colour, terminology and tags of a class; returns it.

    The name is that of the class table in English, whatever Slicer's language: see :mod:`..core.class_names`. With an
    ``index`` from 33 on, ``taught`` is the name of the structure.
    """
    if taught:
        segment.SetTag(TAUGHT_TAG, quote(taught))
    structure = structure_of(segment, index)
    segment.SetName(structure.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor(*(part / 255 for part in structure.color))
    segment.SetColorAutoGenerated(False)
    segment.SetTag(ENTRY_TAG, terminology_entry(structure))
    segment.SetTag(CLASS_TAG, str(structure.index))
    set_reviewed(segment, False)
    return structure


def _codes(entry: str) -> list[str]:
    """Category, type, side and region of a terminology entry, without the names of the contexts they come from."""
    fields = entry.split("~")
    return [*fields[1:4], *fields[5:6]]
