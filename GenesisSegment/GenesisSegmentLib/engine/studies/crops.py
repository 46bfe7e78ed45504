"""Crops to learn from: turned and scaled a little, and told where their labels are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from ..starter.augment import SampleRecipe
from ..starter.cases import GRID_MM, TrainingCase

ORGANS: Mapping[str, tuple[int, ...]] = {
    "spleen": (1,),
    "kidneys": (2, 3),
    "gallbladder": (4,),
    "liver": (6,),
    "aorta": (8,),
    "inferior vena cava": (9,),
    "lungs": (16, 17),
}
"""What the held-out CT can judge, and the classes of each. Both sides are one: within a small crop hardly anything
tells left from right, and a short training would spend itself on that."""
SPACING_MM = 6.0
_AIR_HU = -1024
_ABOUT_AN_ORGAN = 0.67
_SMOOTHING = 0.4 * float(np.sqrt(SPACING_MM**2 - GRID_MM**2)) / GRID_MM
"""Sigma in voxels of the cases, as :func:`..starter.cases.to_grid` smooths before it takes fewer voxels."""
_WINDOW = SampleRecipe()


@dataclass(frozen=True, eq=False)
class Crop:
    """Image float32 (X, Y, Z) in 0..1, labels uint8, and where they are known, both (X, Y, Z).

    ``organs`` are those that were looked for in the case; of others nothing is known anywhere.
    """

    image: np.ndarray
    labels: np.ndarray
    known: np.ndarray
    organs: tuple[str, ...]


def known_organs(case: TrainingCase) -> tuple[str, ...]:
    """The organs of :data:`ORGANS` that were looked for in a case, on both sides."""
    return tuple(name for name, classes in ORGANS.items() if set(classes) <= set(case.annotated))


def organ_mask(labels: np.ndarray, name: str) -> np.ndarray:
    """Where the labels are those of an organ."""
    return np.isin(labels, ORGANS[name])


def intensities(hu: np.ndarray) -> np.ndarray:
    """HU as float32 in 0..1, by the starter's window."""
    return np.interp(hu, _WINDOW.window_hu, _WINDOW.window_values).astype(np.float32)


def smoothed(case: TrainingCase) -> np.ndarray:
    """The CT as float32, smoothed so that fewer voxels can be taken of it."""
    return ndimage.gaussian_filter(np.asarray(case.ct, np.float32), _SMOOTHING)


@dataclass(frozen=True, eq=False)
class _Source:
    """A case, ready to be cut: ``told`` is one more than the label, and 0 where nothing is known.

    ``places`` are the known voxels of each organ that is there, as indices of the flat array; ``slices`` are numbers.
    """

    air_above: torch.Tensor
    told: torch.Tensor
    organs: tuple[str, ...]
    places: Mapping[str, np.ndarray]
    slices: np.ndarray

    @classmethod
    def of(cls, case: TrainingCase, slices: np.ndarray) -> _Source:
        """``slices`` say which axial slices are annotated."""
        told = np.where(slices, case.labels + 1, 0).astype(np.uint8)
        organs = known_organs(case)
        places = {name: np.flatnonzero(organ_mask(case.labels, name) & (told > 0)) for name in organs}
        return cls(
            torch.from_numpy(smoothed(case) - _AIR_HU),
            torch.from_numpy(told.astype(np.float32)),
            organs,
            {name: found for name, found in places.items() if len(found)},
            np.flatnonzero(slices),
        )


class CropMaker:
    """Draws crops about annotated slices; an organ or a place first, so that small organs are met as often as large.

    ``slices`` say which axial slices of a case are annotated. What is drawn depends on the seed alone.
    """

    def __init__(
        self, cases: Sequence[TrainingCase], slices: Mapping[str, np.ndarray], sides: tuple[int, int, int], seed: int
    ) -> None:
        self._sides, self._rng = sides, np.random.default_rng(seed)
        self._sources = [_Source.of(case, slices[case.name]) for case in cases]
        weights = 0.5 + np.array([len(source.places) for source in self._sources], dtype=float)
        self._weights = weights / weights.sum()

    def draw(self) -> Crop:
        """The next crop."""
        source = self._sources[int(self._rng.choice(len(self._sources), p=self._weights))]
        grid = self._grid(self._centre(source), source.told.shape)
        told = _sampled(source.told, grid, "nearest").astype(np.uint8)  # outside the scan nothing is known, too
        hu = _sampled(source.air_above, grid, "bilinear") + _AIR_HU
        known = told > 0
        image = intensities(self._as_by_another_scanner(hu))
        return Crop(image, np.where(known, told - 1, 0).astype(np.uint8), known, source.organs)

    def _centre(self, source: _Source) -> np.ndarray:
        rng, present = self._rng, list(source.places)
        if present and rng.uniform() < _ABOUT_AN_ORGAN:
            places = source.places[present[int(rng.integers(len(present)))]]
            return np.array(np.unravel_index(int(places[rng.integers(len(places))]), source.told.shape), dtype=float)
        i, j = (int(rng.integers(n)) for n in source.told.shape[:2])
        return np.array([i, j, source.slices[rng.integers(len(source.slices))]], dtype=float)

    def _grid(self, centre: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
        """Places in a case for ``grid_sample`` (1, X, Y, Z, 3). Never mirrored: left stays left."""
        rng = self._rng
        # The centre may lie anywhere in the inner half of the crop.
        centre = centre - rng.uniform(-0.25, 0.25, 3) * self._sides * np.array(SPACING_MM / GRID_MM)
        turn = Rotation.from_euler("xyz", rng.normal(0, 5, 3), degrees=True).as_matrix()
        step = SPACING_MM / GRID_MM / rng.uniform(0.88, 1.14)
        axes = [np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in self._sides]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ (step * turn).T + centre
        half = (np.array(shape) - 1) / 2
        return torch.from_numpy((points / half - 1)[..., ::-1].astype(np.float32))[None]

    def _as_by_another_scanner(self, hu: np.ndarray) -> np.ndarray:
        """Another scale, offset and noise; it knows nothing of labels, which would tell where they are."""
        rng = self._rng
        hu = (hu - 40) * rng.uniform(0.92, 1.1) + 40 + rng.normal(0, 8)
        return hu + rng.normal(0, rng.uniform(0, 12), hu.shape)


def _sampled(array: torch.Tensor, grid: torch.Tensor, mode: str) -> np.ndarray:
    out = F.grid_sample(array[None, None], grid, mode=mode, padding_mode="zeros", align_corners=True)
    return out[0, 0].numpy()
