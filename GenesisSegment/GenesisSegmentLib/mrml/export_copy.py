"""A segmentation as it was when it was to be exported, out of reach of whoever goes on working on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.classes import FIRST_OWN
from ..core.files import safe_name
from ..core.i18n import _
from ..core.pieces import Pieces
from .arrays import label_image, to_vtk
from .nodes import EXPORT, GoneError, hide_from_lists, modifying, remove_node, volume_of
from .reading import class_numbers
from .stored import Stored, stored_images
from .volumes import Placement, placement
from .writing import binary, create_node, segments_of

_PLANES = 8


@dataclass(frozen=True, eq=False)
class SegmentsCopy:
    """Voxels and looks of a segmentation.

    ``stem`` begins the names of all files. ``images`` lie on the grid of the CT, ``place`` says where that is.
    ``looks`` is a segmentation node outside the scene whose segments have everything but voxels, in the world.
    """

    stem: str
    name: str
    volume: Any
    place: Placement
    images: tuple[Stored, ...]
    looks: Any

    @property
    def segments(self) -> list[tuple[str, Any]]:
        """IDs and segments, in order."""
        return segments_of(self.looks)

    @property
    def numbers(self) -> dict[str, int]:
        """As :func:`.writing.class_numbers`."""
        return class_numbers(self.looks)

    def values(self, paint_order: Sequence[int]) -> list[tuple[str, int]]:
        """Segment IDs with their values in a label map, in the order of painting.

        Values are class indices; segments of the person's own that no model knows get those behind, at least 33.
        """
        numbers = self.numbers
        ids = {index: segment_id for segment_id, index in numbers.items()}
        wanted = [c for c in paint_order if c in ids]
        order = [*(c for c in sorted(ids) if c not in wanted), *wanted]
        others = [segment_id for segment_id, _segment in self.segments if segment_id not in numbers]
        return [*((ids[c], c) for c in order), *((i, n) for n, i in enumerate(others, max([FIRST_OWN - 1, *ids]) + 1))]

    @contextmanager
    def in_scene(self) -> Iterator[Any]:
        """A node in the scene of the CT, in the CT's own space, under the same transform; it goes at the end.

        Who ignores transforms, as Slicer's DICOM exporter does, finds the voxels where the files of the CT are.

        Raises:
            GoneError: the CT is no longer in the scene.
        """
        if self.volume.GetScene() is None:
            raise GoneError(_("The CT is no longer in the scene."), _("Load the CT again."))
        node = create_node(self.volume.GetScene(), self.volume, self.name, EXPORT)
        try:
            hide_from_lists(node)
            with modifying(node):
                node.SetName(self.name)
                node.GetDisplayNode().SetVisibility(False)
                self._put_segments(node)
            yield node
        finally:
            remove_node(node)

    def _put_segments(self, node: Any) -> None:
        shown: dict[str, tuple[Any, int]] = {}
        for stored in self.images:
            start = tuple(a + b for a, b in zip(stored.start, self.place.start, strict=True))
            image = label_image(stored.labels, self.place.matrix, start)  # type: ignore[arg-type]
            shown |= {segment_id: (image, value) for segment_id, value in stored.values.items()}
        for segment_id, segment in self.segments:
            twin = twin_of(segment_id, segment)
            if segment_id in shown:
                image, value = shown[segment_id]
                twin.SetLabelValue(value)
                twin.AddRepresentation(binary(), image)
            node.GetSegmentation().AddSegment(twin, segment_id)


def copying_segments(node: Any) -> Pieces[SegmentsCopy]:
    """Copies a segmentation in pieces, between which it may not change.

    Raises:
        GeometryError: the segmentation or its CT lies under a non-linear transform.
    """
    volume = volume_of(node)
    place = placement(volume)
    images = []
    for stored in stored_images(node, place.geometry):
        labels = np.empty_like(stored.labels, order="F")
        for k in range(0, stored.labels.shape[2], _PLANES):
            labels[:, :, k : k + _PLANES] = stored.labels[:, :, k : k + _PLANES]
            yield
        images.append(Stored(labels, stored.start, dict(stored.values)))
    stem = safe_name(volume.GetName(), "segmentation")
    return SegmentsCopy(stem, node.GetName(), volume, place, tuple(images), _looks_of(node, place))


def twin_of(segment_id: str, segment: Any) -> Any:
    """A segment with everything but voxels. It has a name, without which Slicer's writer ends the whole process."""
    twin = slicer.vtkSegment()
    twin.DeepCopyMetadata(segment)
    twin.SetName(segment.GetName() or segment_id)
    return twin


def _looks_of(node: Any, place: Placement) -> Any:
    looks = slicer.vtkMRMLSegmentationNode()
    segmentation = looks.GetSegmentation()
    segmentation.DeserializeConversionParameters(node.GetSegmentation().SerializeAllConversionParameters())
    reference = slicer.vtkOrientedImageData()
    reference.SetExtent(*(edge for n in place.shape for edge in (0, n - 1)))
    reference.SetImageToWorldMatrix(to_vtk(place.geometry.ijk_to_ras))
    segmentation.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(reference),
    )
    for segment_id, segment in segments_of(node):
        segmentation.AddSegment(twin_of(segment_id, segment), segment_id)
    return looks
