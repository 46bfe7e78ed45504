"""One training sample: a deformed, cropped, re-contrasted piece of a case, or of an invented one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ..clicking.lesions import plant_lesion
from ..phantom import phantom_labels
from ..tissue import paint, smooth_noise
from .cases import GRID_MM, TrainingCase
from .chests import is_abdomen, is_chest, under_chest
from .contrasts import contrasts
from .kidneys import KidneyRecipe, vary_kidneys
from .surroundings import SurroundingsRecipe, surround

_LESION_HOSTS = (1, 2, 3, 6, 11)


@dataclass(frozen=True, eq=False)
class Sample:
    """Image (1, 1, X, Y, Z) in 0..1, labels (X, Y, Z) and the classes annotated in it."""

    image: Tensor
    labels: np.ndarray
    annotated: tuple[int, ...]


@dataclass(frozen=True)
class SampleRecipe:
    """Grid and intensity window of the model, the largest sample, and how often material is invented."""

    spacing_mm: float = 4.0
    window_hu: tuple[float, ...] = (-1000.0, -850.0, -175.0, 250.0)
    window_values: tuple[float, ...] = (0.0, 0.25, 0.35, 1.0)
    """Most of the range for soft tissue, and a quarter to tell lung from the air around the patient."""
    largest: tuple[int, int, int] = (96, 72, 80)
    smallest_share: float = 0.7
    margin_share: float = 0.15
    """Air that may be added around the patient in the axial plane: fields of view differ from scanner to scanner."""
    multiple: int = 8
    synthetic_share: float = 0.35
    phantom_share: float = 0.08
    tall_share: float = 0.35
    """Of the abdominal CTs: those that get a chest on top."""
    measured_share: float = 0.5
    """Of the painted CTs: those in the grey values of a real one."""
    lesion_share: float = 0.2
    """Of the organs that may hold lesions; an organ with a lesion is the whole organ all the same."""
    kidneys: KidneyRecipe = field(default_factory=KidneyRecipe)
    surroundings: SurroundingsRecipe = field(default_factory=SurroundingsRecipe)


class SampleMaker:
    """Draws samples: real CTs, CTs painted from label maps, and phantoms."""

    def __init__(self, cases: list[TrainingCase], recipe: SampleRecipe, rng: np.random.Generator) -> None:
        self._recipe = recipe
        self._rng = rng
        self._maps = [case for case in cases if case.ct is None and (case.labels > 0).any()]
        self._real = [case for case in cases if case.ct is not None]
        self._chests = [case for case in cases if is_chest(case)]
        self._contrasts = contrasts(self._real)
        # Whole abdomens and chests count alike, single vessels less; empty thighs are shown now and then.
        weights = np.array([min(3.0, 0.4 + 1.3 * len(set(np.unique(c.labels)) & set(c.annotated))) for c in self._real])
        self._weights = weights / weights.sum()

    def draw(self) -> Sample:
        """The next random sample."""
        rng, recipe = self._rng, self._recipe
        fate = rng.uniform()
        if fate < recipe.phantom_share:
            labels, _ = phantom_labels(GRID_MM, int(rng.integers(2**31)))
            annotated = tuple(int(v) for v in np.unique(labels) if 0 < v <= 32)
            return self._finish(labels, None, annotated)
        if self._maps and (not self._real or fate < recipe.phantom_share + recipe.synthetic_share):
            case = self._maps[int(rng.integers(len(self._maps)))]
            labels = case.labels if case.is_body_outlined else with_body(case.labels, rng)
            return self._finish(labels, None, case.annotated)
        case = self._real[int(rng.choice(len(self._real), p=self._weights))]
        if self._chests and is_abdomen(case) and rng.uniform() < recipe.tall_share:
            case = under_chest(case, self._chests[int(rng.integers(len(self._chests)))])
        return self._finish(case.labels, case.ct, case.annotated)

    def _finish(self, labels: np.ndarray, ct: np.ndarray | None, annotated: tuple[int, ...]) -> Sample:
        recipe, rng = self._recipe, self._rng
        grid = sampling_grid(labels.shape, recipe, rng)
        warped_labels = _sample(labels.astype(np.float32), grid, "nearest").astype(np.uint8)
        if ct is None:
            hu = self._painted(warped_labels)
        else:
            hu = _sample(ct.astype(np.float32) + 1024, grid, "bilinear") - 1024
        hu, warped_labels = vary_kidneys(hu, warped_labels, recipe.spacing_mm, recipe.kidneys, rng)
        hu = with_lesions(hu, warped_labels, recipe.spacing_mm, recipe.lesion_share, rng)
        if ct is not None:
            hu = recontrast(hu, warped_labels, rng)
        hu, warped_labels = surround(hu, warped_labels, recipe.spacing_mm, recipe.surroundings, rng)
        image = torch.from_numpy(np.interp(hu, recipe.window_hu, recipe.window_values).astype(np.float32))
        return Sample(image[None, None], warped_labels, annotated)

    def _painted(self, labels: np.ndarray) -> np.ndarray:
        recipe, rng = self._recipe, self._rng
        is_measured = self._contrasts and rng.uniform() < recipe.measured_share
        measured = self._contrasts[int(rng.integers(len(self._contrasts)))] if is_measured else None
        return paint(labels, rng, recipe.spacing_mm, measured=measured).astype(np.float32)


def with_lesions(
    hu: np.ndarray, labels: np.ndarray, spacing_mm: float, share: float, rng: np.random.Generator
) -> np.ndarray:
    """The CT in HU (i, j, k) with a synthetic lesion in some of the organs that have them; labels stay as they are."""
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None and value in _LESION_HOSTS and rng.uniform() < share:
            hu = hu.copy()
            hu[box], _ = plant_lesion(hu[box], labels[box] == value, (spacing_mm,) * 3, False, rng)
    return hu


def sampling_grid(shape: tuple[int, ...], recipe: SampleRecipe, rng: np.random.Generator) -> Tensor:
    """Grid (1, X, Y, Z, 3) for ``grid_sample``: rotation, scale, bending and a random field of view.

    Never mirrored: left stays left.
    """
    scale = rng.uniform(0.85, 1.18) * rng.uniform(0.94, 1.06, 3) * GRID_MM / recipe.spacing_mm
    need = [int(np.ceil(n * s)) for n, s in zip(shape, scale, strict=True)]
    if rng.uniform() < 0.5:
        need = [int(n * (1 + rng.uniform(0, recipe.margin_share))) for n in need[:2]] + need[2:]
    pieces = []
    share = rng.uniform(recipe.smallest_share, 1.0)
    for axis, (n, most) in enumerate(zip(need, recipe.largest, strict=True)):
        wanted = min(n, round(most * share))
        if axis == 2 and rng.uniform() < 0.5:
            wanted = int(rng.integers(min(wanted, 24), wanted + 1))
        pieces.append(max(recipe.multiple * 2, -(-wanted // recipe.multiple) * recipe.multiple))
    angles = np.radians(rng.normal(0, 5, 3))
    matrix = _rotation(angles) @ np.diag(1 / scale)
    free = [max(0.0, n - p) for n, p in zip(need, pieces, strict=True)]
    shift = np.array([rng.uniform(-f / 2, f / 2) if f else 0.0 for f in free]) / scale
    axes = [np.arange(p, dtype=np.float32) - (p - 1) / 2 for p in pieces]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ matrix.T.astype(np.float32)
    points += shift.astype(np.float32)
    bend = torch.from_numpy(rng.normal(0, rng.uniform(0, 2.2), (1, 3, 5, 5, 5)).astype(np.float32))
    bent = torch.from_numpy(points) + F.interpolate(bend, size=pieces, mode="trilinear", align_corners=True)[0].permute(
        1, 2, 3, 0
    )
    half = torch.tensor([(n - 1) / 2 for n in shape])
    return (bent / half).flip(-1)[None].float()


def recontrast(hu: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another scanner and another contrast phase: offsets per labelled organ, noise, kernel and scale."""
    if rng.uniform() < 0.5:
        offsets = np.zeros(256, dtype=np.float32)
        venous, arterial = rng.normal(0, 22), rng.normal(0, 45)
        for value in range(1, 33):
            shared = arterial if value in (8, 25) else venous if value not in (4, 16, 17, 18, 21, 23, 24) else 0.0
            offsets[value] = shared + rng.normal(0, 45 if value in (16, 17) else 8)
        hu = hu + ndimage.gaussian_filter(offsets[labels], 0.7)
    hu = (hu - 40) * rng.uniform(0.88, 1.15) + 40 + rng.normal(0, 10)
    if rng.uniform() < 0.4:
        hu = ndimage.gaussian_filter(hu, rng.uniform(0.2, 0.9))
    if rng.uniform() < 0.6:
        hu = hu + rng.normal(0, rng.uniform(2, 30), hu.shape)
    return hu.astype(np.float32)


