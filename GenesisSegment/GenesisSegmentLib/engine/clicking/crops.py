"""One crop of training: a piece of a scan around a structure, on a random grid, and which voxels are the structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ..tissue import TISSUES, paint, smooth_noise
from .lesions import plant_lesion
from .material import BODY, Scan, Structure

_FEWEST_VOXELS = 30
_FULLEST = 0.85


@dataclass(frozen=True, eq=False)
class Crop:
    """CT float32 in HU and the structure, bool, both (X, Y, Z); ``spacing`` in millimetres along the axes.

    ``known`` bool (X, Y, Z): the voxels in the scan. Beyond, its edge is repeated and nothing is known, as in the
    regions that :mod:`..refine.regions` cuts out.
    """

    hu: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class CropRecipe:
    """How crops are drawn. Spacings in millimetres; shares are of all crops of the scans that allow it."""

    spacing_mm: tuple[float, float] = (0.7, 3.5)
    slices_mm: tuple[float, float] = (0.8, 5.0)
    isotropic_share: float = 0.5
    whole_share: float = 0.5
    """Crops whose grid is so coarse that the whole structure fits."""
    lesion_share: float = 0.4
    invented_share: float = 0.15
    """Real anatomy in invented grey values: the same network must outline what it has never seen."""
    painted_share: float = 0.15
    """Of all crops: those from label maps without a CT."""
    full_share: float = 0.3
    """How many are kept of the crops that are little else than the structure: the view of a click in a large organ."""


class CropMaker:
    """Draws crops of a side from scans."""

    def __init__(self, scans: list[Scan], recipe: CropRecipe, rng: np.random.Generator) -> None:
        self._recipe, self.rng = recipe, rng
        self._real = [scan for scan in scans if scan.hu is not None and scan.structures]
        self._maps = [scan for scan in scans if scan.hu is None and scan.structures]
        self._weights = np.array([min(4.0, 1 + 0.5 * len(scan.structures) + len(scan.lungs)) for scan in self._real])

    def draw(self, side: int) -> Crop:
        """The next random crop, (side, side, side); it holds some of the structure."""
        while True:
            crop = self._try(side)
            size = np.count_nonzero(crop.truth)
            is_full = size > _FULLEST * np.count_nonzero(crop.known)
            if size >= _FEWEST_VOXELS and (not is_full or self.rng.uniform() < self._recipe.full_share):
                return crop

    def _try(self, side: int) -> Crop:
        rng, recipe = self.rng, self._recipe
        if self._maps and (not self._real or rng.uniform() < recipe.painted_share):
            scan = self._maps[int(rng.integers(len(self._maps)))]
        else:
            scan = self._real[int(rng.choice(len(self._real), p=self._weights / self._weights.sum()))]
        hosts = (*scan.lungs, *scan.lungs, *scan.hosts)
        if scan.hu is not None and hosts and rng.uniform() < recipe.lesion_share:
            return self._with_lesion(scan, side, int(rng.choice(hosts)))
        weights = np.array([s.weight for s in scan.structures])
        structure = scan.structures[int(rng.choice(len(weights), p=weights / weights.sum()))]
        hu, labels, known, spacing = self._cut(scan, structure, side)
        return Crop(self._scanned(hu, labels), np.isin(labels, structure.values) & known, known, spacing)

    def _with_lesion(self, scan: Scan, side: int, host: int) -> Crop:
        organ = next(s for s in scan.structures if s.values == (host,))
        hu, labels, known, spacing = self._cut(scan, organ, side)
        is_lung = host in scan.lungs
        within = np.isin(labels, scan.lungs if is_lung else (host,)) & known
        hu, truth = plant_lesion(hu, within, spacing, is_lung, self.rng)
        return Crop(self._scanned(hu, labels, can_invent=False), truth, known, spacing)

    def _cut(
        self, scan: Scan, structure: Structure, side: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float, float]]:
        """CT (painted where there is none), labels and what is known around a random voxel of the structure."""
        rng = self.rng
        spacing = self._spacing(structure, side)
        centre = _random_voxel(scan.labels, structure.values, rng)
        matrix = _turned(rng) @ np.diag(spacing) / np.array(scan.spacing)[:, None]
        steps = np.arange(side, dtype=np.float32) - (side - 1) / 2
        centre = _moved_in(centre + matrix @ rng.uniform(-0.25, 0.25, 3) * side, matrix, side, scan.labels.shape)
        points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1) @ matrix.T.astype(np.float32)
        points += centre.astype(np.float32)
        known = ((points > -0.5) & (points < np.array(scan.labels.shape) - 0.5)).all(axis=-1)
        labels, origin = _around(scan.labels, points)
        grid = _grid(points - origin, labels.shape)
        cut = _sampled(labels.astype(np.float32), grid, "nearest").astype(np.uint8)
        if scan.hu is None:
            painted = np.where(np.isin(cut, list(TISSUES)), cut, 0)
            if not scan.is_body_outlined:
                painted[painted == 0] = BODY
            return paint(painted, rng, float(np.mean(spacing))).astype(np.float32), cut, known, spacing
        hu, _ = _around(scan.hu, points)
        return _sampled(hu.astype(np.float32), grid, "bilinear"), cut, known, spacing

    def _spacing(self, structure: Structure, side: int) -> tuple[float, float, float]:
        rng, recipe = self.rng, self._recipe
        low, high = recipe.spacing_mm
        if rng.uniform() < recipe.whole_share:
            plane = float(np.clip(structure.extent_mm * rng.uniform(1.1, 2.0) / side, low, high))
        else:
            plane = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        between = plane
        if rng.uniform() > recipe.isotropic_share:
            between = float(np.exp(rng.uniform(*np.log(recipe.slices_mm))))
        return plane, plane, between

    def _scanned(self, hu: np.ndarray, labels: np.ndarray, can_invent: bool = True) -> np.ndarray:
        """Another scanner, contrast phase and kernel; now and then, grey values that no tissue has."""
        rng = self.rng
        if can_invent and rng.uniform() < self._recipe.invented_share and len(np.unique(labels)) > 3:
            return _invented(hu, labels, rng)
        if rng.uniform() < 0.3:
            offsets = rng.normal(0, 20, 256).astype(np.float32)
            offsets[0] = 0
            hu = hu + ndimage.gaussian_filter(offsets[labels], 0.7)
        hu = (hu - 40) * rng.uniform(0.85, 1.18) + 40 + rng.normal(0, 12)
        if rng.uniform() < 0.3:
            hu = ndimage.gaussian_filter(hu, rng.uniform(0.2, 0.8))
        if rng.uniform() < 0.6:
            hu = hu + rng.normal(0, rng.uniform(2, 35), hu.shape)
        return hu.astype(np.float32)


def _invented(hu: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every label in a grey value of its own; what has none keeps some of its likeness."""
    table = rng.uniform(-150, 250, 256).astype(np.float32)
    texture = rng.uniform(0, 25, 256).astype(np.float32)
    flat = table[labels] + texture[labels] * smooth_noise(labels.shape, rng, rng.uniform(0.7, 2.0))
    rest = np.clip(hu, -200, 300) * rng.uniform(-1, 1) + rng.normal(0, 60)
    mixed = ndimage.gaussian_filter(np.where(labels == 0, rest, flat), rng.uniform(0.3, 0.9))
    return (mixed + rng.normal(0, rng.uniform(2, 25), hu.shape)).astype(np.float32)


