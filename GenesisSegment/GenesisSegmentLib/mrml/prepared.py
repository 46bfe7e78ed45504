"""Label layers turned into images of the scene before anything in the scene is touched.

All that can fail for want of memory or because of wrong input happens here; putting the images into a segmentation is
then a matter of pointers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import GeometryError, InputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.layers import Layer
from .arrays import image_matrix, label_image, start_of, voxels
from .volumes import Placement


@dataclass(frozen=True, eq=False)
class Prepared:
    """One layer: ``classes`` were looked for, ``found`` have a voxel. ``image`` holds them, or is None without any."""

    image: Any | None
    classes: tuple[int, ...]
    found: frozenset[int]

    def copy(self) -> Prepared:
        """The same with an image of its own."""
        if self.image is None:
            return self
        image = label_image(voxels(self.image), image_matrix(self.image), start_of(self.image))
        return Prepared(image, self.classes, self.found)


def prepare(layers: Iterable[Layer], place: Placement, left_out: Collection[int] = ()) -> list[Prepared]:
    """Images of layers, at the place of the volume that they were made from, copied: the layers may go.

    Images are cropped to what was found. Slicer does that at the first edit anyhow, which then takes ten times longer.
    Their lattice is that of the volume to the bit, so that Slicer never resamples.

    Args:
        layers: uint8 labels (i, j, k) whose values are class indices; read fastest in Fortran order.
        place: of the volume.
        left_out: classes whose voxels become background.

    Raises:
        GeometryError: a layer has another shape than the volume, or is not of uint8.
        InputError: a layer holds values that are not among its classes, or two layers share a class.
    """
    result: list[Prepared] = []
    seen: set[int] = set()
    for layer in layers:
        if layer.labels.shape != place.shape or layer.labels.dtype != np.uint8:
            raise GeometryError(
                _("A result of {result} voxels ({kind}) does not fit a CT of {volume}.").format(
                    result=layer.labels.shape, kind=layer.labels.dtype, volume=place.shape
                ),
                _("Segment the CT again."),
            )
        values, box = survey(layer.labels)
        if not values <= set(layer.classes) or seen & set(layer.classes):
            raise InputError(_("The result holds classes that it does not name."), _("Segment the CT again."))
        seen |= set(layer.classes)
        labels = layer.labels
        if unwanted := values & set(left_out):
            labels = without(labels, unwanted)
            values, box = survey(labels)
        classes = tuple(c for c in layer.classes if c not in left_out)
        result.append(Prepared(_cropped_image(labels, box, place), classes, frozenset(values)))
    return result


def survey(labels: np.ndarray) -> tuple[set[int], Box | None]:
    """The values other than 0 in a uint8 array (i, j, k), and the box that holds them; plane by plane."""
    count = np.zeros(256, np.int64)
    hit_i, hit_j, hit_k = (np.zeros(n, bool) for n in labels.shape)
    for k in range(labels.shape[2]):
        plane = labels[:, :, k]
        if plane.any():
            rows = np.flatnonzero(plane.any(axis=0))
            filled = plane[:, rows[0] : rows[-1] + 1]
            count += np.bincount(filled.ravel(order="K"), minlength=256)
            hit_k[k] = True
            hit_i |= filled.any(axis=1)
            hit_j[rows] = True
    values = set(np.flatnonzero(count[1:]) + 1)
    edges = [np.flatnonzero(hit) for hit in (hit_i, hit_j, hit_k)]
    if not values:
        return set(), None
    start, stop = zip(*((int(e[0]), int(e[-1]) + 1) for e in edges), strict=True)
    return {int(v) for v in values}, Box(start, stop)


def without(labels: np.ndarray, values: Collection[int]) -> np.ndarray:
    """A copy of labels (i, j, k) with some values as background, plane by plane to spare memory."""
    result = labels.copy(order="K")
    for k in range(labels.shape[2]):
        plane = result[:, :, k]
        plane[np.isin(plane, list(values))] = 0
    return result


def _cropped_image(labels: np.ndarray, box: Box | None, place: Placement) -> Any | None:
    if box is None:
        return None
    i, j, k = (a + b for a, b in zip(place.start, box.start, strict=True))
    return label_image(labels[box.slices], place.matrix, (i, j, k))
