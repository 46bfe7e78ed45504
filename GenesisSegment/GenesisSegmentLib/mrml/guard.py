"""Keeps locked and reviewed segments as they were, whatever tool or module changes them, and their marks with them.

Our own writes leave them alone. Slicer's tools do not know of locks: they change the segment that is chosen and, told
to overwrite, take voxels from all others. What was changed is put back as soon as the person lets go; of voxels that a
brush took, both segments hold them then.

Slicer's undo brings the tags of segments back together with their voxels, and marks set since then are not among them.
So what the person marked is remembered here as well: a segment that undo left as it was keeps its marks; one that it
changed, or took away, loses them until it looks the same again. Undo never marks anything by itself.

A mark, and what is put back, is no change to Slicer's undo: where a state that undo brought back must be put right, one
can go on from there, back and forth.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.pieces import ALONE, Pieces, steady
from ..core.workflow.ports import Guarded
from .kept import Comparer, Kept, can_be_put_back, is_on_lattice, keeping, put_back
from .tags import MARKS_TAG, marks_of, set_marks, stamp, tag_of
from .versions import image_version
from .writing import segments_of

_NONE = False, False
_GONE = "gone"
_FIRST = 1e9
"""Priority of an observer that is told before all others."""


@dataclass(eq=False)
class _Marked:
    """What the person marked. ``stamp`` is the one that the segment has, unless undo brought another back; ``version``
    is that of the image in which ``kept`` was found last; ``is_lost``: the segment is no longer what was marked."""

    name: str
    marks: tuple[bool, bool]
    stamp: str
    kept: Kept | None = None
    version: Hashable = None
    is_lost: bool = False

    @property
    def expected(self) -> tuple[bool, bool]:
        """The marks that the segment should have now."""
        return _NONE if self.is_lost else self.marks


@dataclass(eq=False)
class _Look:
    """One look at all segments of a node."""

    node: Any
    save_state: Callable[[Any], None] | None
    comparer: Comparer = field(default_factory=Comparer)
    is_saved: bool = False

    def segment(self, segment_id: str) -> Any | None:
        """None where it is gone."""
        return self.node.GetSegmentation().GetSegment(segment_id)

    def stamp(self, segment_id: str) -> str:
        """That which the segment has now."""
        segment = self.segment(segment_id)
        return tag_of(segment, MARKS_TAG) if segment is not None else _GONE

    def version(self, segment_id: str) -> Hashable:
        """Another value whenever the voxels of the segment may be others."""
        segment = self.segment(segment_id)
        return image_version(segment) if segment is not None else None

    def state(self, segment_id: str, marked: _Marked) -> Hashable:
        """Another value whenever voxels or marks may be others."""
        return self.stamp(segment_id), marked.stamp, self.version(segment_id)


class Guard:
    """Remembers marked segments from the first look at them until they are free again."""

    def __init__(self) -> None:
        self._marked: dict[tuple[str, str], _Marked] = {}
        self._report = Guarded()

    def report(self) -> Guarded:
        """What was done since it was asked for last."""
        report, self._report = self._report, Guarded()
        return report

    def mark(self, node: Any, segment_id: str, change: Callable[[Any], None]) -> None:
        """The person marks or frees a segment: ``change`` does that. What was undone can be made again all the same."""
        with _unheard_by_undo(node, segment_id):
            change(node.GetSegmentation().GetSegment(segment_id))
        self._take_marks(node)

    def _take_marks(self, node: Any) -> None:
        """Remembers what the person marked or freed, here or in a table of Slicer: the stamp is as it was."""
        for segment_id, segment in segments_of(node):
            self._take_marks_of(node, segment_id, segment)

    def _take_marks_of(self, node: Any, segment_id: str, segment: Any) -> None:
        key, marks = (node.GetID(), segment_id), marks_of(segment)
        marked, name = self._marked.get(key), segment.GetName() or segment_id
        if marked is None:
            if marks != _NONE:
                known = tag_of(segment, MARKS_TAG) or _new_stamp(node, segment_id)
                self._marked[key] = _Marked(name, marks, known)
            return
        marked.name = name
        if tag_of(segment, MARKS_TAG) == marked.stamp and marks != marked.expected:
            if _NONE in (marks, marked.expected):
                marked.kept = None
            marked.marks, marked.stamp, marked.is_lost = marks, _new_stamp(node, segment_id), False

    def looking(self, node: Any, save_state: Callable[[Any], None] | None = None) -> Pieces[None]:
        """Puts right what was changed, segment by segment; what the person marked since the last look is remembered.

        Args:
            node: the segmentation.
            save_state: saves a step of undo of it, before the first segment is put back. That step undone, the change
                is there again, without the marks. None where the change is part of a step already.
        """
        self._take_marks(node)
        yield
        look = _Look(node, save_state)
        # Those that are remembered first: they may have been changed.
        for (node_id, segment_id), marked in sorted(self._marked.items(), key=lambda entry: entry[1].kept is None):
            if node_id == node.GetID():
                yield from self._looking_at(look, segment_id, marked)
                yield

    def forget(self) -> None:
        """Remembers nothing any more, for example because the scene closes: another one uses the same IDs."""
        self._marked.clear()
        self._report = Guarded()

    def _looking_at(self, look: _Look, segment_id: str, marked: _Marked) -> Pieces[None]:
        is_changed = yield from self._comparing(look, segment_id, marked)
        segment = look.segment(segment_id)
        if segment is None:
            self._lose(marked)
            marked.stamp = _GONE
        elif tag_of(segment, MARKS_TAG) != marked.stamp:
            if is_changed:
                self._lose(marked)
            else:
                marked.is_lost = False
            with _unheard_by_undo(look.node, segment_id):
                set_marks(segment, marked.expected)
                marked.stamp = stamp(segment)
        elif marked.expected == _NONE:
            return
        elif marked.kept is None:
            yield from self._remembering(look, segment_id, marked)
        elif is_changed:
            yield from self._putting_back(look, segment_id, marked, marked.kept)

    def _comparing(self, look: _Look, segment_id: str, marked: _Marked) -> Pieces[bool]:
        """Whether the segment has other voxels than those that were marked, as far as these are known."""
        is_step = look.stamp(segment_id) != marked.stamp
        if marked.kept is None or not (is_step or marked.expected != _NONE):
            return is_step
        if look.version(segment_id) == marked.version:
            return False
        kept = marked.kept
        _state, is_changed = yield from steady(
            lambda: look.state(segment_id, marked), lambda: look.comparer.differing(look.node, segment_id, kept)
        )
        if not is_changed:
            marked.version = look.version(segment_id)
            if not is_step and not is_on_lattice(look.node, segment_id, kept):
                marked.kept = None  # moved or resampled, by whole: it is remembered anew as it lies now
        return is_changed

    def _remembering(self, look: _Look, segment_id: str, marked: _Marked) -> Pieces[None]:
        _state, kept = yield from steady(lambda: look.state(segment_id, marked), lambda: keeping(look.node, segment_id))
        if look.stamp(segment_id) == marked.stamp and marked.expected != _NONE:
            marked.kept, marked.version = kept, look.version(segment_id)

    def _putting_back(self, look: _Look, segment_id: str, marked: _Marked, kept: Kept) -> Pieces[None]:
        """In one piece, which cannot be cut: Slicer copies the image that the segment shares with others."""
        before = look.state(segment_id, marked)
        yield ALONE
        if before != look.state(segment_id, marked) or not can_be_put_back(look.node, segment_id):
            return  # for the next look
        if look.save_state is not None and not look.is_saved:
            look.save_state(look.node)
            look.is_saved = True
            self._report = replace(self._report, can_undo=True)
        # Only a change that is heard makes a step of what was saved.
        with nullcontext() if look.is_saved else _unheard_by_undo(look.node, segment_id):
            is_done = put_back(look.node, segment_id, kept)
        if not is_done:
            return
        if look.is_saved:
            marked.stamp = _new_stamp(look.node, segment_id)
        marked.version = look.version(segment_id)
        self._report = replace(self._report, put_back=(*self._report.put_back, marked.name))

    def _lose(self, marked: _Marked) -> None:
        if marked.expected != _NONE:
            self._report = replace(self._report, unmarked=(*self._report.unmarked, marked.name))
        marked.is_lost = True


def _new_stamp(node: Any, segment_id: str) -> str:
    with _unheard_by_undo(node, segment_id):
        return stamp(node.GetSegmentation().GetSegment(segment_id))


@contextmanager
def _unheard_by_undo(node: Any, segment_id: str) -> Iterator[None]:
    """Changes a segment so that what was undone can be made again: Slicer forgets it as soon as it is told of a change.

    What listens to the node, such as the lists of segments and the views, hears of it afterwards, and Slicer offers to
    save the node.
    """
    segmentation = node.GetSegmentation()
    heard: set[int] = set()
    tags: dict[int, int] = {}

    def stop(event: int) -> Callable[..., None]:
        def told(*_arguments: Any) -> None:
            heard.add(event)
            segmentation.GetCommand(tags[event]).SetAbortFlag(1)

        return told

    for event in (segmentation.SourceRepresentationModified, segmentation.SegmentModified):
        tags[event] = segmentation.AddObserver(event, stop(event), _FIRST)
    try:
        yield
    finally:
        for tag in tags.values():
            segmentation.RemoveObserver(tag)
    if heard:
        node.StorableModified()
    for event in tags:
        if event in heard:
            node.InvokeEvent(event, segment_id)