def with_body(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A label map that ends at its organs, given a body: fat around them, a muscle wall, fat and skin outside."""
    organs = labels > 0
    outline = np.zeros_like(organs)
    for k in range(labels.shape[2]):
        rows = organs[:, :, max(0, k - 8) : k + 9].any(axis=2)
        if rows.any():
            outline[:, :, k] = ndimage.binary_closing(np.pad(rows, 40), iterations=30)[40:-40, 40:-40]
    pad = [(14, 14), (14, 14), (0, 0)]
    outline, labels = np.pad(outline, pad), np.pad(labels, pad)
    distance = ndimage.distance_transform_edt(~outline, sampling=GRID_MM)
    distance = distance + 6 * smooth_noise(distance.shape, rng, 8)
    inner, wall, skin = rng.uniform(3, 10), rng.uniform(8, 18), rng.uniform(5, 35)
    body = np.where(distance < inner + wall + skin, 60, 0)
    body[(distance >= inner) & (distance < inner + wall)] = 52
    return np.where(labels > 0, labels, body).astype(np.uint8)


def _sample(array: np.ndarray, grid: Tensor, mode: str) -> np.ndarray:
    out = F.grid_sample(torch.from_numpy(array)[None, None], grid, mode=mode, padding_mode="zeros", align_corners=True)
    return out[0, 0].numpy()


def _rotation(angles: np.ndarray) -> np.ndarray:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return z @ y @ x
