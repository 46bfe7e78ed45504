"""Segments back as voxels on the grid of the CT."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from vtk.util.numpy_support import vtk_to_numpy

from builders import an_oblique_geometry
from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.core.segmentation import pack
from GenesisSegmentLib.core.workflow.ports import ExportRequest
from GenesisSegmentLib.mrml.arrays import label_image
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.reading import (
    Single,
    boxing,
    painting,
    read_mask,
    read_segmentation,
)
from GenesisSegmentLib.mrml.stored import Stored, stored_images
from GenesisSegmentLib.mrml.volumes import placement
from GenesisSegmentLib.mrml.writing import binary
from mrml_builders import (
    LIVER,
    LIVER_TUMOR,
    RIGHT_KIDNEY,
    SHAPE,
    SPLEEN,
    add_bending,
    add_transform,
    add_volume,
    box_mask,
    masks_of_a_patient,
    segment,
    vtk_matrix,
)


def add_segment(node, segment_id, image, value=1):
    segment_ = slicer.vtkSegment()
    segment_.SetLabelValue(value)
    segment_.AddRepresentation(binary(), image)
    node.GetSegmentation().AddSegment(segment_, segment_id)


def test_all_classes_come_back_with_their_overlaps(app, scene):
    volume = add_volume(app, start=(5, 3, -2), transform=add_transform(app))
    grid = placement(volume).geometry
    read = read_segmentation(segment(scene, volume), grid)
    np.testing.assert_array_equal(read.bits, pack(masks_of_a_patient().items(), SHAPE))
    assert read.classes == (SPLEEN, RIGHT_KIDNEY, LIVER, LIVER_TUMOR)


def test_every_class_of_the_table_comes_back(app, scene):
    volume = add_volume(app)
    masks = {c: box_mask(SHAPE, (c % 8 * 3, c % 8 * 3 + 2), (c // 8 * 4, c // 8 * 4 + 3), (2, 9)) for c in range(1, 33)}
    read = read_segmentation(segment(scene, volume, masks), placement(volume).geometry)
    np.testing.assert_array_equal(read.bits, pack(masks.items(), SHAPE))


def test_cropped_image_comes_back_in_its_place(app, scene):
    volume = add_volume(app, start=(2, 1, 4))
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    place = placement(volume)
    image = label_image(np.ones((4, 3, 2), np.uint8), place.matrix, (7, 6, 9))
    add_segment(node, "small", image)
    expected = box_mask(SHAPE, (5, 9), (5, 8), (5, 7))
    np.testing.assert_array_equal(read_mask(node, "small", place.geometry), expected)


def test_voxels_outside_the_grid_are_left_out(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    place = placement(volume)
    add_segment(node, "large", label_image(np.ones((40, 40, 40), np.uint8), place.matrix, (-5, -9, 14)))
    expected = box_mask(SHAPE, (0, 24), (0, 20), (14, 16))
    np.testing.assert_array_equal(read_mask(node, "large", place.geometry), expected)
    add_segment(node, "outside", label_image(np.ones((4, 4, 4), np.uint8), place.matrix, (90, 0, 0)))
    assert not read_mask(node, "outside", place.geometry).any()


def test_image_with_an_origin_of_its_own_on_the_same_lattice_is_not_resampled(app, scene, monkeypatch):
    monkeypatch.setattr(slicer, "vtkOrientedImageDataResample", None)
    volume = add_volume(app)
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    grid = placement(volume).geometry
    shifted = grid.ijk_to_ras.copy()
    shifted[:3, 3] = (grid.ijk_to_ras @ [3, 4, 5, 1])[:3]
    add_segment(node, "shifted", label_image(np.ones((2, 2, 2), np.uint8), shifted))
    np.testing.assert_array_equal(read_mask(node, "shifted", grid), box_mask(SHAPE, (3, 5), (4, 6), (5, 7)))


def test_finer_lattice_is_resampled_to_the_ct(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    grid = placement(volume).geometry
    fine = grid.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = (grid.ijk_to_ras @ [-0.25, -0.25, -0.25, 1])[:3]
    labels = np.zeros([2 * n for n in SHAPE], np.uint8)
    labels[8:16, 10:20, 4:12] = 1
    add_segment(node, "fine", label_image(labels, fine))
    np.testing.assert_array_equal(read_mask(node, "fine", grid), box_mask(SHAPE, (4, 8), (5, 10), (2, 6)))


def test_segmentation_under_another_transform_is_read_where_it_lies_in_the_world(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    grid = placement(volume).geometry
    step = np.eye(4)
    step[:3, 3] = grid.ijk_to_ras[:3, :3] @ [2, -1, 1]
    node.SetAndObserveTransformNodeID(add_transform(app, step).GetID())
    spleen = masks_of_a_patient()[SPLEEN]
    np.testing.assert_array_equal(read_mask(node, "spleen", grid), np.roll(spleen, (2, -1, 1), (0, 1, 2)))


def test_segmentation_under_a_non_linear_transform_is_refused(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    node.SetAndObserveTransformNodeID(add_bending(app).GetID())
    with pytest.raises(GeometryError, match="non-linear"):
        read_segmentation(node, placement(volume).geometry)


def test_labels_wider_than_a_byte_are_read(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    place = placement(volume)
    image = label_image(masks_of_a_patient()[SPLEEN], place.matrix)
    wide = slicer.vtkOrientedImageData()
    wide.DeepCopy(image)
    wide.AllocateScalars(vtk.VTK_SHORT, 1)
    vtk_to_numpy(wide.GetPointData().GetScalars())[:] = (
        masks_of_a_patient()[SPLEEN].ravel(order="F").astype(np.int16) * 300
    )
    add_segment(node, "wide", wide, 300)
    np.testing.assert_array_equal(read_mask(node, "wide", place.geometry), masks_of_a_patient()[SPLEEN])


def test_label_map_is_painted_in_the_order_that_is_given(app, scene):
    volume = add_volume(app)
    node, masks = segment(scene, volume), masks_of_a_patient()
    grid = placement(volume).geometry
    images = stored_images(node, grid)
    over = finished(painting(images, grid.shape, [("liver", 6), ("spleen", 1), ("liver_tumor", 27)]))
    under = finished(painting(images, grid.shape, [("liver_tumor", 27), ("liver", 6), ("spleen", 1)]))
    assert (over[masks[LIVER_TUMOR]] == 27).all()
    assert (under[masks[LIVER]] == 6).all()
    assert not (under == 27).any()
    assert (over[masks[SPLEEN]] == 1).all()
    assert set(np.unique(over)) == {0, 1, 6, 27}


def test_empty_segment_reads_as_nothing(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    node.GetSegmentation().AddEmptySegment("mine", "Mine")
    assert not read_mask(node, "mine", placement(volume).geometry).any()


boxes = st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in SHAPE))


@settings(max_examples=40, deadline=None)
@given(first=boxes, second=boxes, hole=boxes)
def test_box_around_differences_is_the_smallest_whatever_part_of_the_grid_the_images_hold(first, second, hole):
    masks = [box_mask(SHAPE, *first) & ~box_mask(SHAPE, *hole), box_mask(SHAPE, *second)]
    singles = []
    for n, mask in enumerate(masks):
        box = Box.around(mask)
        labels, start = (mask[box.slices] * np.uint8(n + 1), box.start) if box else (mask[:1], (0, 0, 0))
        singles.append(Single(Stored(labels, start, {}), n + 1, SHAPE))
    assert finished(boxing(*singles)) == Box.around(masks[0] != masks[1])
    assert finished(boxing(singles[0])) == Box.around(masks[0])
    assert finished(boxing(singles[0], Single(None, 0, SHAPE))) == Box.around(masks[0])


def test_overlapping_classes_are_named(app, scene):
    node = segment(scene, add_volume(app, an_oblique_geometry(SHAPE)))
    assert scene.overlapping(node.GetID()) == ((LIVER, LIVER_TUMOR),)


def test_of_two_segments_of_a_class_the_first_counts(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    copy = slicer.vtkSegment()
    copy.DeepCopy(node.GetSegmentation().GetSegment("liver"))
    copy.SetLabelValue(1)
    place = placement(volume)
    copy.AddRepresentation(binary(), label_image(np.ones(SHAPE, np.uint8), place.matrix))
    node.GetSegmentation().AddSegment(copy, "liver_copy")
    read = read_segmentation(node, place.geometry)
    np.testing.assert_array_equal(read.mask(LIVER), masks_of_a_patient()[LIVER])


def test_turning_the_ct_and_its_segmentation_together_changes_nothing(app, scene):
    transform = add_transform(app)
    volume = add_volume(app, transform=transform)
    node = segment(scene, volume)
    transform.SetMatrixTransformToParent(vtk_matrix(np.eye(4)))
    np.testing.assert_array_equal(read_mask(node, "liver", placement(volume).geometry), masks_of_a_patient()[LIVER])


# --- a segmentation whose source somebody made surfaces


@pytest.fixture
def of_surfaces(app, scene):
    node = segment(scene, add_volume(app, start=(5, 3, -2), transform=add_transform(app)))
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    return node


def voxel_count(node, segment_id):
    return int(read_mask(node, segment_id, placement(volume_of(node)).geometry).sum())


def test_surfaces_are_turned_into_voxels_before_these_are_needed(scene, of_surfaces):
    expected = int(masks_of_a_patient()[LIVER].sum())
    scene.count_changes(of_surfaces.GetID())
    changed = {s.segment_id: s.changed_voxels for s in scene.segments(of_surfaces.GetID())}
    assert changed["liver"] < expected / 2
    assert abs(voxel_count(of_surfaces, "liver") - expected) < expected / 2
    assert of_surfaces.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"


def test_no_voxel_is_lost_on_export_of_surfaces(scene, of_surfaces, tmp_path):
    volume = volume_of(of_surfaces)
    scene.export(of_surfaces.GetID(), volume.GetID(), ExportRequest(tmp_path, ("seg.nrrd", "nrrd"), (6,)))
    assert voxel_count(of_surfaces, "spleen") > 0
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "CT.nrrd")))
    assert (values == 1).sum() == voxel_count(of_surfaces, "spleen")


def test_locked_surface_keeps_its_voxels_when_the_ct_is_segmented_again(scene, of_surfaces):
    scene.set_locked(of_surfaces.GetID(), "spleen", True)
    assert segment(scene, volume_of(of_surfaces)) is of_surfaces
    assert voxel_count(of_surfaces, "liver") == masks_of_a_patient()[LIVER].sum()
    assert voxel_count(of_surfaces, "spleen") > 0
