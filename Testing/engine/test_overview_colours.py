"""What can be seen on the overview picture: classes told apart by their colours, and lungs in a window of their own."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.overview import draw_overview
from GenesisSegmentLib.engine.palette import OUTLINES, line_color

LIVER, RIGHT_LUNG, LUNG_TUMOUR = 6, 16, 30
PAIRS = [(2, 3), (12, 13), (16, 17), (23, 24)]
LEAST_DIFFERENCE = 12


def lab(rgb) -> np.ndarray:
    """CIELAB (D65) of sRGB in 0..1."""
    c = np.asarray(rgb, float)
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750]])
    x, y, z = np.vstack([to_xyz, [0.0193339, 0.1191920, 0.9503041]]) @ c / (0.95047, 1, 1.08883)
    f, g, h = (np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return np.array([116 * g - 16, 500 * (f - g), 200 * (g - h)])


def difference(one, other) -> float:
    """CIEDE2000 (Sharma, Wu and Dalal, 2005) of two CIELAB colours."""
    chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    (a1, b1), (a2, b2) = (one[1] * stretch, one[2]), (other[1] * stretch, other[2])
    c1, c2, c = np.hypot(a1, b1), np.hypot(a2, b2), (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = (h1 + h2) / 2 if abs(h1 - h2) <= 180 else (h1 + h2 + 360) / 2
    hue = hue if c1 * c2 else h1 + h2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    t = 1 + sum(k * np.cos(np.radians(n * hue + shift)) for k, n, shift in waves)
    light = (one[0] + other[0]) / 2 - 50
    lightness = (other[0] - one[0]) / (1 + 0.015 * light**2 / np.sqrt(20 + light**2))
    saturation = (c2 - c1) / (1 + 0.045 * c)
    hues = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * c * t)
    bend = np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * -2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    return float(np.sqrt(lightness**2 + saturation**2 + hues**2 + bend * saturation * hues))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_the_colour_difference_is_that_of_its_published_examples(one, other, expected):
    assert difference(one, other) == pytest.approx(expected, abs=1e-4)


def test_any_two_classes_can_be_told_apart():
    colors = {c: lab(line_color(c)) for c in class_table()}
    closest = min(combinations(colors, 2), key=lambda pair: difference(colors[pair[0]], colors[pair[1]]))
    assert difference(*(colors[c] for c in closest)) >= LEAST_DIFFERENCE, closest


def test_every_class_can_be_told_from_every_grey():
    greys = [lab((g, g, g)) for g in np.linspace(0, 1, 18)]
    for c in class_table():
        assert min(difference(lab(line_color(c)), grey) for grey in greys) >= LEAST_DIFFERENCE, c


@pytest.mark.parametrize(("right", "left"), PAIRS)
def test_partners_of_a_pair_are_nearer_to_each_other_than_colours_are_on_average(right, left):
    colors = {c: lab(line_color(c)) for c in OUTLINES}
    average = np.mean([difference(colors[a], colors[b]) for a, b in combinations(colors, 2)])
    assert difference(colors[right], colors[left]) < 0.75 * average


def test_the_palette_has_the_classes_of_the_table():
    assert list(OUTLINES) == list(class_table())


def chest(lung_planes: int, has_tumour: bool) -> tuple[Volume, Segmentation]:
    """20 planes of liver below, some planes of lung above it, with or without a tumour there."""
    shape = (30, 20, 20 + lung_planes)
    liver, lung, tumour = (np.zeros(shape, bool) for _ in range(3))
    liver[..., :20] = lung[..., 20:] = True
    tumour[14:16, 9:11, 20:22] = has_tumour
    masks = {LIVER: liver, RIGHT_LUNG: lung, LUNG_TUMOUR: tumour}
    classes = (LIVER, RIGHT_LUNG, LUNG_TUMOUR)
    geometry = Geometry(shape, np.diag([8.0, 8.0, 8.0, 1.0]))
    segmentation = Segmentation(pack(masks.items(), shape), geometry, classes)
    return Volume(np.where(lung, -600, 60).astype(np.int16), geometry, Source(Path("x"), "x")), segmentation


@pytest.mark.parametrize(("planes", "has_tumour", "panels"), [(3, False, 3), (20, False, 5), (3, True, 5)])
def test_lungs_that_are_much_of_what_was_found_have_a_window_of_their_own(planes, has_tumour, panels):
    figure = draw_overview(*chest(planes, has_tumour), "", "")
    names = [axes.texts[0].get_text() for axes in figure.axes]
    assert names == ["Axial", "Coronal", "Sagittal", "Axial, lung window", "Coronal, lung window"][:panels]
    limits = [axes.images[0].get_clim() for axes in figure.axes]
    assert limits == [(-160, 240)] * 3 + [(-1350, 150)] * (panels - 3)
    foot = next(text.get_text() for text in figure.texts if "W 400" in text.get_text())
    assert ("lung window: W 1500  L -600" in foot) == (panels == 5)


def test_lung_that_is_black_in_the_soft_tissue_window_is_grey_in_its_own():
    figure = draw_overview(*chest(20, False), "", "")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].mean(axis=2)
    shown = []
    for axes in (figure.axes[1], figure.axes[4]):  # coronal planes: the lung is their upper half
        box = axes.get_window_extent()
        quarter = (box.y1 - box.y0) / 4
        shown.append(pixels[round(pixels.shape[0] - box.y1 + quarter), round(box.x0 + (box.x1 - box.x0) / 3)])
    assert shown == pytest.approx([0, 128], abs=4)


def test_panels_do_not_overlap_and_lie_within_the_picture():
    figure = draw_overview(*chest(20, True), "", "")
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [axes.get_window_extent() for axes in figure.axes]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for one, other in combinations(boxes, 2):
        assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
