"""Local changes of a segment, through Slicer's segment editor logic.

Voxels are only added or removed: Set with a small image clears the segment outside of it, and changing the voxels of a
shared image in place erases neighbours, without undo. The editor's masks (editable area, intensity range) and
overwrite mode apply, as they do to its brushes; in addition no voxel of a locked or reviewed segment changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.errors import GeometryError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import ALONE, Pieces, finished
from .arrays import label_image
from .nodes import segment_of, volume_of
from .reading import read_mask
from .stored import check_lattice
from .tags import check_not_protected, is_protected
from .volumes import placement, placement_under
from .writing import segments_of

_EDITOR = "GenesisSegment"
_PREPARED = "GenesisSegment.Prepared"


@dataclass(frozen=True, eq=False)
class Edit:
    """What to change in a segment: boolean masks (i, j, k) of ``box``, whose (0, 0, 0) is the first voxel of the CT."""

    box: Box
    add: np.ndarray
    remove: np.ndarray

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> Edit | None:
        """The change that makes one mask of the whole CT into another; None where they are the same."""
        box = Box.around(before != after)
        if box is None:
            return None
        old, new = before[box.slices], after[box.slices]
        return cls(box, new & ~old, old & ~new)


def editor_node(scene: Any) -> Any:
    """The parameter node of our segment editor: masks, overwrite mode, selection. Made where the scene has none.

    The editor's widget and :class:`Editor` share it. A new one lets segments overlap, so that none takes voxels from
    another unless the person chooses so. Closing a scene keeps the node but resets it to Slicer's defaults, which let
    segments take voxels from each other; the attribute that tells that ours were set is gone then as well.
    """
    node = scene.GetSingletonNode(_EDITOR, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_EDITOR)
        node = scene.AddNode(node)
    if not node.GetAttribute(_PREPARED):
        node.SetAttribute(_PREPARED, "1")
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    return node


class Editor:
    """Writes to segments of the segmentation that a segment editor works on."""

    def __init__(
        self,
        logic: Any,
        save_state: Callable[[], None] | None = None,
        parameters: Callable[[Any], Any] = editor_node,
    ) -> None:
        """Args:
        logic: vtkSlicerSegmentEditorLogic; it gets :func:`editor_node` where it has none.
        save_state: saves a step of undo; that of the editor's widget, where the person undoes there.
        parameters: the parameter node of the editor in a scene.
        """
        self._logic = logic
        self._save_state = save_state or logic.SaveStateForUndo
        self._parameters = parameters

    @property
    def logic(self) -> Any:
        """The editor logic."""
        return self._logic

    def work_on(self, node: Any) -> None:
        """Chooses a segmentation and its CT; both in this order, and only where they are not chosen yet."""
        parameters = self._parameters(node.GetScene())
        if self._logic.GetSegmentEditorNode() is not parameters:
            self._logic.SetSegmentEditorNode(parameters)
        if self._logic.GetSegmentationNode() is not node:
            self._logic.SetSegmentationNode(node)
        volume = volume_of(node)
        if self._logic.GetSourceVolumeNode() is not volume:
            self._logic.SetSourceVolumeNode(volume)

    def save_state(self, node: Any) -> None:
        """Saves a step of undo of a segmentation."""
        self.work_on(node)
        self._save_state()

    def undo(self) -> None:
        """Takes the last step back."""
        self._logic.Undo()

    def write(self, node: Any, segment_id: str, edit: Edit) -> int:
        """Changes a segment: one step of undo. Returns the number of voxels that locked and reviewed segments kept.

        Raises:
            GoneError: there is no such segment, or no CT.
            LockedError: the segment itself is locked or reviewed.
            GeometryError: the masks leave the CT, or do not fit their box, or a segment lies on another lattice.
        """
        return finished(self.writing(node, segment_id, edit))

    def writing(self, node: Any, segment_id: str, edit: Edit) -> Pieces[int]:
        """The same in pieces, between which no voxel may change: the step of undo, then the change.

        Neither can be cut. Slicer copies the images that changed since the last step of undo, and where a change moves
        the edge of what segments share, Slicer copies that image once more, to crop it.
        """
        check_not_protected(segment_of(node, segment_id))
        check_lattice(node, placement(volume_of(node)).geometry)
        image = self._modifier(node, edit)
        yield ALONE
        self.save_state(node)
        yield ALONE
        check_not_protected(segment_of(node, segment_id))
        self.work_on(node)
        add, protected = self._unlocked(node, segment_id, edit)
        logic = self._logic
        if edit.remove.any():
            self._remove(node, segment_id, edit, image)
        if add.any():
            logic.ModifySegmentByLabelmap(node, segment_id, image(add), logic.ModificationModeAdd, False, False)
        return protected

    def _remove(self, node: Any, segment_id: str, edit: Edit, image: Callable[[np.ndarray], Any]) -> None:
        logic, parameters = self._logic, self._logic.GetSegmentEditorNode()
        if (
            parameters.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
            or parameters.GetSourceVolumeIntensityMask()
        ):
            with self._nothing_given_back_to_protected(node):
                modifier = image(edit.remove)
                logic.ModifySegmentByLabelmap(node, segment_id, modifier, logic.ModificationModeRemove, False, False)
            return
        # Without masks, what ModifySegmentByLabelmap would do in the end, but in the box alone: there, the mode Remove
        # compares the whole shared image, and where overlaps are allowed it needlessly makes an image for the segment.
        # A voxel of a shared image has one owner, so the minimum over all segments clears no other segment's voxel.
        grid = placement(volume_of(node)).geometry.cropped(edit.box)
        mine = edit.remove & read_mask(node, segment_id, grid)
        modifier = image(np.where(mine, 0, 255).astype(np.uint8))
        segmentations = slicer.vtkSlicerSegmentationsModuleLogic
        segmentations.SetBinaryLabelmapToSegment(
            modifier,
            node,
            segment_id,
            segmentations.MODE_MERGE_MIN,
            modifier.GetExtent(),
            True,
            list(node.GetSegmentation().GetSegmentIDs()),
        )

    def overwritten(self, node: Any) -> Callable[[str], bool]:
        """Whether adding to one segment takes voxels from another; where overlaps are allowed, from none."""
        self.work_on(node)
        return self._overwritten(node)

    def _unlocked(self, node: Any, segment_id: str, edit: Edit) -> tuple[np.ndarray, int]:
        """What may be added without taking a voxel from a protected segment, and how many voxels that leaves out."""
        add = edit.add.copy()
        overwritten = self._overwritten(node)
        volume = volume_of(node)
        for other_id, other in segments_of(node):
            if other_id != segment_id and is_protected(other) and overwritten(other_id):
                grid = placement(volume).geometry.cropped(edit.box)
                add &= ~read_mask(node, other_id, grid)
        return add, int(np.count_nonzero(edit.add) - np.count_nonzero(add))

    def _overwritten(self, node: Any) -> Callable[[str], bool]:
        mode = self._logic.GetSegmentEditorNode().GetOverwriteMode()
        if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteNone:
            return lambda _id: False
        if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments and node.GetDisplayNode() is not None:
            return node.GetDisplayNode().GetSegmentVisibility
        return lambda _id: True

    def _modifier(self, node: Any, edit: Edit) -> Callable[[np.ndarray], Any]:
        """Makes an image of a mask on the lattice of the CT, which the editor's intensity mask demands."""
        place = placement_under(volume_of(node), node)
        shape, box = place.shape, edit.box
        inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, shape, strict=True))
        if not inside or edit.add.shape != box.shape or edit.remove.shape != box.shape:
            raise GeometryError(_("The change does not fit the CT."), _("Choose a place inside the CT."))
        start = tuple(a + b for a, b in zip(box.start, place.start, strict=True))
        return lambda mask: label_image(mask, place.matrix, start)  # type: ignore[arg-type]

    @contextmanager
    def _nothing_given_back_to_protected(self, node: Any) -> Iterator[None]:
        """Painting inside one segment, what is removed goes back to that segment, which may be protected itself, or
        take the voxels from one that is: so not while any is.

        In that mode the editable area is the segment being changed as well, so that without a mask the same is removed.
        """
        parameters = self._logic.GetSegmentEditorNode()
        mode = parameters.GetMaskMode()
        inside_one = mode == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        if not (inside_one and any(is_protected(segment) for _id, segment in segments_of(node))):
            yield
            return
        parameters.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        try:
            yield
        finally:
            parameters.SetMaskMode(mode)
