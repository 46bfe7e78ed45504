"""What is drawn and how large: the rules by organ (Hu et al., CVPR 2023; Chen et al., CVPR 2024: models.md 7.1, 7.2).

All lengths are millimetres, which are voxels of the 1 mm grid that everything is made on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

MIX = "mix"
"""All four sizes in one organ."""
DIFFERENCE_HU = (65.0, 145.0)
"""By how much the CT is lowered where texture and soft mask are 1."""
EDGE_MM = (1.0, 2.0)
"""Sigma of the gaussian that softens the shape."""
SLICES = ((0.3, 0.7), (0.2, 0.8), (0.1, 0.9), (0.0, 1.0))
"""Share of the organ's height from which a slice is drawn, wider after every ten failures."""
FAILURES = 10
EROSION = 5
"""Side of the square by which a slice of the organ is eroded before a pixel of it is drawn."""


@dataclass(frozen=True)
class Size:
    """A class of sizes: the radius along each axis is a whole number between these shares of ``radius``.

    ``sigma`` is the range of the standard deviation of the elastic deformation's nodes, in mm.
    """

    radius: int
    sigma: tuple[float, float]
    least: float = 0.75
    most: float = 1.25

    @property
    def radii(self) -> tuple[int, int]:
        """The smallest and the largest radius."""
        return ceil(self.least * self.radius), floor(self.most * self.radius)


SIZES: Mapping[str, Size] = {
    "tiny": Size(4, (0.5, 1.0)),
    "small": Size(8, (1.0, 2.0)),
    "medium": Size(16, (3.0, 6.0)),
    "large": Size(32, (5.0, 10.0)),
}


@dataclass(frozen=True)
class Rules:
    """How lesions of one organ are drawn.

    ``lesion`` is the class of the table, ``numbers`` how many there are of each size, ``in_mix`` where that differs;
    ``chances`` of the sizes where none is asked for, in the order of :data:`SIZES` and then the mix. ``leaves`` is the
    chance of a medium or large lesion to grow out of the organ.

    ``is_filled``: inside of a lesion, HU are first drawn to those of the organ's middle. That is ours: in the paper a
    network draws lesions of pancreas and kidney anew, and lowering alone would leave cortex, pyramids and the fat
    between lobules in plain sight.
    """

    lesion: int
    numbers: Mapping[str, tuple[int, int]]
    in_mix: Mapping[str, tuple[int, int]]
    chances: tuple[float, float, float, float, float]
    is_eroded: bool
    is_large_centred: bool = False
    leaves: float = 0.0
    is_filled: bool = False
    largest: float = 1.25

    def size(self, name: str) -> Size:
        """A class of sizes as this organ has it."""
        size = SIZES[name]
        return size if name != "large" else Size(size.radius, size.sigma, size.least, self.largest)


_FEW = {"tiny": (1, 3), "small": (1, 3), "medium": (1, 1), "large": (1, 1)}
_EARLY = (0.4, 0.4, 0.1, 0.1, 0.0)
RULES: Mapping[str, Rules] = {
    "liver": Rules(
        lesion=27,
        numbers={"tiny": (3, 10), "small": (3, 10), "medium": (2, 5), "large": (1, 3)},
        in_mix={"small": (5, 10)},
        chances=(0.2, 0.2, 0.2, 0.2, 0.2),
        is_eroded=True,
    ),
    "pancreas": Rules(28, _FEW, {}, _EARLY, is_eroded=False, is_large_centred=True, largest=2.0, is_filled=True),
    "kidney": Rules(26, _FEW, {}, _EARLY, is_eroded=False, leaves=0.5, largest=2.0, is_filled=True),
}
SIZE_NAMES = (*SIZES, MIX)


@dataclass(frozen=True)
class Options:
    """What the paper describes and the released generator does not have: off unless asked for."""

    is_vessel_avoided: bool = False
    has_mass_effect: bool = False
    has_capsule: bool = False


PLAIN = Options()
