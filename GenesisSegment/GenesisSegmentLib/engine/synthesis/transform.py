"""Synthetic lesions on the fly, as a MONAI transform of dictionaries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable

from ...core.errors import InputError
from ...core.geometry import Geometry
from .planting import synthesize


class RandSyntheticLesiond(Randomizable, MapTransform):
    """Draws lesions into the image of items without any, and into their labels.

    ``keys`` are those of the image (1, X, Y, Z) in HU and of its label map (1, X, Y, Z), in this order, before
    intensities are scaled. Spacing and axes come from the affine of a ``MetaTensor``; anything else is taken for 1 mm
    along right, anterior, superior. Items that have the label of the lesion already, and those whose organ is cut off
    or too small for the size, stay as they are. Applied with probability 0.9, as published (models.md 7.1).
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        organ: str = "liver",
        organ_label: int = 1,
        lesion_label: int = 2,
        size: str | None = None,
        prob: float = 0.9,
    ) -> None:
        super().__init__(keys)
        self._image, self._label = self.keys
        self._organ, self._organ_label, self._lesion_label = organ, organ_label, lesion_label
        self._size, self._prob = size, prob

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, with lesions or as it is."""
        item = dict(data)
        is_drawn, seed = self.R.random() < self._prob, int(self.R.randint(2**31))
        label = np.asarray(item[self._label])[0]
        if not is_drawn or (label == self._lesion_label).any():
            return item
        image = item[self._image]
        geometry = Geometry(label.shape, _affine(image))
        change = geometry.to_ras
        hu, organ = change.apply(np.asarray(image)[0]), change.apply(label == self._organ_label)
        rng = np.random.default_rng(seed)
        try:
            hu, lesion = synthesize(hu, organ, geometry.reoriented(change).spacing, rng, self._organ, self._size)
        except InputError:
            return item
        marked = np.where(change.invert(lesion), self._lesion_label, label).astype(label.dtype)
        item[self._image] = _as(image, change.invert(hu))
        item[self._label] = _as(item[self._label], marked)
        return item


def _affine(image: Any) -> np.ndarray:
    """NIfTI's, as MONAI's readers give it."""
    return np.asarray(image.affine, dtype=np.float64) if isinstance(image, MetaTensor) else np.eye(4)


def _as(original: Any, values: np.ndarray) -> Any:
    """An array (X, Y, Z) in the form that the original had."""
    values = np.ascontiguousarray(values)[None]
    if isinstance(original, MetaTensor):
        return MetaTensor(torch.from_numpy(values), meta=original.meta, applied_operations=original.applied_operations)
    return torch.from_numpy(values) if isinstance(original, torch.Tensor) else values
