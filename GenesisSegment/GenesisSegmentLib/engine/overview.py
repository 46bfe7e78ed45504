"""The overview picture: three planes with contours and a legend, laid out as a radiologist expects them.

Where the lungs are much of what was found, two more planes show them in a lung window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.classes import class_table
from ..core.errors import GeometryError
from ..core.files import atomic_file
from ..core.i18n import _
from ..core.segmentation import Segmentation, bit_of, class_boxes
from ..core.volume import Volume
from .palette import line_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX, HEIGHT_PX = 1400, 1200
"""Size of the picture; a flat volume makes it less high, but not less than ``LEAST_HEIGHT_PX``; lungs make it wider."""
LEAST_HEIGHT_PX = 400
LUNGS, LUNG_TUMOR = (16, 17), 30
LUNG_SHARE = 0.2
"""Share of what was found from which on the lungs are shown in their own window; a lung tumour always is."""
_DPI = 100
_MARGIN_PX, _HEADER_PX, _FOOTER_PX, _GAP_PX = 16, 44, 36, 12
_LEGEND_LINE_PX, _LEGEND_COLUMN_PX = 21, 320
_LINE_PX, _LESION_LINE_PX, _SEAM_PX = 1.3, 2.0, 1.6
_SMALLEST_LETTERED_PX = 60
_LESION_WEIGHT = 3.0
_SEARCH_MM = 2.0
"""Step at which the planes to show are searched for."""


@dataclass(frozen=True)
class Window:
    """Which Hounsfield units are shown from black to white."""

    width: float
    level: float
    remark: str

    @property
    def limits(self) -> tuple[float, float]:
        """The values shown as black and as white."""
        return self.level - self.width / 2, self.level + self.width / 2


SOFT_TISSUE, LUNG = Window(400, 40, ""), Window(1500, -600, "lung window")


@dataclass(frozen=True)
class Plane:
    """A plane of the RAS grid: the world axes across and up the picture and through the plane.

    Both run against the reading direction: right or front is at the picture's left, front or head at its top.
    """

    name: str
    across: int
    up: int
    through: int

    def cut(self, array: np.ndarray, position: int) -> np.ndarray:
        """The picture (row, column), seen from the feet, the front or the patient's left, of an (R, A, S) array."""
        return np.moveaxis(array, self.through, 0)[position, ::-1, ::-1].T

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """Letters for the left, right, top and bottom edge."""
        return "RAS"[self.across], "LPI"[self.across], "RAS"[self.up], "LPI"[self.up]


PLANES = (Plane("Axial", 0, 1, 2), Plane("Coronal", 0, 2, 1), Plane("Sagittal", 1, 2, 0))


def write_overview(path: Path, volume: Volume, segmentation: Segmentation, title: str = "", note: str = "") -> None:
    """Writes a PNG with an axial, a coronal and a sagittal plane, the outlines of all classes and their volumes.

    Radiological display: the patient's right is at the picture's left, front and head are up. All planes have one
    scale and are aligned, the coronal plane under the axial one and the sagittal plane beside it. Oblique grids are
    shown on their own axes, lettered by the nearest anatomical direction. Each plane is the one that shows most of
    what was found. ``note`` goes to the foot of the picture.

    Raises:
        OutputError: disk full, read-only or no permission.
        GeometryError: the segmentation does not lie on the volume's grid.
    """
    if not segmentation.geometry.matches(volume.geometry):
        raise GeometryError(
            _("The segmentation does not lie on the grid of the image."), _("Segment this image again.")
        )
    figure = draw_overview(volume, segmentation, title or volume.source.name, note)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=figure.get_facecolor())


