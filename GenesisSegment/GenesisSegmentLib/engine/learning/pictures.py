"""Pictures of a round: the slice of a class that changed most, before and after, and the loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.classes import class_table
from ...core.corrections import BoxedMask
from ...core.files import atomic_file
from ...core.geometry import Box
from ...core.volume import Volume
from ..overview import LUNG, LUNG_TUMOR, LUNGS, PLANES, SOFT_TISSUE, Sheet, draw_ct, draw_letters, draw_outline

BEFORE_COLOR, AFTER_COLOR, REFERENCE_COLOR = "#ffa53a", "#3dff8b", "#ffffff"
_PANEL_PX, _MARGIN_PX, _HEADER_PX, _FOOTER_PX = 460, 14, 44, 34
_LEAST_MM, _AROUND_MM = 90.0, 25.0
_SMOOTHED_STEPS = 25


@dataclass(frozen=True)
class Names:
    """What the legend says of the three outlines."""

    before: str = "before"
    after: str = "after"
    truth: str = "accepted by a person"


def draw_change(
    path: Path,
    volume: Volume,
    before: BoxedMask,
    after: BoxedMask,
    truth: BoxedMask,
    label: str,
    title: str,
    names: Names = Names(),
) -> bool:
    """Writes a PNG of the axial slice in which most voxels of ``label`` changed: before at the left, after beside it.

    ``truth`` is drawn in white on both. Radiological display: the patient's right is at the picture's left. False
    where nothing changed: then there is no picture.

    Raises:
        OutputError: it could not be written.
    """
    boxes = [mask.box for mask in (before, after, truth) if mask.box is not None]
    if not boxes:
        return False
    change, plane = volume.geometry.to_ras, PLANES[0]
    box = Box.joined(boxes)
    inside = [change.apply(mask.within(box)) for mask in (before, after, truth)]
    areas = np.count_nonzero(inside[0] != inside[1], axis=(0, 1))
    if not areas.any():
        return False
    spacing = volume.geometry.reoriented(change).spacing
    position, masks = _slice_of(volume, (before, after, truth), box, int(np.argmax(areas)))
    image = plane.cut(change.apply(volume.voxels), position)
    rows, columns = _region(masks, (spacing[1], spacing[0]))
    image, masks = image[rows, columns], [mask[rows, columns] for mask in masks]
    size_mm = image.shape[1] * spacing[0], image.shape[0] * spacing[1]
    scale = _PANEL_PX / max(size_mm)
    width, height = size_mm[0] * scale, size_mm[1] * scale
    sheet = Sheet.of_size(round(3 * _MARGIN_PX + 2 * width), round(_HEADER_PX + height + _FOOTER_PX))
    window = LUNG if _is_of_lung(label) else SOFT_TISSUE
    for n, (mask, color, name) in enumerate(
        [(masks[0], BEFORE_COLOR, names.before), (masks[1], AFTER_COLOR, names.after)]
    ):
        left = _MARGIN_PX + n * (width + _MARGIN_PX)
        axes = sheet.axes(left, _HEADER_PX, width, height)
        draw_ct(axes, image, size_mm, window)
        draw_outline(axes, masks[2], size_mm, REFERENCE_COLOR, 1.4, has_seam=True, style="dashed")
        draw_outline(axes, mask, size_mm, color, 2.0, has_seam=True)
        draw_letters(axes, plane, window, width, height)
        sheet.write(left, _HEADER_PX + height + 10, f"\u25a0 {name}", size=10, color=color)
        if name != names.truth:
            sheet.write(left + 80, _HEADER_PX + height + 10, f"\u25a0 {names.truth}", size=10, color="white")
    sheet.write(_MARGIN_PX, 14, title, size=11, color="white", weight="bold")
    with atomic_file(path) as temporary:
        sheet.figure.savefig(temporary, format="png", facecolor=sheet.figure.get_facecolor())
    return True


def draw_losses(path: Path, losses: Sequence[float]) -> None:
    """Writes a PNG of the loss of each step, and its running mean.

    Raises:
        OutputError: it could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    marker = "o" if len(losses) < 3 else None
    axes.plot(steps, losses, color="#9cc3dd", linewidth=0.8, marker=marker, markersize=4, label="each step")
    if len(losses) > 2 * _SMOOTHED_STEPS:
        kernel = np.ones(_SMOOTHED_STEPS) / _SMOOTHED_STEPS
        mean = np.convolve(losses, kernel, mode="valid")
        axes.plot(steps[_SMOOTHED_STEPS - 1 :], mean, color="#2f6f9f", label=f"mean of {_SMOOTHED_STEPS}")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _slice_of(volume: Volume, masks: Sequence[BoxedMask], box: Box, number: int) -> tuple[int, list[np.ndarray]]:
    """The position through the patient of slice ``number`` of a box, feet first, and the masks in it (row, column)."""
    change, plane = volume.geometry.to_ras, PLANES[0]
    axis, is_flipped = change.axes[plane.through], change.flips[plane.through]
    first, stop, side = box.start[axis], box.stop[axis], volume.geometry.shape[axis]
    own = stop - 1 - number if is_flipped else first + number
    start, end = [0, 0, 0], list(volume.geometry.shape)
    start[axis], end[axis] = own, own + 1
    flat = Box((start[0], start[1], start[2]), (end[0], end[1], end[2]))
    cuts = [plane.cut(change.apply(_within(mask, flat)), 0) for mask in masks]
    return (side - 1 - own if is_flipped else own), cuts


def _within(mask: BoxedMask, box: Box) -> np.ndarray:
    """The part of a mask in a box that need not hold all of it."""
    out = np.zeros(box.shape, dtype=bool)
    if mask.box is None:
        return out
    low = [max(a, b) for a, b in zip(mask.box.start, box.start, strict=True)]
    high = [min(a, b) for a, b in zip(mask.box.stop, box.stop, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        to, source = (
            tuple(slice(a - o, b - o) for a, b, o in zip(low, high, at.start, strict=True)) for at in (box, mask.box)
        )
        out[to] = mask.inside[source]
    return out


def _region(masks: Sequence[np.ndarray], spacing: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns around what is drawn, with some of the neighbourhood."""
    union = np.logical_or.reduce(masks)
    slices = []
    for axis, step in enumerate(spacing):
        (hit,) = np.nonzero(union.any(axis=1 - axis))
        middle, size = (hit[0] + hit[-1]) / 2 * step, (hit[-1] - hit[0] + 1) * step
        half = max(_LEAST_MM, size + 2 * _AROUND_MM) / 2
        low, high = int((middle - half) / step), int(np.ceil((middle + half) / step))
        slices.append(slice(max(0, low), min(union.shape[axis], high + 1)))
    return slices[0], slices[1]


def _is_of_lung(label: str) -> bool:
    return label in {class_table()[c].slug for c in (*LUNGS, LUNG_TUMOR)}
