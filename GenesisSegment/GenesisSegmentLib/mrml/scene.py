"""The scene as the controller sees it: :class:`GenesisSegmentLib.core.workflow.ports.ScenePort` on MRML."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from ..core.classes import FIRST_OWN
from ..core.corrections import AcceptedClass
from ..core.errors import InputError, OutputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.layers import Layer
from ..core.pieces import Pieces, steady
from ..core.workflow.ports import ExportRequest, Guarded, ResultText, Reviewed, SceneParameters, SegmentState, Snapshot
from . import prompting, proposal, surfaces
from .accepted import ACCEPTED, patient_of, reading_reviewed, reviewed_version
from .counting import counting, overlapping
from .editing import Edit, Editor
from .export import DicomExporter, Export, preparing_export
from .guard import Guard
from .nodes import segment_of, segmentation_node, volume_of
from .parameters import keep_segmentation, load_parameters, save_parameters
from .partial import discard_partials, early_image, show_partial
from .reading import read_mask
from .result import put_result
from .scene_volumes import SceneVolumes
from .table import refreshing
from .tags import is_locked, is_protected, is_reviewed, set_locked, set_reviewed, taught_name
from .taught import numbering
from .versions import changes_version, voxels_version
from .volumes import (
    check_from_dicom,
    ct_node,
    placement,
)
from .writing import add_empty, class_numbers, segments_of, to_voxels


class Scene(SceneVolumes):
    """Volumes and segmentations of an MRML scene. Nodes are named by ID, and looked up at every call."""

    def __init__(self, scene: Any, editor: Editor, export_dicom: DicomExporter | None = None) -> None:
        super().__init__(scene)
        self._editor = editor
        self._export_dicom = export_dicom
        self._changes: dict[str, dict[str, int]] = {}
        self._guard = Guard()
        self._counted: dict[str, Hashable] = {}
        self._overlaps: dict[str, tuple[Hashable, tuple[tuple[int, int], ...]]] = {}

    def segmentation_of(self, volume_id: str) -> str | None:
        """Our segmentation of this volume: the one that the scene's parameters name, or else the newest."""
        found = [node.GetID() for node in proposal.segmentations_of(self._scene, volume_id)]
        chosen = self.load_parameters().segmentation_id
        return chosen if chosen in found else found[-1] if found else None

    # --- results

    def writing_partial(
        self, snapshot: Snapshot, class_index: int, box: Box, mask: np.ndarray, taught: str = ""
    ) -> Pieces[None]:
        """Shows one finished class early, ``taught`` being the name of one from 33 on; not where the CT changes."""
        if self.fingerprint(snapshot.node_id) != snapshot.fingerprint:
            return
        image = yield from early_image(ct_node(self._scene, snapshot.node_id), box, mask)
        if self.fingerprint(snapshot.node_id) == snapshot.fingerprint:
            show_partial(self._scene, ct_node(self._scene, snapshot.node_id), class_index, image, taught)

    def discard_partials(self, snapshot: Snapshot) -> None:
        """Takes the early classes away again."""
        discard_partials(self._scene, snapshot.node_id)

    def write_result(
        self, snapshot: Snapshot, layers: Iterable[Layer], text: ResultText, measurements: list[dict]
    ) -> str:
        """The whole result in one go, or nothing of it; returns the ID of the segmentation.

        Of the segments that were there, those of the layers' classes are replaced, or removed where the class was not
        found. The person's own, locked and reviewed ones stay. Undo brings the state before back.

        Raises:
            GoneError: the CT was removed meanwhile.
            InputError: it was changed meanwhile.
            InputError, GeometryError: as :func:`.result.put_result`.
        """
        volume = self.unchanged(snapshot)
        existing = self.segmentation_of(snapshot.node_id)
        node = self._voxels_of(existing) if existing else None
        node = put_result(volume, node, layers, text, measurements, self._editor)
        discard_partials(self._scene, snapshot.node_id)
        proposal.drop_orphans(self._scene, snapshot.node_id)
        keep_segmentation(self._scene, snapshot.node_id, node.GetID())
        self._changes.pop(node.GetID(), None)
        return node.GetID()

    def _voxels_of(self, segmentation_id: str) -> Any:
        return to_voxels(segmentation_node(self._scene, segmentation_id))

    # --- segments

    def segments(self, segmentation_id: str) -> tuple[SegmentState, ...]:
        """All segments, in the order of the segmentation."""
        node = segmentation_node(self._scene, segmentation_id)
        changes: Mapping[str, int] = self._changes.get(segmentation_id, {})
        display, numbers = node.GetDisplayNode(), class_numbers(node)
        return tuple(
            SegmentState(
                segment_id=segment_id,
                name=segment.GetName() or segment_id,
                color=tuple(round(part * 255) for part in segment.GetColor()),  # type: ignore[arg-type]
                class_index=numbers.get(segment_id, 0),
                is_locked=is_locked(segment),
                is_reviewed=is_reviewed(segment),
                is_visible=display is None or bool(display.GetSegmentVisibility(segment_id)),
                changed_voxels=changes.get(segment_id),
                taught=taught_name(segment) if numbers.get(segment_id, 0) >= FIRST_OWN else "",
            )
            for segment_id, segment in segments_of(node)
        )

    def version(self, segmentation_id: str) -> Hashable:
        """Another value whenever segments or their voxels are others: :func:`.versions.voxels_version`."""
        return voxels_version(self._voxels_of(segmentation_id))

    def rules(self, segmentation_id: str) -> Hashable:
        """Another value whenever segments may take other voxels of each other: by overwriting, locks, ticks."""
        node = segmentation_node(self._scene, segmentation_id)
        is_overwritten = self._editor.overwritten(node)
        return tuple((i, bool(is_overwritten(i)), is_protected(segment)) for i, segment in segments_of(node))

    def counting(self, segmentation_id: str) -> Pieces[None]:
        """Counts the changed voxels of every segment anew, for the next :meth:`segments` and in the table.

        From the start again where something changes meanwhile.
        """

        def version() -> Hashable:
            return changes_version(self._voxels_of(segmentation_id))

        def begin() -> Pieces[dict[str, int]]:
            node = self._voxels_of(segmentation_id)
            changes = yield from counting(node)
            yield from refreshing(node, changes)
            return changes

        if segmentation_id in self._changes and self._counted.get(segmentation_id) == version():
            return
        counted, changes = yield from steady(version, begin)
        self._counted[segmentation_id], self._changes[segmentation_id] = counted, changes

    def set_locked(self, segmentation_id: str, segment_id: str, is_locked: bool) -> None:
        """Locks a segment against every write."""
        node = segmentation_node(self._scene, segmentation_id)
        segment_of(node, segment_id)
        self._guard.mark(node, segment_id, lambda segment: set_locked(segment, is_locked))

    def set_reviewed(self, segmentation_id: str, segment_id: str, is_reviewed: bool) -> None:
        """Marks a segment as looked at and right: Slicer's status "completed"."""
        node = segmentation_node(self._scene, segmentation_id)
        segment_of(node, segment_id)
        self._guard.mark(node, segment_id, lambda segment: set_reviewed(segment, is_reviewed))

    def guarding(self, segmentation_id: str, is_in_editor: bool) -> Pieces[Guarded]:
        """Keeps locked and reviewed segments as they were; see :mod:`.guard`."""
        save_state = None if is_in_editor else self._editor.save_state
        yield from self._guard.looking(self._voxels_of(segmentation_id), save_state)
        return self._guard.report()

    def forget_guarded(self) -> None:
        """Remembers no protected segment any more: another scene may use the same IDs."""
        self._guard.forget()

    def set_visible(self, segmentation_id: str, segment_id: str, is_visible: bool) -> None:
        """Shows or hides a segment."""
        node = segmentation_node(self._scene, segmentation_id)
        segment_of(node, segment_id)
        node.CreateDefaultDisplayNodes()  # somebody may have removed it
        node.GetDisplayNode().SetSegmentVisibility(segment_id, is_visible)

    def write_segment(self, segmentation_id: str, segment_id: str, edit: Edit) -> int:
        """A local change, as :meth:`.editing.Editor.write`."""
        return self._editor.write(self._voxels_of(segmentation_id), segment_id, edit)

    def resetting(self, segmentation_id: str, segment_id: str) -> Pieces[None]:
        """Gives a segment the model's voxels back; one step of undo.

        From the start again where something changes meanwhile.

        Raises:
            LockedError: the segment is locked or reviewed.
            InputError: no model proposed it.
        """

        def begin() -> Pieces[None]:
            node = self._voxels_of(segmentation_id)
            segment_of(node, segment_id)
            found = yield from proposal.differing(node, segment_id)
            if found is not None:
                box, now, before = found
                yield from self._editor.writing(node, segment_id, Edit(box, before & ~now, now & ~before))

        yield from steady(lambda: changes_version(self._voxels_of(segmentation_id)), begin)

    # --- prompts

    def add_segment(self, segmentation_id: str, class_index: int, taught: str = "") -> str:
        """Adds an empty segment: of a class, or for 0 one of the person's own; one step of undo. Returns its ID.

        ``taught`` is the name under which a model learned it, instead of a class.

        Raises:
            InputError: as :func:`.taught.numbering`.
        """
        node = self._voxels_of(segmentation_id)
        index = numbering(node, (taught,))[taught] if taught else class_index
        self._editor.save_state(node)
        return add_empty(node, index, taught)

    def reading_surroundings(self, segmentation_id: str, segment_id: str, box: Box) -> Pieces[np.ndarray]:
        """The bits of :func:`.prompting.surroundings` in a box of the CT.

        From the start again where something changes meanwhile.
        """

        def begin() -> Pieces[np.ndarray]:
            node = self._voxels_of(segmentation_id)
            segment_of(node, segment_id)
            return (yield from prompting.surroundings(node, segment_id, box, self._editor.overwritten(node)))

        _version, bits = yield from steady(lambda: changes_version(self._voxels_of(segmentation_id)), begin)
        return bits

    def redrawing(self, segmentation_id: str, segment_id: str, box: Box, mask: np.ndarray) -> Pieces[int]:
        """Makes a segment what ``mask`` (i, j, k) says inside ``box``; one step of undo.

        From the start again where something changes meanwhile. Returns the number of voxels that the editor's masks and
        protected segments kept from being made so.

        Raises:
            LockedError: the segment is locked or reviewed.
            GeometryError: as :meth:`.editing.Editor.write`.
        """

        def begin() -> Pieces[None]:
            node = self._voxels_of(segmentation_id)
            segment_of(node, segment_id)
            yield from self._editor.writing(node, segment_id, Edit(box, mask & ~now(), now() & ~mask))

        def now() -> np.ndarray:
            node = self._voxels_of(segmentation_id)
            return read_mask(node, segment_id, placement(volume_of(node)).geometry.cropped(box))

        yield from steady(lambda: changes_version(self._voxels_of(segmentation_id)), begin)
        return int(np.count_nonzero(now() != mask))

    def showing_preview(self, segmentation_id: str, box: Box, mask: np.ndarray) -> Pieces[None]:
        """Shows how the segment would be inside ``box``, a mask (i, j, k)."""
        yield from prompting.showing_preview(segmentation_node(self._scene, segmentation_id), box, mask)

    def hide_preview(self) -> None:
        """Takes that away, wherever it is shown."""
        prompting.hide_preview(self._scene)

    # --- what is shown

    def show_proposal(self, segmentation_id: str, is_shown: bool) -> None:
        """Shows or hides what the model proposed, as outlines."""
        proposal.show_proposal(segmentation_node(self._scene, segmentation_id), is_shown)

    def showing_difference(self, segmentation_id: str, segment_id: str) -> Pieces[None]:
        """Shows what was added to and taken from the proposal of a segment.

        From the start again where something changes meanwhile.
        """
        yield from steady(
            lambda: changes_version(self._voxels_of(segmentation_id)),
            lambda: proposal.showing_difference(self._voxels_of(segmentation_id), segment_id),
        )

    def hide_difference(self, segmentation_id: str) -> None:
        """Takes that away."""
        proposal.hide_difference(segmentation_node(self._scene, segmentation_id))

    def suspend_3d(self, segmentation_id: str) -> None:
        """Takes the surfaces away, which make every edit slow, until :meth:`update_3d`."""
        surfaces.suspend(segmentation_node(self._scene, segmentation_id))

    def is_3d_suspended(self, segmentation_id: str) -> bool:
        """Whether the surfaces were taken away and not made since."""
        return surfaces.are_suspended(segmentation_node(self._scene, segmentation_id))

    def update_3d(self, segmentation_id: str) -> None:
        """Makes the surfaces once, and shows them."""
        surfaces.show(segmentation_node(self._scene, segmentation_id))

    # --- out

    def finding_overlaps(self, segmentation_id: str) -> Pieces[tuple[tuple[int, int], ...]]:
        """Pairs of classes that share voxels, each pair ascending.

        From the start again where something changes meanwhile.
        """

        def version() -> Hashable:
            return voxels_version(self._voxels_of(segmentation_id))

        known = self._overlaps.get(segmentation_id)
        if known is None or known[0] != version():
            known = yield from steady(version, lambda: overlapping(self._voxels_of(segmentation_id)))
            self._overlaps[segmentation_id] = known
        return known[1]

    def can_export_dicom(self, volume_id: str) -> str:
        """Why no DICOM SEG can be written for a volume: one sentence and a remedy, or an empty string."""
        if self._export_dicom is None:
            return _("DICOM SEG cannot be written here. Choose another format.")
        try:
            check_from_dicom(ct_node(self._scene, volume_id))
        except InputError as error:
            return str(error)
        return ""

    def preparing_export(self, segmentation_id: str, volume_id: str, request: ExportRequest) -> Pieces[Export]:
        """Copies what is to be written, after what others took from protected segments was put back.

        From the start again where something changes meanwhile.
        """
        if "dicom" in request.formats and (obstacle := self.can_export_dicom(volume_id)):
            raise OutputError(obstacle)

        def begin() -> Pieces[Export]:
            node = self._voxels_of(segmentation_id)
            yield from self._guard.looking(node)
            return (yield from preparing_export(node, request, self._export_dicom))

        _version, export = yield from steady(lambda: changes_version(self._voxels_of(segmentation_id)), begin)
        return export

    # --- what was accepted

    def reading_reviewed(self, segmentation_id: str) -> Pieces[Reviewed]:
        """As :func:`.accepted.reading_reviewed`; from the start again where something changes meanwhile."""

        def begin() -> Pieces[tuple[AcceptedClass, ...]]:
            node = self._voxels_of(segmentation_id)
            yield from self._guard.looking(node)
            return (yield from reading_reviewed(node))

        _version, classes = yield from steady(lambda: reviewed_version(self._voxels_of(segmentation_id)), begin)
        node = segmentation_node(self._scene, segmentation_id)
        return Reviewed(
            classes=classes,
            names=tuple(segment.GetName() for _id, segment in segments_of(node) if is_reviewed(segment)),
            patient=patient_of(volume_of(node)),
            model=node.GetAttribute("GenesisSegment.Model") or "",
            model_sha256=node.GetAttribute("GenesisSegment.ModelSha256") or "",
            accepted=node.GetAttribute(ACCEPTED) or "",
        )

    def remember_accepted(self, segmentation_id: str, state: str) -> None:
        """Keeps with the segmentation in which state it was accepted."""
        segmentation_node(self._scene, segmentation_id).SetAttribute(ACCEPTED, state)

    # --- what stays with the scene

    def load_parameters(self) -> SceneParameters:
        """What the scene kept; of nodes, those that are still there."""
        return load_parameters(self._scene)

    def save_parameters(self, parameters: SceneParameters) -> None:
        """Keeps it with the scene."""
        save_parameters(self._scene, parameters)
