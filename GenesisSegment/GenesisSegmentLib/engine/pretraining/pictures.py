"""Pictures to judge by eye: what a crop was, what the network saw, what it made of it; and every distortion alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.files import atomic_file
from .distortions import DistortionRecipe, distort
from .levels import values

Row = tuple[str, Sequence[np.ndarray]]
"""A caption and pictures of crops (X, Y, Z) in 0..1."""

_NEVER = DistortionRecipe(flip=0, shuffle=0, curve=0, paint=0)
EACH: dict[str, DistortionRecipe] = {
    "original": _NEVER,
    "local shuffling": replace(_NEVER, shuffle=1),
    "non-linear": replace(_NEVER, curve=1, inverted=0),
    "inverted": replace(_NEVER, curve=1, inverted=1),
    "in-painting": replace(_NEVER, paint=1, inpaint=1),
    "out-painting": replace(_NEVER, paint=1, inpaint=0),
    "all": DistortionRecipe(),
}
"""Each distortion alone."""


def picture_restorations(path: Path, crops: Iterable[Sequence[np.ndarray]], title: str = "") -> None:
    """Writes a PNG with a row per crop: original, distorted, restored.

    Raises:
        OutputError: it could not be written.
    """
    rows: list[Row] = [(f"crop {number + 1}", crop) for number, crop in enumerate(crops)]
    _write(path, ("original", "distorted", "restored"), rows, title)


def picture_distortions(path: Path, crops: Iterable[np.ndarray], seed: int = 0) -> None:
    """Writes a PNG with a row per crop (levels) and a column per distortion.

    Raises:
        OutputError: it could not be written.
    """
    rows = []
    for number, levels in enumerate(crops):
        seen = [values(levels)]
        seen += [
            distort(levels, recipe, np.random.default_rng([seed, number]))[0] for recipe in list(EACH.values())[1:]
        ]
        rows.append((f"crop {number + 1}", seen))
    _write(path, tuple(EACH), rows, "Distortions of Models Genesis")


def _write(path: Path, columns: Sequence[str], rows: Sequence[Row], title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.9 * len(columns), 1.9 * max(1, len(rows)) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(max(1, len(rows)), len(columns), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (caption, crops) in enumerate(rows):
        for axes, name, crop in zip(grid[place], columns, crops, strict=True):
            axes.imshow(_slice(np.asarray(crop)), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if place == 0:
                axes.set_title(name, fontsize=9)
        grid[place][0].text(
            -0.04, 0.5, caption, rotation=90, va="center", ha="right", fontsize=8, transform=grid[place][0].transAxes
        )
    figure.suptitle(title, fontsize=10)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _slice(crop: np.ndarray) -> np.ndarray:
    """The middle axial slice as seen from the feet, the front at the top."""
    return crop[::-1, ::-1, crop.shape[2] // 2].T
