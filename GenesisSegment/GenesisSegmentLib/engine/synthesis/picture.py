"""The picture of a case: before, after, and after with outlines, in three planes; one has to look twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Box
from ...core.segmentation import BITS
from ..overview import PLANES, Sheet, Window, best_position, draw_ct, draw_letters, draw_outline
from ..palette import line_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .case import SyntheticCase

WINDOW = Window(350, 60, "")
COLUMNS = ("before", "after", "outlined")
_PANEL_PX, _GAP_PX, _MARGIN_PX, _HEADER_PX, _FOOTER_PX = 440, 8, 16, 62, 36
_AROUND_MM = 25.0


def write_picture(path: Path, case: SyntheticCase) -> None:
    """Writes a PNG around the organ.

    Raises:
        OutputError: disk full, read-only or no permission.
    """
    figure = draw_case(case)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=figure.get_facecolor())


def draw_case(case: SyntheticCase) -> Figure:
    """The picture as a figure of its own: planes through most of the lesions, in radiological display."""
    change = case.volume.geometry.to_ras
    spacing = case.volume.geometry.reoriented(change).spacing
    mask = change.apply(case.organ.mask | case.lesion)
    box = Box.around(mask) or Box.whole(mask.shape)
    start = (max(0, a - round(_AROUND_MM / s)) for a, s in zip(box.start, spacing, strict=True))
    stop = (min(n, b + round(_AROUND_MM / s)) for b, n, s in zip(box.stop, mask.shape, spacing, strict=True))
    part = Box(tuple(start), tuple(stop)).slices  # type: ignore[arg-type]
    before, after, organ, lesion = (
        change.apply(array)[part] for array in (case.original.voxels, case.volume.voxels, case.organ.mask, case.lesion)
    )
    at = best_position(lesion.astype(BITS), (1,), spacing)
    sizes = [
        tuple(organ.shape[axis] * spacing[axis] for axis in (plane.across, plane.up)) for plane in PLANES
    ]  # mm across and up
    scale = min(_PANEL_PX / max(width for width, _height in sizes), 2 * _PANEL_PX / max(h for _w, h in sizes))
    heights = [height * scale for _width, height in sizes]
    width = 2 * _MARGIN_PX + len(COLUMNS) * _PANEL_PX + (len(COLUMNS) - 1) * _GAP_PX
    sheet = Sheet.of_size(width, round(_HEADER_PX + sum(heights) + len(PLANES) * _GAP_PX + _FOOTER_PX))
    top = float(_HEADER_PX)
    for plane, size_mm, height in zip(PLANES, sizes, heights, strict=True):
        across = size_mm[0] * scale
        for column, name in enumerate(COLUMNS):
            left = _MARGIN_PX + column * (_PANEL_PX + _GAP_PX) + (_PANEL_PX - across) / 2
            axes = sheet.axes(left, top, across, height)
            draw_ct(axes, plane.cut(before if column == 0 else after, at[plane.through]), size_mm, WINDOW)  # type: ignore[arg-type]
            if name == "outlined":
                for array, color in ((organ, line_color(6)), (lesion, line_color(26))):
                    draw_outline(axes, plane.cut(np.asarray(array), at[plane.through]), size_mm, color)  # type: ignore[arg-type]
            draw_letters(axes, plane, WINDOW, across, height)
        top += height + _GAP_PX
    for column, name in enumerate(COLUMNS):
        sheet.write(_MARGIN_PX + column * (_PANEL_PX + _GAP_PX), 40, name, size=10.5, color="0.8")
    sheet.write(_MARGIN_PX, 14, _title(case), size=12, color="white", weight="bold")
    note = f"Synthetic lesions: not a patient's.     W {WINDOW.width:g}  L {WINDOW.level:g}"
    sheet.write(_MARGIN_PX, sheet.height - 24, note, size=9, color="0.65")
    return sheet.figure


def _title(case: SyntheticCase) -> str:
    plan = case.planted.plan
    count, kind = len(plan.lesions), "lesion" if len(plan.lesions) == 1 else "lesions"
    size = "of all sizes" if plan.size == "mix" else plan.size
    name = case.original.source.name
    return f"{name}: {count} {kind}, {size}, in the {plan.organ}, {case.lesion_ml:.1f} ml, seed {case.seed}"