def draw_overview(volume: Volume, segmentation: Segmentation, title: str, note: str) -> Figure:
    """The picture as a matplotlib figure of its own, apart from pyplot and its global state."""
    change = volume.geometry.to_ras
    spacing = volume.geometry.reoriented(change).spacing
    voxels, bits = change.apply(volume.voxels), change.apply(segmentation.bits)
    present = segmentation.present()
    width_mm, depth_mm, height_mm = (n * s for n, s in zip(bits.shape, spacing, strict=True))
    scale = min(
        (WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX) / (width_mm + depth_mm),
        (HEIGHT_PX - _HEADER_PX - _FOOTER_PX - _GAP_PX) / (depth_mm + height_mm),
    )
    right, lower = _MARGIN_PX + width_mm * scale + _GAP_PX, _HEADER_PX + depth_mm * scale + _GAP_PX
    height = max(LEAST_HEIGHT_PX, round(lower + height_mm * scale + _FOOTER_PX))
    corners = ((_MARGIN_PX, _HEADER_PX), (_MARGIN_PX, lower), (right, lower))
    position = best_position(bits, present, spacing)
    panels = [(plane, position, SOFT_TISSUE, *corner) for plane, corner in zip(PLANES, corners, strict=True)]
    width, windows = WIDTH_PX, [SOFT_TISSUE]
    if lungs := _lungs_to_show(bits, present, spacing):
        position = best_position(bits, lungs, spacing)
        panels += [(plane, position, LUNG, WIDTH_PX, top) for plane, (_, top) in zip(PLANES, corners[:2], strict=False)]
        width, windows = round(WIDTH_PX + width_mm * scale + _MARGIN_PX), [SOFT_TISSUE, LUNG]

    sheet = Sheet.of_size(width, height)
    for plane, at, window, left, top in panels:
        image, masks = (plane.cut(array, at[plane.through]) for array in (voxels, bits))
        size_mm = image.shape[1] * spacing[plane.across], image.shape[0] * spacing[plane.up]
        axes = sheet.axes(left, top, size_mm[0] * scale, size_mm[1] * scale)
        _draw_slice(axes, image, masks, present, size_mm, window)
        draw_letters(axes, plane, window, size_mm[0] * scale, size_mm[1] * scale)
    _draw_legend(sheet, segmentation, right + _GAP_PX, depth_mm * scale)
    _draw_scale_bar(sheet, scale, width_mm)
    stated = (f"{w.remark or 'soft tissue'}: W {w.width:g}  L {w.level:g}" for w in windows)
    sheet.write(_MARGIN_PX, sheet.height - 22, "     ".join(filter(None, (*stated, note))), size=9, color="0.65")
    sheet.write(_MARGIN_PX, 14, title, size=12, color="white", weight="bold")
    return sheet.figure


def _lungs_to_show(bits: np.ndarray, present: tuple[int, ...], spacing: tuple[float, float, float]) -> tuple[int, ...]:
    """The lungs and their tumours where they are much of what was found; else nothing."""
    lungs = tuple(c for c in (*LUNGS, LUNG_TUMOR) if c in present)
    if LUNG_TUMOR in lungs or not lungs:
        return lungs
    coarse, _ = _thinned(bits, spacing)
    in_lungs = int(np.count_nonzero(coarse & bit_of(*lungs)))
    share = in_lungs / max(1, int(np.count_nonzero(coarse)))
    return lungs if share >= LUNG_SHARE else ()


