"""The overview picture: the right side on the left, true proportions, the planes that show something."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.overview import (
    HEIGHT_PX,
    LEAST_HEIGHT_PX,
    PLANES,
    WIDTH_PX,
    best_position,
    draw_overview,
    write_overview,
)
from GenesisSegmentLib.engine.palette import line_color

AIR, BODY, BRIGHT = -1000, 0, 240
LIVER, SPLEEN, TUMOUR = 6, 1, 27
SHAPE, SPACING = (30, 20, 12), (2.0, 3.0, 5.0)  # 60 x 60 x 60 mm
RIGHT, FRONT, HEAD = slice(20, 28), slice(12, 18), slice(8, 11)  # bright, off centre in all directions

STRAIGHT = [np.eye(3)[:, axes] * signs for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3))]
OBLIQUE = [matrix @ Rotation.from_euler("xyz", (11, -9, 14), degrees=True).as_matrix() for matrix in STRAIGHT[::7]]


def anatomy(directions: np.ndarray) -> tuple[Volume, Segmentation]:
    """A body with a bright liver at the right front top, on a grid whose axes run along the columns of a matrix."""
    ras = np.full(SHAPE, BODY, np.int16)
    ras[RIGHT, FRONT, HEAD] = BRIGHT
    liver = ras == BRIGHT
    axes = [int(np.abs(directions[:, column]).argmax()) for column in range(3)]
    flips = tuple(slice(None, None, 1 if directions[axis, n] > 0 else -1) for n, axis in enumerate(axes))
    voxels, mask = ras.transpose(axes)[flips], liver.transpose(axes)[flips]
    matrix = np.eye(4)
    matrix[:3, :3] = directions * [SPACING[axis] for axis in axes]
    geometry = Geometry(voxels.shape, matrix)
    segmentation = Segmentation(pack([(LIVER, mask)], voxels.shape), geometry, (SPLEEN, LIVER))
    return Volume(voxels, geometry, Source(Path("ct.nii.gz"), "Case 1")), segmentation


def panels(volume: Volume, segmentation: Segmentation) -> dict[str, np.ndarray]:
    """Grey pixels (row, column) of the rendered panels, by the plane's name."""
    figure = draw_overview(volume, segmentation, "", "")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    rendered = {}
    for plane, axes in zip(PLANES, figure.axes, strict=True):
        box = axes.get_window_extent()
        top, bottom = pixels.shape[0] - round(box.y1), pixels.shape[0] - round(box.y0)
        rendered[plane.name] = pixels[top:bottom, round(box.x0) : round(box.x1)].mean(axis=2)
    return rendered


def bright_part(panel: np.ndarray) -> tuple[float, float, float, float]:
    """Where the largest bright part begins and ends, as fractions of the panel: left, right, top, bottom."""
    parts, _ = ndimage.label(panel > 170)  # half-way from body to liver
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    (rows,), (columns,) = largest.any(axis=1).nonzero(), largest.any(axis=0).nonzero()
    height, width = panel.shape
    return columns[0] / width, columns[-1] / width, rows[0] / height, rows[-1] / height


@pytest.mark.parametrize("directions", [STRAIGHT[0], STRAIGHT[1], STRAIGHT[14], STRAIGHT[43], OBLIQUE[0], OBLIQUE[3]])
def test_patient_is_shown_from_the_feet_the_front_and_the_left(directions):
    rendered = panels(*anatomy(directions))
    for panel in rendered.values():  # 60 mm by 60 mm
        assert panel.shape[0] == pytest.approx(panel.shape[1], abs=2)
    # The liver reaches from 4 to 20 mm from the right, 6 to 24 mm from the front, 5 to 20 mm from the top, of 60 mm.
    right, front, top = (4 / 60, 20 / 60), (6 / 60, 24 / 60), (5 / 60, 20 / 60)
    assert bright_part(rendered["Axial"]) == pytest.approx((*right, *front), abs=0.03)
    assert bright_part(rendered["Coronal"]) == pytest.approx((*right, *top), abs=0.03)
    assert bright_part(rendered["Sagittal"]) == pytest.approx((*front, *top), abs=0.03)


@pytest.mark.parametrize("directions", STRAIGHT + OBLIQUE)
def test_right_front_and_head_come_first_in_every_orientation(directions):
    volume, segmentation = anatomy(directions)
    change = volume.geometry.to_ras
    voxels = change.apply(volume.voxels)
    spacing = volume.geometry.reoriented(change).spacing
    position = best_position(change.apply(segmentation.bits), (LIVER,), spacing)
    for plane in PLANES:
        rows, columns = np.nonzero(plane.cut(voxels, position[plane.through]) == BRIGHT)
        assert columns.max() < voxels.shape[plane.across] / 2
        assert rows.max() < voxels.shape[plane.up] / 2


