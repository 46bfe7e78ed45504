"""Reads what the person marked as reviewed: the masks and what was proposed for them, on the voxels of the CT."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.corrections import AcceptedClass, BoxedMask
from ..core.errors import InputError
from ..core.geometry import Box, Geometry
from ..core.i18n import _
from ..core.identity import patient_text
from ..core.pieces import Pieces
from .nodes import volume_of
from .proposal import proposals_of
from .stored import stored_images
from .tags import is_reviewed, label_of, model_of
from .versions import changes_version
from .volumes import placement
from .writing import class_numbers, segments_of

ACCEPTED = "GenesisSegment.Accepted"
"""Attribute of a segmentation: the state in which it was accepted last, as :meth:`...core.outbox.Outbox.state_of`."""
_SLAB, _SEGMENTS = 2, 6
"""Planes, and segments in them, that are read at a time: two or three milliseconds for a large CT."""
_EMPTY = np.zeros((0, 0, 0), bool)


@dataclass(frozen=True, eq=False)
class _Block:
    """Some voxels of a segment: ``mask`` bool (i, j, k) of ``box``."""

    box: Box
    mask: np.ndarray


def reviewed_version(node: Any) -> Hashable:
    """Another value whenever :func:`reading_reviewed` would read something else."""
    return changes_version(node), tuple(i for i, segment in segments_of(node) if is_reviewed(segment))


def reading_reviewed(node: Any) -> Pieces[tuple[AcceptedClass, ...]]:
    """The reviewed segments of a segmentation, in its order, some planes at a time; empty where there is none.

    A segment that stands for a class has the slug of the class as label, one that a model was taught the name of then,
    any other of the person's own its name and no proposal.
    Each names the model that proposed it, where that is known: runs of several models may stand side by side.

    Raises:
        InputError: two reviewed segments have the same name, or one has none.
        GeometryError: as :func:`.stored.stored_images`.
    """
    labels = _labels(node)
    grid, proposals = placement(volume_of(node)).geometry, proposals_of(node)
    masks = yield from _reading(node, labels, grid)
    places = {i: proposals[i] for i in labels if i in proposals}
    proposed: dict[str, BoxedMask] = {}
    for kept in {kept.GetID(): kept for kept, _id in places.values()}.values():
        ids = {kept_id: i for i, (owner, kept_id) in places.items() if owner is kept}
        found = yield from _reading(kept, ids, grid)
        proposed.update((ids[kept_id], mask) for kept_id, mask in found.items())
    models = {i: model_of(kept.GetSegmentation().GetSegment(kept_id)) for i, (kept, kept_id) in places.items()}
    nobody = "", ""
    return tuple(AcceptedClass(label, masks[i], proposed.get(i), *models.get(i, nobody)) for i, label in labels.items())


def patient_of(node: Any) -> str:
    """What tells the patient of a CT apart, as Slicer's DICOM browser keeps it in the tree of the data, or ""."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    if not item:
        return ""
    names = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.GetItemAncestorAtLevel(item, names.GetDICOMLevelPatient())
    study = hierarchy.GetItemAncestorAtLevel(item, names.GetDICOMLevelStudy())
    return patient_text(
        hierarchy.GetItemAttribute(patient, names.GetDICOMPatientIDAttributeName()) if patient else "",
        hierarchy.GetItemUID(study, names.GetDICOMUIDName()) if study else "",
    )


def _labels(node: Any) -> dict[str, str]:
    """Label by ID of the reviewed segments."""
    numbers = class_numbers(node)
    labels: dict[str, str] = {}
    for segment_id, segment in segments_of(node):
        if not is_reviewed(segment):
            continue
        name = (segment.GetName() or "").strip()
        label = label_of(segment, numbers[segment_id]) if segment_id in numbers else name
        if not label:
            raise InputError(_("A reviewed structure has no name."), _("Name it, then accept again."))
        if label in labels.values():
            raise InputError(
                _("Two reviewed structures are called {name}.").format(name=name or label),
                _("Rename one of them, or take its tick away, then accept again."),
            )
        labels[segment_id] = label
    return labels


def _reading(node: Any, ids: Collection[str], grid: Geometry) -> Pieces[dict[str, BoxedMask]]:
    """Masks by segment ID, those without a voxel included."""
    blocks: dict[str, list[_Block]] = {segment_id: [] for segment_id in ids}
    for stored in stored_images(node, grid):
        values = {i: value for i, value in stored.values.items() if i in blocks}
        for k0 in range(0, grid.shape[2], _SLAB) if values else ():
            labels, where = stored.piece(k0, min(k0 + _SLAB, grid.shape[2]), grid.shape)
            if not labels.any():
                continue
            first = where[0].start, where[1].start, where[2].start + k0
            for count, (segment_id, value) in enumerate(values.items(), 1):
                if block := _block(labels == value, first):
                    blocks[segment_id].append(block)
                if count % _SEGMENTS == 0:
                    yield
            yield
    masks = {}
    for segment_id, pieces in blocks.items():
        masks[segment_id] = _joined(pieces, grid.shape)
        yield
    return masks


def _block(found: np.ndarray, first: tuple[int, int, int]) -> _Block | None:
    """What is true in a few planes. Looked at from above first: three times as fast as :meth:`.Box.around`."""
    above = np.asarray(found.any(axis=2))
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if rows.size == 0:
        return None
    i, j = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    planes = np.flatnonzero(found[i, j].any(axis=(0, 1)))
    k = slice(int(planes[0]), int(planes[-1]) + 1)
    i0, j0, k0 = first
    start = i.start + i0, j.start + j0, k.start + k0
    stop = i.stop + i0, j.stop + j0, k.stop + k0
    return _Block(Box(start, stop), found[i, j, k].copy(order="F"))


def _joined(blocks: list[_Block], shape: tuple[int, int, int]) -> BoxedMask:
    if not blocks:
        return BoxedMask(shape, None, _EMPTY)
    box = Box.joined(block.box for block in blocks)
    inside = np.zeros(box.shape, bool, order="F")
    for block in blocks:
        place = (slice(a - z, b - z) for a, b, z in zip(block.box.start, block.box.stop, box.start, strict=True))
        inside[tuple(place)] = block.mask
    return BoxedMask(shape, box, inside)