def _random_voxel(labels: np.ndarray, values: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A voxel of the structure, index (3,)."""
    inside = np.flatnonzero(np.isin(labels, values))
    return np.array(np.unravel_index(int(rng.choice(inside)), labels.shape))


def _moved_in(centre: np.ndarray, matrix: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """The centre of a crop so that little of it lies beyond the scan; all of the scan where that is smaller."""
    half = np.abs(matrix).sum(axis=1) * side / 2
    last = np.array(shape) - 1.0
    return np.where(2 * half < last, np.clip(centre, half, np.maximum(half, last - half)), last / 2)


def _turned(rng: np.random.Generator) -> np.ndarray:
    """A small rotation after a random mirror and a random swap of the first two axes."""
    angles = np.radians(rng.normal(0, 8, 3))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    order = [1, 0, 2] if rng.uniform() < 0.5 else [0, 1, 2]
    return (z @ y @ x @ np.diag(rng.choice((-1.0, 1.0), 3)))[:, order]


def _around(array: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The piece of ``array`` that the points can touch, and the index of its first voxel."""
    flat = points.reshape(-1, 3)
    low = np.clip(np.floor(flat.min(axis=0)).astype(int) - 1, 0, np.array(array.shape) - 2)
    high = np.clip(np.ceil(flat.max(axis=0)).astype(int) + 2, low + 2, array.shape)
    return array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], low.astype(np.float32)


def _grid(points: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    half = np.array([(n - 1) / 2 for n in shape], dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray((points / half - 1)[..., ::-1], dtype=np.float32))[None]


def _sampled(array: np.ndarray, grid: Tensor, mode: str) -> np.ndarray:
    out = F.grid_sample(torch.from_numpy(array)[None, None], grid, mode=mode, padding_mode="border", align_corners=True)
    return out[0, 0].numpy()
