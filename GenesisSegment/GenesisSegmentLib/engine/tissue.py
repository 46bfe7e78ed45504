"""Hounsfield units of tissues: turns a label map into a CT that looks like one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

AIR_HU = -1000
_PATIENT_HU = 8.0
"""By how much patients in the same contrast phase differ."""
_MOST_TEXTURE = 60.0
"""What varies more than that holds several contents, which are painted on their own."""


@dataclass(frozen=True)
class Tissue:
    """Range of the mean HU over patients and contrast phases, texture (sd in HU), and what else may fill it.

    ``phase`` names the compartment whose contrast it shares: ``arterial``, ``venous`` or none. ``mix`` are HU of a
    second content (gas, stool, oral contrast) that takes a random share of the structure.
    """

    low: float
    high: float
    texture: float = 8.0
    phase: str = ""
    mix: tuple[float, ...] = ()


# Typical values of clinical CT, unenhanced to portal venous; the ranges are wide on purpose.
TISSUES: dict[int, Tissue] = {
    1: Tissue(42, 140, phase="venous"),
    2: Tissue(28, 210, 14, "venous"),
    3: Tissue(28, 210, 14, "venous"),
    4: Tissue(-2, 25),
    5: Tissue(20, 70, mix=(-600,)),
    6: Tissue(42, 130, phase="venous"),
    7: Tissue(0, 60, 15, mix=(-850, 20, 180)),
    8: Tissue(35, 320, 6, "arterial"),
    9: Tissue(35, 170, 8, "venous"),
    10: Tissue(38, 190, 6, "venous"),
    11: Tissue(25, 120, 12, "venous"),
    12: Tissue(15, 90, phase="venous"),
    13: Tissue(15, 90, phase="venous"),
    14: Tissue(5, 80, 15, mix=(-700, 150)),
    15: Tissue(40, 190, 6, "venous"),
    16: Tissue(-880, -740, 40),
    17: Tissue(-880, -740, 40),
    18: Tissue(-30, 60, 40, mix=(-900, -400)),
    19: Tissue(5, 80, 20, mix=(-700, 180)),
    20: Tissue(0, 60, 25, mix=(-800,)),
    21: Tissue(-5, 25, 4, mix=(150,)),
    22: Tissue(30, 80),
    23: Tissue(220, 480, 60),
    24: Tissue(220, 480, 60),
    25: Tissue(40, 300, 6, "arterial"),
    26: Tissue(25, 110, 14),
    27: Tissue(15, 100, 12),
    28: Tissue(15, 80, 12),
    32: Tissue(-5, 20, 4),
    40: Tissue(35, 190, 10, "arterial"),
    41: Tissue(120, 290, 50),
    42: Tissue(180, 420, 90),
    43: Tissue(150, 340, 70),
    44: Tissue(110, 260, 50),
    45: Tissue(150, 350, 70),
    46: Tissue(15, 45, 5),
    47: Tissue(-1000, -960, 10),
    48: Tissue(35, 250, 10, "arterial"),
    49: Tissue(40, 75, 10),
    50: Tissue(30, 70, 16),
    51: Tissue(35, 70, 14),
    52: Tissue(35, 70, 12),
    53: Tissue(60, 115, 8),
    54: Tissue(-5, 25, 6, mix=(400,)),
    57: Tissue(40, 300, 6, "arterial"),
    58: Tissue(40, 280, 8, "arterial"),
    59: Tissue(38, 170, 8, "venous"),
    60: Tissue(-115, -85, 12),
    61: Tissue(40, 110, 12),
    62: Tissue(0, 60, 12),
    63: Tissue(20, 60),
    64: Tissue(35, 90, 10),
    65: Tissue(0, 100, 10),
}


def paint(
    labels: np.ndarray,
    rng: np.random.Generator,
    spacing_mm: float,
    lively: bool = True,
    measured: Mapping[int, tuple[float, float]] | None = None,
) -> np.ndarray:
    """CT int16 (i, j, k) in HU for a label map (i, j, k) of :data:`TISSUES` values, 0 being air.

    ``lively`` draws mean, texture and contents anew for every structure; without it the middle of a portal venous
    phase is used. ``measured`` are the mean and the texture (sd) of structures of a real CT, which they have instead.
    Partial volume is imitated by a blur of about one millimetre, and noise is added.
    """
    labels = np.asarray(labels)
    phase = {"arterial": 0.65, "venous": 0.65, "": 0.5}
    if lively:
        phase = {"arterial": rng.uniform(0, 1), "venous": rng.uniform(0, 1), "": 0.5}
    table = np.full(256, AIR_HU, dtype=np.float32)
    texture = np.zeros(256, dtype=np.float32)
    for value, tissue in TISSUES.items():
        share = phase[tissue.phase] + (rng.normal(0, 0.12) if lively else 0.0)
        if lively and not tissue.phase:
            share = rng.uniform(0, 1)
        table[value] = tissue.low + np.clip(share, 0, 1) * (tissue.high - tissue.low)
        texture[value] = tissue.texture * (rng.uniform(0.3, 1.6) if lively else 0.7)
    for value, (mean, deviation) in (measured or {}).items():
        table[value] = mean + (rng.normal(0, _PATIENT_HU) if lively else 0.0)
        texture[value] = min(deviation, _MOST_TEXTURE)
    ct = table[labels]
    if lively:
        _fill_contents(ct, labels, rng)
        _fill_fat(ct, labels, rng)
    grain = smooth_noise(labels.shape, rng, rng.uniform(0.8, 2.2) if lively else 1.2)
    ct += grain * texture[labels]
    ct = ndimage.gaussian_filter(ct, (rng.uniform(0.4, 1.0) if lively else 0.6) * min(1.5, 2.5 / spacing_mm))
    ct += rng.normal(0, rng.uniform(4, 22) if lively else 8, labels.shape).astype(np.float32)
    return np.clip(np.rint(ct), -1024, 3071).astype(np.int16)


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Gaussian noise of the given correlation length in voxels, scaled to standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    return noise / max(float(noise.std()), 1e-6)


def _fill_contents(ct: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Gas, stool and oral contrast in hollow organs: a random share of the structure, in smooth pools."""
    pools = smooth_noise(labels.shape, rng, rng.uniform(1.5, 4.0))
    for value, tissue in TISSUES.items():
        if tissue.mix and rng.uniform() < 0.7:
            inside = (labels == value) & (pools > rng.uniform(-0.3, 1.5))
            ct[inside] = rng.choice(tissue.mix) + rng.normal(0, 25)


def _fill_fat(ct: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Bowel, vessels and muscle that nobody labelled: islands of soft tissue in the remaining body fat."""
    islands = smooth_noise(labels.shape, rng, rng.uniform(1.5, 4.0))
    share = rng.uniform(-0.6, 1.2)
    soft = (labels == 60) & (islands > share)
    ct[soft] = rng.uniform(20, 75)
