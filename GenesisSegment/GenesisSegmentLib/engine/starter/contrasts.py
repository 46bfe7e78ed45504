"""The grey values of the structures of real CTs, to paint label maps with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from .cases import TrainingCase

Contrast = Mapping[int, tuple[float, float]]
"""By label value: median and spread in HU, of one patient in one contrast phase.

The spread is 1.48 times the median deviation: a standard deviation that gas and an implant do not change.
"""
_FEWEST_VOXELS = 40
_NORMAL = 1.4826


def contrasts(cases: Sequence[TrainingCase]) -> tuple[Contrast, ...]:
    """How the structures of every real CT look, each CT by itself: what is bright together stays together."""
    found = (contrast_of(case) for case in cases if case.ct is not None)
    return tuple(contrast for contrast in found if len(contrast) > 1)


def contrast_of(case: TrainingCase) -> Contrast:
    """Median and spread of each labelled structure of a real CT, without its outermost voxels.

    Structures that are too small or too thin for that are left out.
    """
    assert case.ct is not None
    known: dict[int, tuple[float, float]] = {}
    boxes = ndimage.find_objects(case.labels)
    for value, box in enumerate(boxes, start=1):
        if box is None or value not in case.annotated:
            continue
        values = case.ct[box][ndimage.binary_erosion(case.labels[box] == value)]
        if len(values) >= _FEWEST_VOXELS:
            median = float(np.median(values))
            known[value] = (median, _NORMAL * float(np.median(np.abs(values - median))))
    return known
