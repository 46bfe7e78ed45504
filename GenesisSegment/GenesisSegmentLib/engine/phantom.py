"""A torso made of smooth solids: synthetic anatomy for the offline sample, for tests and for training.

Nothing here is a picture of a person. Structures carry the class numbers of the universal model (1-32) and, from 40
on, further tissue values that :data:`GenesisSegmentLib.engine.tissue.TISSUES` gives Hounsfield units to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..core.geometry import Geometry
from ..core.i18n import _
from ..core.volume import Source, Volume
from .tissue import paint

HEIGHT_MM = 480.0
"""From the lower end of the pelvis (0) to the upper chest."""


@dataclass(frozen=True)
class Solid:
    """An ellipsoid of tissue ``value``: centre and half axes in mm (right, front, up from the middle of the body's
    lower end), turned by ``tilt`` degrees about the left-right axis and by ``lean`` about the front-back axis."""

    value: int
    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    tilt: float = 0.0
    lean: float = 0.0


# Later solids lie on top of earlier ones. Positions are those of an adult of average size.
_SOLIDS = (
    Solid(17, (-72, 5, 405), (56, 78, 115)),
    Solid(16, (72, 5, 400), (60, 78, 110)),
    Solid(40, (-22, 30, 360), (52, 45, 50), lean=25),
    Solid(6, (62, 20, 262), (78, 68, 62), lean=-12),
    Solid(6, (-8, 45, 275), (62, 36, 34)),
    Solid(7, (-48, 40, 262), (40, 30, 48), lean=20),
    Solid(1, (-98, -28, 268), (26, 40, 48), tilt=15),
    Solid(2, (62, -48, 205), (26, 28, 54), lean=8),
    Solid(3, (-62, -48, 215), (26, 28, 54), lean=-8),
    Solid(11, (-22, 12, 228), (68, 14, 15), lean=14),
    Solid(14, (40, 8, 212), (16, 16, 38)),
    Solid(4, (50, 58, 222), (17, 19, 32), tilt=-20),
    Solid(12, (36, -30, 262), (5, 12, 14)),
    Solid(13, (-36, -28, 264), (5, 12, 14)),
    Solid(18, (98, 10, 130), (24, 26, 68)),
    Solid(18, (-102, 0, 140), (20, 22, 82)),
    Solid(18, (0, 62, 182), (92, 20, 20)),
    Solid(19, (-30, 35, 122), (36, 30, 38)),
    Solid(19, (36, 38, 104), (38, 30, 34)),
    Solid(19, (0, 25, 150), (56, 28, 26)),
    Solid(21, (0, 42, 42), (38, 34, 32)),
    Solid(22, (0, 20, 10), (23, 18, 16)),
    Solid(20, (0, -22, 32), (18, 18, 46)),
    Solid(23, (-88, 8, 22), (24, 24, 24)),
    Solid(24, (88, 8, 22), (24, 24, 24)),
    Solid(43, (-86, -18, 75), (24, 44, 54), lean=25),
    Solid(43, (86, -18, 75), (24, 44, 54), lean=-25),
    Solid(44, (0, -62, 62), (42, 18, 52), tilt=-20),
    Solid(50, (-34, -86, 240), (27, 20, 250)),
    Solid(50, (34, -86, 240), (27, 20, 250)),
    Solid(49, (-46, -38, 135), (19, 21, 80)),
    Solid(49, (46, -38, 135), (19, 21, 80)),
    Solid(41, (0, -56, 270), (22, 20, 400)),
    Solid(46, (0, -80, 270), (8, 8, 400)),
    Solid(8, (-9, -22, 290), (11, 11, 180)),
    Solid(9, (19, -16, 230), (12, 10, 130)),
    Solid(10, (20, 8, 248), (44, 7, 7), lean=-20),
    Solid(5, (-4, -30, 400), (8, 8, 100)),
)
_BODY = Solid(60, (0, 0, 240), (175, 122, 900))
_WALL_MM = 14.0


def phantom_labels(spacing_mm: float, seed: int | None = None) -> tuple[np.ndarray, Geometry]:
    """Label map uint8 (i, j, k) on RAS axes with isotropic spacing; a ``seed`` varies size, place and shape."""
    rng = np.random.default_rng(seed)
    vary = 0.0 if seed is None else 1.0
    size = 1.0 + vary * rng.uniform(-0.12, 0.15)
    width, depth = 390.0 * size, 280.0 * size
    shape = tuple(round(n / spacing_mm) for n in (width, depth, HEIGHT_MM))
    offset = np.array([-width / 2, -depth / 2, 0.0])
    axes = [(np.arange(n) + 0.5) * spacing_mm + o for n, o in zip(shape, offset, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32) / size
    points += vary * _waves(points, rng)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[_inside(_BODY, points)] = 60
    shrink = 1 - _WALL_MM / _BODY.radii[1]
    wall = labels.astype(bool) & ~_inside(Solid(60, _BODY.center, _shrunk(_BODY.radii, shrink)), points)
    for solid in _SOLIDS:
        jitter = vary * rng.normal(0, 1, 3) * np.array([5.0, 4.0, 8.0])
        a, b, c = (r * (1 + vary * rng.uniform(-0.14, 0.14)) for r in solid.radii)
        x, y, z = np.array(solid.center) + jitter
        moved = Solid(solid.value, (x, y, z), (a, b, c), solid.tilt, solid.lean)
        labels[_inside(moved, points) & (labels > 0) & ~wall] = solid.value
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = offset + spacing_mm / 2
    return labels, Geometry(shape, matrix)  # type: ignore[arg-type]


def phantom_ct(spacing_mm: float = 2.5, seed: int | None = None) -> Volume:
    """The phantom as a CT in Hounsfield units, portal venous phase, with noise; the same for the same ``seed``."""
    labels, geometry = phantom_labels(spacing_mm, seed)
    voxels = paint(labels, np.random.default_rng(seed or 0), spacing_mm, lively=seed is not None)
    source = Source(
        path=Path("phantom"),
        name="synthetic phantom",
        notes=(
            _("This is a synthetic phantom made of smooth solids: how the model does on it says nothing of real CTs."),
        ),
    )
    return Volume(voxels, geometry, source)


def _inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    x, y, z = (points[a] - np.float32(solid.center[a]) for a in range(3))
    tilt, lean = np.radians(solid.tilt), np.radians(solid.lean)
    y, z = y * np.cos(tilt) + z * np.sin(tilt), z * np.cos(tilt) - y * np.sin(tilt)
    x, z = x * np.cos(lean) + z * np.sin(lean), z * np.cos(lean) - x * np.sin(lean)
    a, b, c = solid.radii
    return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1


def _waves(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth displacement in mm (3, i, j, k), a few millimetres in amplitude."""
    coarse = rng.normal(0, 9.0, (3, 5, 4, 6))
    zoom = [n / c for n, c in zip(points.shape[1:], coarse.shape[1:], strict=True)]
    waves = [ndimage.zoom(c, zoom, order=1, mode="nearest", grid_mode=True) for c in coarse]
    return np.stack(waves).astype(np.float32)


def _shrunk(radii: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    a, b, c = radii
    return a * factor, b * factor, c