def _thinned(bits: np.ndarray, spacing: tuple[float, float, float]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Every n-th voxel, about :data:`_SEARCH_MM` apart, and n along each axis."""
    steps = tuple(max(1, int(_SEARCH_MM / s)) for s in spacing)
    return bits[tuple(slice(None, None, step) for step in steps)], steps


def _has(bits: np.ndarray, index: int) -> np.ndarray:
    return (bits & bit_of(index)) != 0


def _is_lesion(index: int) -> bool:
    """Structures of one's own count as organs: what they are is not known."""
    return index in class_table() and class_table()[index].is_lesion


def best_position(
    bits: np.ndarray, present: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Index along each axis of the slice that shows most of the classes, each near its widest; lesions count more.

    Without any class it is the middle.
    """
    coarse, steps = _thinned(bits, spacing)
    scores = [np.zeros(n) for n in coarse.shape]
    for c in present:
        mask = _has(coarse, c)
        weight = _LESION_WEIGHT if _is_lesion(c) else 1.0
        for axis, score in enumerate(scores):
            area = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
            score += weight * area / max(1, area.max())
    i, j, k = (
        int(np.argmax(score)) * step if score.any() else n // 2
        for score, step, n in zip(scores, steps, bits.shape, strict=True)
    )
    return i, j, k


@dataclass(frozen=True)
class Sheet:
    """A black figure measured in pixels from its upper left corner."""

    figure: Figure
    width: int
    height: int

    @classmethod
    def of_size(cls, width: int, height: int) -> Sheet:
        """A new one."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="black")
        FigureCanvasAgg(figure)
        return cls(figure, width, height)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """A panel without a frame."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.set_axis_off()
        return axes

    def write(self, left: float, top: float, text: str, *, size: float, **style: Any) -> None:
        """Text below ``top``."""
        # A name of a file is plain text, even with dollar signs or with bytes that are none.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        self.figure.text(
            left / self.width, 1 - top / self.height, text, fontsize=size, va="top", parse_math=False, **style
        )


def _draw_slice(
    axes: Axes,
    image: np.ndarray,
    bits: np.ndarray,
    present: tuple[int, ...],
    size_mm: tuple[float, float],
    window: Window,
) -> None:
    """A slice (row, column) in grey with the outlines of its classes."""
    draw_ct(axes, image, size_mm, window)
    for c in present:
        thickness = _LESION_LINE_PX if _is_lesion(c) else _LINE_PX
        draw_outline(axes, _has(bits, c), size_mm, line_color(c), thickness, has_seam=window is LUNG)


def draw_ct(axes: Axes, image: np.ndarray, size_mm: tuple[float, float], window: Window) -> None:
    """A slice (row, column) of a CT in grey, in millimetres."""
    (width, height), (low, high) = size_mm, window.limits
    extent = (0, width, height, 0)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear", aspect="auto")
    axes.set(xlim=(0, width), ylim=(height, 0))


def draw_outline(
    axes: Axes,
    mask: np.ndarray,
    size_mm: tuple[float, float],
    color: str | tuple[float, float, float],
    thickness_px: float = _LINE_PX,
    has_seam: bool = False,
    style: str = "solid",
) -> None:
    """The outline of a mask (row, column) on a slice; a dark seam keeps it visible where all around it is white."""
    from matplotlib.patheffects import withStroke

    if not mask.any():
        return
    (rows, columns), (width, height) = mask.shape, size_mm
    # One empty pixel around, so that a contour closes where an organ is cut by the field of view.
    x, y = (np.arange(-1, columns + 1) + 0.5) * width / columns, (np.arange(-1, rows + 1) + 0.5) * height / rows
    thickness = thickness_px * 72 / _DPI
    padded = np.pad(mask.astype(float), 1)
    lines = axes.contour(x, y, padded, levels=[0.5], colors=[color], linewidths=thickness, linestyles=style)
    if has_seam:
        seam = withStroke(linewidth=thickness + _SEAM_PX * 72 / _DPI, foreground="black", alpha=0.5)
        lines.set(path_effects=[seam], linewidths=thickness + 0.4)
    axes.set(xlim=(0, width), ylim=(height, 0))


def draw_letters(axes: Axes, plane: Plane, window: Window, width_px: float, height_px: float) -> None:
    """Letters of the directions at the edges, left out where a thin panel has no room for them."""
    left, right, top, bottom = plane.letters
    if height_px >= _SMALLEST_LETTERED_PX:
        _mark(axes, 0, 1, ", ".join(filter(None, (plane.name, window.remark))), color="0.8", size=9)
        _mark(axes, 0.5, 1, top)
        _mark(axes, 0.5, 0, bottom)
    if width_px >= _SMALLEST_LETTERED_PX:
        _mark(axes, 0, 0.5, left)
        _mark(axes, 1, 0.5, right)


def _mark(axes: Axes, x: float, y: float, text: str, color: str = "white", size: float = 12) -> None:
    """Text just inside the edge or corner of a panel that x and y (0, 0.5 or 1) name, legible on any grey."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        (x, y),
        (6 - 12 * x, 6 - 12 * y),
        "axes fraction",
        "offset points",
        ha={0: "left", 0.5: "center", 1: "right"}[x],
        va={0: "bottom", 0.5: "center", 1: "top"}[y],
        color=color,
        fontsize=size,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def _draw_legend(sheet: Sheet, segmentation: Segmentation, left: float, height: float) -> None:
    """Colour, name and volume of every computed class, from the top downwards, then in further columns."""
    present = segmentation.present()
    absent = tuple(c for c in segmentation.classes if c not in present)
    boxes = class_boxes(segmentation.bits)
    column = _LEGEND_COLUMN_PX + 2 * _GAP_PX
    columns = max(1, int((WIDTH_PX - left) // column))
    lines = max(int(height // _LEGEND_LINE_PX), -(-len(segmentation.classes) // columns))
    for n, c in enumerate(present + absent):
        structure, found = segmentation.structures[c], c in present
        x, y = left + n // lines * column, _HEADER_PX + n % lines * _LEGEND_LINE_PX
        color, value = "0.5", "not found"
        if found:
            sheet.write(x, y - 2, "\u25a0", size=13, color=line_color(c))
            mask = _has(segmentation.bits[boxes[c].slices], c)
            volume_ml = np.count_nonzero(mask) * segmentation.geometry.voxel_ml
            color, value = "0.92", f"{volume_ml:.0f} ml" if volume_ml >= 10 else f"{volume_ml:.1f} ml"
        sheet.write(x + 20, y, structure.name, size=10.5, color=color)
        sheet.write(x + _LEGEND_COLUMN_PX, y, value, size=10.5, color=color, ha="right")


def _draw_scale_bar(sheet: Sheet, scale: float, width_mm: float) -> None:
    """A bar at the foot that holds for all planes, in the largest round length that is short beside the patient."""
    from matplotlib.patches import Rectangle

    length_mm = max((mm for mm in (10, 50, 100) if mm <= width_mm / 3), default=1)
    left = sheet.width - _MARGIN_PX - length_mm * scale
    corner, size = (left / sheet.width, 16 / sheet.height), (length_mm * scale / sheet.width, 3 / sheet.height)
    sheet.figure.add_artist(Rectangle(corner, *size, transform=sheet.figure.transFigure, color="0.65"))
    sheet.write(left - _GAP_PX, sheet.height - 22, f"{length_mm / 10:g} cm", size=9, color="0.65", ha="right")
