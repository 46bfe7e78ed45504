"""How large the cases of a benchmark are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Sides = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """Sides in voxels, spacings in mm. ``ct`` is a CT to use in place of the phantom; ``rounds`` of A-B each."""

    head_side: int
    aggregate_shape: Sides
    aggregate_window: int
    resample_phantom_mm: float
    scan_phantom_mm: float
    window_side: int
    conv_side: int
    rounds: int = 2
    learning_side: int = 48
    ct: Path | None = None


QUICK = Setting(
    head_side=64,
    aggregate_shape=(96, 96, 224),
    aggregate_window=48,
    resample_phantom_mm=3.0,
    scan_phantom_mm=3.0,
    window_side=48,
    conv_side=48,
)
FULL = Setting(
    head_side=96,
    aggregate_shape=(200, 200, 160),
    aggregate_window=96,
    resample_phantom_mm=1.5,
    scan_phantom_mm=1.5,
    window_side=96,
    conv_side=96,
    rounds=3,
    learning_side=96,
)
