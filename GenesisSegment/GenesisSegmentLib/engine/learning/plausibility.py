"""Whether accepted masks lie where the CT says that they should: a check before anything is learned from them.

A mask that a person drew ends where the picture changes. One that was moved, as by a wrong registration or a paste into
another CT, ends anywhere, and fits better somewhere else. And the left one of two organs lies on the left.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.classes import class_slugs, class_table
from ...core.geometry import Box, Geometry
from ...core.i18n import _, listed

LEAST_ML = 40.0
"""Smaller structures are not checked: too little of the picture speaks for their place."""
LEAST_MM = 10.0
"""How far away a better place must lie before a mask counts as moved."""
_LEAST_CONTRAST = 0.5
_LEAST_RATIO = 2.0
_BAND_MM, _STEP_MM = 6.0, 4.0
_STARTS_MM = (-36.0, -24.0, -12.0, 12.0, 24.0, 36.0)
_MOST_POINTS, _MOST_STEPS = 3000, 40
_NOISE = 0.02
"""Standard deviation, in the model's values, that is nothing to go by."""
_DIRECTIONS = tuple(np.array(d) for d in itertools.product((-1, 0, 1), repeat=3) if any(d))


@dataclass(frozen=True)
class Fit:
    """The best place of a mask: ``offset_mm`` from where it lies, RAS, and the contrast at its border here and there.

    Contrast is the difference of the mean values inside and outside of the border in units of their spread.
    """

    offset_mm: tuple[float, float, float]
    here: float
    there: float

    @property
    def is_moved(self) -> bool:
        """Whether the mask certainly belongs elsewhere."""
        distance = float(np.linalg.norm(self.offset_mm))
        return distance >= LEAST_MM and self.there >= max(_LEAST_CONTRAST, _LEAST_RATIO * self.here)

    def words(self) -> str:
        """The way there, such as "30 mm to the left"."""
        ways = (
            (_("{count} mm to the right"), _("{count} mm to the left")),
            (_("{count} mm to the front"), _("{count} mm to the back")),
            (_("{count} mm up"), _("{count} mm down")),
        )
        most = max(map(abs, self.offset_mm))
        parts = zip(self.offset_mm, ways, strict=True)
        return listed(w[mm < 0].format(count=f"{abs(mm):.0f}") for mm, w in parts if abs(mm) >= max(1.0, most / 2))


def doubts(
    image: np.ndarray,
    masks: Mapping[str, np.ndarray],
    geometry: Geometry,
    confirmed: Collection[str] = (),
    pause: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """A sentence on each mask, bool (X, Y, Z), that is not where it should be; none on what was ``confirmed``.

    The axes are RAS, ``image`` holds the model's values. ``pause`` is called before each mask and may raise to stop.
    """
    found = []
    for label in (label for label in masks if has_place(label) and label not in confirmed):
        pause()
        fit = best_fit(image, masks[label], geometry)
        if fit is not None and fit.is_moved:
            found.append(_("{label} would fit the CT better {way}.").format(label=label, way=fit.words()))
    for left, right in _pairs(masks):
        if not {left, right} <= set(confirmed) and _centre(masks[left]) > _centre(masks[right]):
            found.append(_("{left} lies to the right of {right}.").format(left=left, right=right))
    return tuple(found)


def has_place(label: str) -> bool:
    """Whether the place of a mask can be judged: that of organs.

    A lesion, or a structure of one's own, may have no border that a CT shows, and something brighter near by.
    """
    index = class_slugs().get(label)
    return index is not None and not class_table()[index].is_lesion


def best_fit(image: np.ndarray, mask: np.ndarray, geometry: Geometry) -> Fit | None:
    """Where the border of a mask, bool (X, Y, Z), fits ``image`` best, of the places within about 40 mm.

    The axes are RAS, the image holds the model's values. It is looked for from some starts, by small steps as long as
    they better it. None for a mask that is too small to tell.
    """
    box = Box.around(mask)
    if box is None or np.count_nonzero(mask) * geometry.voxel_ml < LEAST_ML:
        return None
    inner, outer = _bands(mask, box, geometry.spacing)
    if not len(inner) or not len(outer):
        return None
    steps = np.maximum(1, np.round(_STEP_MM / np.array(geometry.spacing))).astype(int)
    contrasts = _Contrasts(image, inner, outer)
    here = contrasts.at(np.zeros(3, dtype=int))
    starts = [np.zeros(3, dtype=int)]
    for mm, axis in itertools.product(_STARTS_MM, range(3)):
        starts.append(np.eye(3, dtype=int)[axis] * round(mm / geometry.spacing[axis]))
    there, at = max((_climbed(contrasts, start, steps) for start in starts), key=lambda found: found[0])
    right, front, up = (at * np.array(geometry.spacing)).tolist()
    return Fit((right, front, up), here, there)


def _bands(mask: np.ndarray, box: Box, spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Positions just inside and just outside of the border, (n, 3); not more than are needed."""
    around = max(1, round(_BAND_MM / min(spacing)))
    part = box.grown(around + 1, mask.shape)  # type: ignore[arg-type]
    inside = mask[part.slices]
    near = ndimage.distance_transform_edt(inside, spacing), ndimage.distance_transform_edt(~inside, spacing)
    chosen = []
    for distance in near:
        points = np.argwhere((distance > 0) & (distance <= _BAND_MM)) + np.array(part.start)
        chosen.append(points[:: max(1, len(points) // _MOST_POINTS)])
    return chosen[0], chosen[1]


class _Contrasts:
    """Contrasts at the border of a mask, by how far it is moved; each is computed once."""

    def __init__(self, image: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> None:
        self._image, self._inner, self._outer = image, inner, outer
        self._known: dict[tuple[int, ...], float] = {}

    def at(self, offset: np.ndarray) -> float:
        """Moved by so many voxels; nothing where most of the mask would lie beyond the CT."""
        key = tuple(offset.tolist())
        if key not in self._known:
            self._known[key] = self._computed(offset)
        return self._known[key]

    def _computed(self, offset: np.ndarray) -> float:
        one, other = _values(self._image, self._inner + offset), _values(self._image, self._outer + offset)
        if len(one) < len(self._inner) / 2 or len(other) < len(self._outer) / 3:
            return 0.0
        spread = np.sqrt(one.var() + other.var() + _NOISE**2)
        return float(abs(one.mean() - other.mean()) / spread)


def _climbed(contrasts: _Contrasts, at: np.ndarray, steps: np.ndarray) -> tuple[float, np.ndarray]:
    """From a place to the next one that no small step betters: the contrast there, and the place."""
    best = contrasts.at(at)
    for _step in range(_MOST_STEPS):
        value, n = max((contrasts.at(at + d * steps), n) for n, d in enumerate(_DIRECTIONS))
        if value <= best:
            break
        best, at = value, at + _DIRECTIONS[n] * steps
    return best, at


def _values(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    inside = ((points >= 0) & (points < image.shape)).all(axis=1)
    return np.asarray(image[tuple(points[inside].T)])


def _pairs(masks: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for left in masks:
        right = f"{left.removesuffix('_left')}_right"
        if left.endswith("_left") and right in masks and masks[left].any() and masks[right].any():
            yield left, right


def _centre(mask: np.ndarray) -> float:
    """How far to the right the middle of a mask lies, in voxels."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    return float(np.average(np.arange(len(counts)), weights=counts))
