"""How large the cases of a benchmark are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Sides = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """Sides in voxels, spacings in mm. ``ct`` is a CT to use in place of the phantom; ``rounds`` of A-B each.

    The whole CT (``whole_...``) is the same part of a body in every setting, in smaller or larger voxels.
    ``growth_side`` is that of the smallest image whose growth is measured. ``native_shape`` is that of a CT to which
    masks are brought back, ``islands_side`` that of masks with islands. ``liver_share`` is the length of the organ with
    synthetic lesions, as a share of a liver's.
    """

    head_side: int
    aggregate_shape: Sides
    aggregate_window: int
    resample_phantom_mm: float
    scan_phantom_mm: float
    window_side: int
    conv_side: int
    rounds: int = 2
    learning_side: int = 48
    whole_shape: Sides = (56, 56, 45)
    whole_window: int = 32
    whole_spacing_mm: float = 5.36
    starter_shape: Sides = (128, 128, 75)
    growth_side: int = 48
    growth_steps: tuple[int, ...] = (1, 2, 4)
    native_shape: Sides = (191, 191, 111)
    islands_side: int = 128
    liver_share: float = 0.6
    texture_shape: Sides = (210, 150, 160)
    classes: int = 32
    ct: Path | None = None

    @property
    def is_full(self) -> bool:
        """Whether the targets are meant for sides like these."""
        return self.whole_window == 96


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
    whole_shape=(200, 200, 160),
    whole_window=96,
    whole_spacing_mm=1.5,
    starter_shape=(512, 512, 300),
    growth_side=96,
    growth_steps=(1, 2, 4, 8),
    native_shape=(511, 511, 299),
    islands_side=300,
    liver_share=1.0,
    texture_shape=(420, 300, 320),
)
