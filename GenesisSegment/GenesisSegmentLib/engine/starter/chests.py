"""Tall fields of view: the abdomen of one CT under the upper chest of another.

Hardly a CT here shows abdomen and chest. A network that normalises every scan by itself and sees the whole of it in
one pass has to meet kidneys in a scan that is half lung.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cases import LUNGS, TrainingCase

UPPER_SHARE = 0.65
"""Of the height of the lungs: above the domes of the diaphragm, with most of the heart."""
_THERE_TOO = (5, 8, 30)
"""Oesophagus, aorta, lung tumour: in an upper chest too, where nobody marked them."""
_AIR_HU = -1024


def is_chest(case: TrainingCase) -> bool:
    """Whether the case is a CT whose lungs alone are known."""
    return case.ct is not None and bool(case.annotated) and set(case.annotated) <= set(LUNGS)


def is_abdomen(case: TrainingCase) -> bool:
    """Whether the case is a CT with a liver."""
    return case.ct is not None and bool((case.labels == 6).any())


def under_chest(abdomen: TrainingCase, chest: TrainingCase) -> TrainingCase:
    """The abdomen with the upper chest put on its top slice, middle on middle.

    Known stay the classes that no upper chest holds, and the lungs that both know.
    """
    if abdomen.ct is None or chest.ct is None:
        raise ValueError("both cases must have a CT")
    levels = np.nonzero(np.isin(chest.labels, LUNGS).any(axis=(0, 1)))[0]
    start = int(levels[-1] - UPPER_SHARE * (levels[-1] - levels[0]))
    sides = abdomen.labels.shape[:2]
    labels = np.concatenate([abdomen.labels, _fitted(chest.labels[:, :, start:], sides, 0)], axis=2)
    ct = np.concatenate([abdomen.ct, _fitted(chest.ct[:, :, start:], sides, _AIR_HU)], axis=2)
    unknown = {*_THERE_TOO, *(set(LUNGS) - set(chest.annotated))}
    annotated = tuple(c for c in abdomen.annotated if c not in unknown)
    return replace(abdomen, name=f"{abdomen.name}+{chest.name}", labels=labels, ct=ct, annotated=annotated)


def _fitted(array: np.ndarray, sides: tuple[int, ...], outside: int) -> np.ndarray:
    """The array cut or filled up to the sides of the first two axes, about its middle."""
    for axis, wanted in enumerate(sides):
        spare = wanted - array.shape[axis]
        if spare < 0:
            array = np.take(array, range(-spare // 2, -spare // 2 + wanted), axis=axis)
        else:
            pad = [(0, 0)] * 3
            pad[axis] = (spare // 2, spare - spare // 2)
            array = np.pad(array, pad, constant_values=outside)
    return array
