"""What Slicer's functions do that our code goes round. If one of these changes, we want to know."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from builders import ct_voxels
from GenesisSegmentLib.mrml import surfaces
from GenesisSegmentLib.mrml.arrays import label_image, start_of, voxels
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    SHAPE,
    add_transform,
    add_volume,
    box_mask,
    masks_of_a_patient,
    segment,
    slicer_centroid,
    world_centroid,
)

SMALL = ((12, 15), (5, 8), (3, 6))
"""A box inside the right kidney."""
Logic = slicer.vtkSlicerSegmentationsModuleLogic


def mask(node, segment_id):
    return read_mask(node, segment_id, placement(volume_of(node)).geometry)


def modifier(node, *edges):
    """A small image of ones on the grid of the CT."""
    place = placement(volume_of(node))
    return label_image(np.ones([b - a for a, b in edges], np.uint8), place.matrix, tuple(a for a, _ in edges))


@pytest.fixture
def node(app, scene):
    return segment(scene, add_volume(app))


def labelmap_of(app, volume, values, transform=None):
    result = app.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    result.SetIJKToRASMatrix(matrix)
    result.SetAndObserveImageData(label_image(values, np.eye(4)))
    result.SetAndObserveTransformNodeID(transform.GetID() if transform else None)
    return result


def test_replacing_with_a_small_image_clears_the_segment_outside(node):
    assert Logic.SetBinaryLabelmapToSegment(modifier(node, *SMALL), node, "kidney_right", Logic.MODE_REPLACE)
    np.testing.assert_array_equal(mask(node, "kidney_right"), box_mask(SHAPE, *SMALL))


def test_replacing_clears_outside_even_with_an_extent(node):
    image = modifier(node, *SMALL)
    Logic.SetBinaryLabelmapToSegment(image, node, "kidney_right", Logic.MODE_REPLACE, image.GetExtent())
    assert mask(node, "kidney_right").sum() < masks_of_a_patient()[2].sum()


def test_merging_is_local(node):
    before = mask(node, "spleen")
    Logic.SetBinaryLabelmapToSegment(modifier(node, (0, 2), (0, 2), (0, 2)), node, "spleen", Logic.MODE_MERGE_MAX)
    np.testing.assert_array_equal(mask(node, "spleen"), before | box_mask(SHAPE, (0, 2), (0, 2), (0, 2)))


def test_setting_by_the_editor_logic_clears_outside(node, editor):
    editor.work_on(node)
    image = modifier(node, *SMALL)
    logic = editor.logic
    logic.ModifySegmentByLabelmap(
        node, "kidney_right", image, logic.ModificationModeSet, image.GetExtent(), False, False
    )
    assert mask(node, "kidney_right").sum() < masks_of_a_patient()[2].sum()


def test_numpy_in_place_on_a_shared_image_erases_neighbours_without_undo(node, editor):
    editor.save_state(node)
    image = node.GetBinaryLabelmapInternalRepresentation("spleen")
    start = start_of(image)
    voxels(image)[tuple(slice(a - s, b - s) for (a, b), s in zip(SMALL, start, strict=True))] = 1
    assert mask(node, "kidney_right").sum() < masks_of_a_patient()[2].sum()


def test_overwriting_everything_is_the_default_of_slicer():
    node = slicer.vtkMRMLSegmentEditorNode()
    assert node.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments


def test_modifier_without_geometry_is_accepted_and_lands_elsewhere(node, editor):
    editor.work_on(node)
    bare = slicer.vtkOrientedImageData()
    bare.SetDimensions(3, 3, 3)
    bare.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels(bare)[:] = 1
    before = mask(node, "spleen")
    logic = editor.logic
    logic.ModifySegmentByLabelmap(node, "spleen", bare, logic.ModificationModeAdd, False, False)
    expected = before.copy()
    expected[:3, :3, :3] = True
    assert (mask(node, "spleen") != expected).any()


def test_erasing_inside_one_segment_adds_to_that_segment(node, editor):
    editor.work_on(node)
    parameters = editor.logic.GetSegmentEditorNode()
    parameters.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    parameters.SetMaskSegmentID("spleen")
    before = mask(node, "spleen").sum()
    logic = editor.logic
    logic.ModifySegmentByLabelmap(
        node, "kidney_right", modifier(node, *SMALL), logic.ModificationModeRemove, False, False
    )
    assert mask(node, "spleen").sum() == before + 27


def test_first_edit_crops_a_full_size_image(app, editor, node):
    place = placement(volume_of(node))
    full = slicer.vtkSegment()
    full.AddRepresentation("Binary labelmap", label_image(box_mask(SHAPE, (5, 9), (5, 9), (5, 9)), place.matrix))
    node.GetSegmentation().AddSegment(full, "full")
    editor.work_on(node)
    logic = editor.logic
    image = modifier(node, (6, 8), (6, 8), (6, 8))
    logic.ModifySegmentByLabelmap(node, "full", image, logic.ModificationModeAdd, False, False)
    assert node.GetBinaryLabelmapInternalRepresentation("full").GetExtent() == (5, 8, 5, 8, 5, 8)


def test_removing_where_overlaps_are_allowed_takes_the_segment_out_of_the_shared_image(editor, node):
    editor.work_on(node)
    logic = editor.logic
    logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    layers = node.GetSegmentation().GetNumberOfLayers()
    # Around the border of liver and kidney
    half = label_image(np.arange(36).reshape(4, 3, 3) % 2, placement(volume_of(node)).matrix, (9, 5, 5))
    logic.ModifySegmentByLabelmap(node, "liver", half, logic.ModificationModeRemove, False, False)
    assert node.GetSegmentation().GetNumberOfLayers() == layers + 1


def test_intensity_mask_needs_the_lattice_of_the_ct(node, editor):
    editor.work_on(node)
    parameters = editor.logic.GetSegmentEditorNode()
    parameters.SetSourceVolumeIntensityMask(True)
    parameters.SetSourceVolumeIntensityMaskRange(-3000, 3000)
    image = slicer.vtkOrientedImageData()
    place = placement(volume_of(node)).geometry
    shifted = place.ijk_to_ras.copy()
    shifted[:3, 3] = (place.ijk_to_ras @ [1, 1, 1, 1])[:3]
    image = label_image(np.ones((2, 2, 2), np.uint8), shifted)  # the same voxels, with an origin of its own
    before = mask(node, "spleen")
    logic = editor.logic
    logic.ModifySegmentByLabelmap(node, "spleen", image, logic.ModificationModeAdd, False, False)
    np.testing.assert_array_equal(mask(node, "spleen"), before)


def test_import_of_a_labelmap_under_another_transform_is_misplaced(app):
    volume = add_volume(app)
    transform = add_transform(app, np.array([[1, 0, 0, 40], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    liver = masks_of_a_patient()[6]
    expected = world_centroid(liver, placement(volume).geometry)

    def error(labelmap_transform, segmentation_transform):
        labels = labelmap_of(app, volume, liver.astype(np.uint8), labelmap_transform)
        target = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        target.SetAndObserveTransformNodeID(segmentation_transform.GetID() if segmentation_transform else None)
        target.GetSegmentation().AddEmptySegment("liver", "liver")
        ids = vtk.vtkStringArray()
        ids.InsertNextValue("liver")
        Logic.ImportLabelmapToSegmentationNode(labels, target, ids)
        shift = np.array([40.0, 0, 0]) if labelmap_transform else np.zeros(3)
        return np.linalg.norm(slicer_centroid(target, "liver") - expected - shift)

    assert error(transform, transform) < 0.01
    assert error(None, None) < 0.01
    assert max(error(transform, None), error(None, transform)) > 30


def test_class_by_class_makes_one_image_per_class(app):
    volume = add_volume(app)
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for index, expected in list(masks_of_a_patient().items())[:3]:
        node.GetSegmentation().AddEmptySegment(str(index), str(index))
        slicer.util.updateSegmentBinaryLabelmapFromArray(expected.T.astype(np.uint8), node, str(index), volume)
    assert node.GetSegmentation().GetNumberOfLayers() == 3


def test_update_from_array_is_misplaced_where_the_extent_does_not_start_at_0(app):
    volume = add_volume(app, start=(5, 3, -2))
    liver = masks_of_a_patient()[6]
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("liver", "liver")
    slicer.util.updateSegmentBinaryLabelmapFromArray(liver.T.astype(np.uint8), node, "liver", volume)
    expected = world_centroid(liver, placement(volume).geometry)
    assert np.linalg.norm(slicer_centroid(node, "liver") - expected) > 3


def test_one_import_of_one_labelmap_makes_one_image(app):
    values = np.zeros(SHAPE, np.uint8)
    for index, expected in list(masks_of_a_patient().items())[:3]:
        values[expected] = index
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    Logic.ImportLabelmapToSegmentationNode(labelmap_of(app, add_volume(app), values), node)
    assert node.GetSegmentation().GetNumberOfLayers() == 1


def test_removed_segment_leaves_no_label_that_a_new_one_inherits(node):
    node.GetSegmentation().RemoveSegment("kidney_right")
    node.GetSegmentation().AddEmptySegment("new", "New")
    assert not mask(node, "new").any()


def test_export_of_segments_loses_overlaps(app, node):
    labels = app.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    Logic.ExportAllSegmentsToLabelmapNode(node, labels, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY)
    values = vtk_to_numpy(labels.GetImageData().GetPointData().GetScalars())
    assert np.count_nonzero(values) < sum(m.sum() for m in masks_of_a_patient().values())


def test_editing_with_surfaces_makes_them_anew(app, node, editor):
    node.CreateClosedSurfaceRepresentation()
    before = node.GetClosedSurfaceInternalRepresentation("spleen").GetBounds()
    editor.work_on(node)
    logic = editor.logic
    logic.ModifySegmentByLabelmap(
        node, "spleen", modifier(node, (17, 23), (11, 19), (1, 9)), logic.ModificationModeAdd, False, False
    )
    assert surfaces.has_surfaces(node)
    assert node.GetClosedSurfaceInternalRepresentation("spleen").GetBounds() != before


def test_image_data_with_an_offset_extent_keeps_it_in_a_volume(app):
    node = add_volume(app, voxels=ct_voxels(SHAPE), start=(5, 3, -2))
    assert node.GetImageData().GetExtent() == (5, 28, 3, 22, -2, 13)


def test_nodes_by_class_of_slicer_util_looks_in_one_scene_only(app):
    add_volume(app)
    other = slicer.vtkMRMLScene()
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", other)) == 1
