"""Stand-ins for networks and machines, and every way to store a grid: for the tests of inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np

from builders import AIR, FAT, TISSUE, rotation
from GenesisSegmentLib.core.geometry import Geometry, Reorientation
from GenesisSegmentLib.core.jobs import Advance
from GenesisSegmentLib.core.memory_plan import GIB
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.inference.spec import ModelSpec

SPLEEN, KIDNEY_RIGHT, KIDNEY_LEFT, LIVER, KIDNEY_TUMOR = 1, 2, 3, 6, 26

ORIENTATIONS = tuple(
    Reorientation(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)
)
"""The 48 ways to permute and flip the axes of a grid."""
ROTATIONS = ((0.0, 0.0, 0.0), (10.0, -20.0, 30.0), (-38.0, 8.0, -14.0))

SPEC = ModelSpec(
    id="stand-in",
    classes=(1, 2, 3, 6, 26),
    offered=(1, 2, 3, 6, 26),
    spacing_mm=(2.0, 2.0, 2.0),
    window_hu=(-175.0, 250.0),
    window=(16, 16, 16),
)
COARSE = replace(SPEC, window=None, multiple=8, upsampling="linear", is_smoothed=True, spacing_mm=(4.0, 4.0, 4.0))


def no_report(share: float) -> None:
    """Where nobody listens."""


class StandIn:
    """A runtime in numpy: the logits of channel ``c`` are ``functions[c]`` of the scaled window. Keeps a record."""

    def __init__(self, functions: tuple[Callable[[np.ndarray], np.ndarray], ...], device: str = "cpu") -> None:
        self.device, self.ring_device, self.notes = device, device, ()
        self.is_plain: bool | None = None
        self._functions = functions
        self.windows: list[tuple[int, ...]] = []
        self.channels: set[tuple[int, ...]] = set()
        self.zeros_asked: list[tuple[tuple[int, ...], bool]] = []

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        self.is_plain = is_plain

    def logits(self, window: np.ndarray, channels: tuple[int, ...], advance: Advance = no_report) -> np.ndarray:
        self.windows.append(window.shape)
        self.channels.add(channels)
        return np.stack([self._functions[c](window) for c in channels]).astype(np.float32)

    def zeros(self, shape: tuple[int, ...], half: bool) -> np.ndarray:
        self.zeros_asked.append((shape, half))
        return np.zeros(shape, np.float16 if half else np.float32)

    def to_array(self, values: np.ndarray) -> np.ndarray:
        return values

    def to_numpy(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)


class FreeMemory:
    """A machine with so many bytes free."""

    def __init__(self, host: int = 64 * GIB, device: int = 64 * GIB) -> None:
        self._host, self._device = host, device

    def free_host(self) -> int:
        return self._host

    def free_device(self, device: str) -> int:
        return self._device


def above(hu: float, spec: ModelSpec = SPEC) -> Callable[[np.ndarray], np.ndarray]:
    """Logits that are positive where the CT is denser than ``hu``."""
    low, high = spec.window_hu
    return lambda window: 20.0 * (window - np.float32((hu - low) / (high - low)))


def grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    degrees: tuple[float, float, float] = (0.0, 0.0, 0.0),
    center: tuple[float, float, float] = (12.0, -30.0, 400.0),
) -> Geometry:
    """A grid in RAS axes order, turned by ``degrees`` about its middle, which lies at ``center``."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(degrees) @ np.diag(spacing)
    matrix[:3, 3] = np.array(center) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, matrix)


def positions(geometry: Geometry) -> np.ndarray:
    """RAS position in mm of every voxel, (3, i, j, k)."""
    index = np.indices(geometry.shape).reshape(3, -1)
    ras = geometry.ijk_to_ras[:3, :3] @ index + geometry.ijk_to_ras[:3, 3:]
    return ras.reshape(3, *geometry.shape)


def ball_distance(geometry: Geometry, center: tuple[float, float, float], radius: float) -> np.ndarray:
    """How far every voxel lies inside a ball in mm; negative outside."""
    offset = positions(geometry) - np.array(center).reshape(3, 1, 1, 1)
    return radius - np.linalg.norm(offset, axis=0)


def a_body(geometry: Geometry, radius: float = 30.0, center=(12.0, -30.0, 400.0)) -> np.ndarray:
    """A ball of tissue under a rim of fat, in air."""
    inside = ball_distance(geometry, center, radius)
    return np.where(inside > 4, TISSUE, np.where(inside > 0, FAT, AIR)).astype(np.int16)


def a_volume(voxels: np.ndarray, geometry: Geometry) -> Volume:
    """A CT in memory."""
    return Volume(voxels.astype(np.int16), geometry, Source(Path("made"), "made"))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two boolean masks."""
    return 2.0 * np.count_nonzero(one & other) / max(1, np.count_nonzero(one) + np.count_nonzero(other))