@pytest.mark.parametrize("directions", [STRAIGHT[0], STRAIGHT[21], OBLIQUE[4]])
def test_edges_carry_the_letters_of_radiological_display(directions):
    figure = draw_overview(*anatomy(directions), "", "")
    letters = [{text.xy: text.get_text() for text in axes.texts} for axes in figure.axes]
    left, right, top, bottom = (0, 0.5), (1, 0.5), (0.5, 1), (0.5, 0)
    assert [[panel[edge] for edge in (left, right, top, bottom)] for panel in letters] == [
        ["R", "L", "A", "P"],
        ["R", "L", "S", "I"],
        ["A", "P", "S", "I"],
    ]


def test_picture_has_the_stated_size(tmp_path):
    volume, segmentation = anatomy(STRAIGHT[0])
    write_overview(tmp_path / "overview.png", volume, segmentation, "Title", "Note")
    height, width, _ = imread(tmp_path / "overview.png").shape
    assert (width, height) == (WIDTH_PX, HEIGHT_PX)
    assert [file.name for file in tmp_path.iterdir()] == ["overview.png"]


@pytest.mark.parametrize("shape", [(30, 20, 1), (30, 1, 12), (2, 2, 200), (200, 2, 2)])
def test_flat_and_long_volumes_fit(tmp_path, shape):
    geometry = Geometry(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    volume = Volume(np.zeros(shape, np.int16), geometry, Source(Path("x"), "flat"))
    everything = Segmentation(np.full(shape, 2**32 - 1, np.uint32), geometry, tuple(range(1, 33)))
    write_overview(tmp_path / "overview.png", volume, everything)
    height, width, _ = imread(tmp_path / "overview.png").shape
    assert width > WIDTH_PX  # with the lungs in their own window beside it
    assert LEAST_HEIGHT_PX <= height <= HEIGHT_PX


def test_legend_names_every_class_with_its_volume():
    figure = draw_overview(*anatomy(STRAIGHT[0]), "Case 1", "starter model, not for clinical use")
    texts = [text.get_text() for text in figure.texts]
    assert texts[texts.index("Liver") + 1] == "4.3 ml"  # 8 x 6 x 3 voxels of 30 mm3
    assert texts[texts.index("Spleen") + 1] == "not found"
    assert "Case 1" in texts
    assert any("starter model, not for clinical use" in text for text in texts)


def test_outline_has_the_colour_of_the_class():
    volume, segmentation = anatomy(STRAIGHT[0])
    figure = draw_overview(volume, segmentation, "", "")
    for axes in figure.axes:
        (outline,) = axes.collections
        assert outline.get_edgecolor()[0, :3] == pytest.approx(line_color(LIVER))


def test_outline_closes_where_the_field_of_view_cuts_the_organ():
    geometry = Geometry((10, 10, 10), np.eye(4))
    whole = Segmentation(np.full((10, 10, 10), 1 << 5, np.uint32), geometry, (6,))
    figure = draw_overview(Volume(np.zeros((10, 10, 10), np.int16), geometry, Source(Path("x"), "x")), whole, "", "")
    for axes in figure.axes:
        (path,) = axes.collections[0].get_paths()
        assert np.array_equal(path.vertices[0], path.vertices[-1])


def test_small_lesion_is_in_all_three_planes():
    bits = np.zeros((40, 40, 40), np.uint32)
    bits[:20, 20:, :10] = 1 << (LIVER - 1)
    bits[30:33, 10:13, 14:17] |= 1 << (TUMOUR - 1)
    position = best_position(bits, (LIVER, TUMOUR), (1.0, 1.0, 1.0))
    assert 30 <= position[0] < 33
    assert 10 <= position[1] < 13
    assert 14 <= position[2] < 17


def test_middle_is_shown_where_nothing_was_found():
    assert best_position(np.zeros((10, 20, 30), np.uint32), (), (1.0, 1.0, 1.0)) == (5, 10, 15)


def test_segmentation_of_another_grid_is_refused(tmp_path):
    volume, _ = anatomy(STRAIGHT[0])
    _, other = anatomy(STRAIGHT[1])
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        write_overview(tmp_path / "overview.png", volume, other)
