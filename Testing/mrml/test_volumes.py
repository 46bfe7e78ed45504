"""What a CT in the scene is, where it lies, and whether it is still the same."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import an_oblique_geometry, ct_voxels, mark_position, rotation
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Geometry
from mrml_builders import (
    ORIENTATIONS,
    SHAPE,
    add_bending,
    add_transform,
    add_volume,
    grid_of,
    image_of,
    segment,
    vtk_matrix,
)


def position_of_mark(node):
    """World position of the bright mark, as Slicer itself would tell it: VTK voxels, matrix, transform."""
    values = slicer.util.arrayFromVolume(node)
    k, j, i = np.argwhere(values >= 699).mean(axis=0)
    extent = node.GetImageData().GetExtent()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    local = matrix.MultiplyPoint((i + extent[0], j + extent[2], k + extent[4], 1.0))[:3]
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    return np.array(to_world.TransformPoint(local))


def assert_placed(scene, node):
    volume = scene.snapshot(node.GetID()).volume
    np.testing.assert_allclose(mark_position(volume.voxels, volume.geometry), position_of_mark(node), atol=1e-6)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_snapshot_of_every_orientation_lies_where_slicer_says(app, scene, axes, signs):
    assert_placed(scene, add_volume(app, grid_of(axes, signs)))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    start=st.tuples(*[st.integers(-9, 9)] * 3),
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
)
def test_snapshot_of_any_oblique_volume_lies_where_slicer_says(app, scene, degrees, start, turn):
    app.clear()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(turn), (12, -40, 3)
    geometry = an_oblique_geometry(SHAPE, degrees=degrees)
    assert_placed(scene, add_volume(app, geometry, start=start, transform=add_transform(app, matrix)))


def test_extent_that_does_not_start_at_0_moves_nothing(app, scene):
    geometry = an_oblique_geometry(SHAPE)
    volume = scene.snapshot(add_volume(app, geometry, start=(5, 3, -2)).GetID()).volume
    assert volume.geometry.matches(geometry, 1e-9)


def test_nested_transforms_are_put_together(app, scene):
    outer = add_transform(app)
    inner = add_transform(app, parent=outer)
    node = add_volume(app, transform=inner)
    assert_placed(scene, node)
    flat = an_oblique_geometry(SHAPE)
    assert not scene.snapshot(node.GetID()).volume.geometry.matches(flat, 1.0)


def test_left_handed_volume_is_taken(app, scene):
    geometry = grid_of((0, 1, 2), (-1, 1, 1))
    assert np.linalg.det(geometry.ijk_to_ras[:3, :3]) < 0
    assert_placed(scene, add_volume(app, geometry))


def test_non_linear_transform_is_refused_with_hardening_as_remedy(app, scene):
    node = add_volume(app)
    node.SetAndObserveTransformNodeID(add_bending(app).GetID())
    with pytest.raises(GeometryError, match="non-linear transform Spline") as caught:
        scene.snapshot(node.GetID())
    assert "Harden" in caught.value.remedy
    assert "non-linear" in scene.problem(node.GetID())


def test_sheared_grid_is_refused(app, scene):
    matrix = np.diag([0.8, 0.8, 2.5, 1.0])
    matrix[0, 1] = 0.3
    with pytest.raises(GeometryError, match="right angles"):
        scene.snapshot(add_volume(app, Geometry(SHAPE, matrix)).GetID())


def test_transform_that_shears_is_refused(app, scene):
    node = add_volume(app, transform=add_transform(app, np.diag([1.0, 1.4, 1.0, 1.0])))
    with pytest.raises(GeometryError, match="right angles"):
        scene.snapshot(node.GetID())


def test_rounded_direction_cosines_are_taken(app, scene):
    geometry = an_oblique_geometry(SHAPE)
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] = np.round(geometry.directions, 5) * geometry.spacing
    assert_placed(scene, add_volume(app, Geometry(SHAPE, matrix)))


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 5.0), (0.3, 0.3, 0.3)])
def test_uneven_and_fine_spacings_are_taken(app, scene, spacing):
    volume = scene.snapshot(add_volume(app, an_oblique_geometry(SHAPE, spacing=spacing)).GetID()).volume
    np.testing.assert_allclose(volume.geometry.spacing, spacing)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32", "float64"])
def test_every_number_type_becomes_int16_without_changing_a_value(app, scene, dtype):
    voxels = np.clip(ct_voxels(SHAPE), *((-100, 100) if dtype == "int8" else (-2000, 4000))).astype(dtype)
    taken = scene.snapshot(add_volume(app, voxels=voxels).GetID()).volume.voxels
    assert taken.dtype == np.int16
    np.testing.assert_array_equal(taken, voxels)


def test_fractions_are_rounded_and_values_outside_int16_are_clipped_with_a_note(app, scene):
    voxels = ct_voxels(SHAPE).astype(np.float32)
    voxels[0, 0, :3] = 0.6, 1e6, -1e6
    volume = scene.snapshot(add_volume(app, voxels=voxels).GetID()).volume
    assert volume.voxels[0, 0, :3].tolist() == [1, 32767, -32768]
    assert "clipped" in volume.source.notes[0]


def test_snapshot_is_a_copy(app, scene):
    node = add_volume(app)
    taken = scene.snapshot(node.GetID()).volume.voxels
    before = taken.copy()
    slicer.util.arrayFromVolume(node)[:] = 0
    np.testing.assert_array_equal(taken, before)


REFUSED = {
    "no image data": lambda app: app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"),
    "label map": lambda app: add_volume(app, kind="vtkMRMLLabelMapVolumeNode"),
    "3 values per voxel": lambda app: add_volume(
        app, voxels=np.zeros((*SHAPE, 3), np.uint8), kind="vtkMRMLVectorVolumeNode"
    ),
    "2 values per voxel": lambda app: add_volume(app, voxels=np.zeros((*SHAPE, 2), np.int16)),
    "single slice": lambda app: add_volume(app, an_oblique_geometry((24, 20, 1))),
    "not a volume": lambda app: app.scene.AddNewNodeByClass("vtkMRMLModelNode", "Bone"),
    "blank": lambda app: add_volume(app, voxels=np.full(SHAPE, -1000, np.int16)),
    "normalised": lambda app: add_volume(app, voxels=np.random.default_rng(0).random(SHAPE, np.float32)),
    "MR or a PET": lambda app: add_volume(app, voxels=np.random.default_rng(0).integers(0, 900, SHAPE, np.int16)),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_no_ct_is_refused_with_a_remedy(app, scene, sentence):
    node = REFUSED[sentence](app)
    with pytest.raises(InputError, match=sentence) as caught:
        scene.snapshot(node.GetID())
    assert caught.value.remedy
    assert sentence in scene.problem(node.GetID())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_numbers_are_refused(app, scene, value):
    voxels = ct_voxels(SHAPE).astype(np.float32)
    voxels[1, 2, 3] = value
    with pytest.raises(InputError, match="not numbers"):
        scene.snapshot(add_volume(app, voxels=voxels).GetID())


def test_ct_that_can_be_used_has_no_problem(app, scene):
    assert scene.problem(add_volume(app).GetID()) == ""


def test_missing_volume_is_a_problem(scene):
    assert "no longer in the scene" in scene.problem("vtkMRMLScalarVolumeNode99")
    assert scene.fingerprint("vtkMRMLScalarVolumeNode99") is None


def test_values_above_0_are_believed_when_dicom_says_hounsfield(app, scene):
    node = add_volume(app, voxels=np.random.default_rng(0).integers(0, 90, SHAPE, np.int16))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    hierarchy.SetItemUID(hierarchy.GetItemByDataNode(node), "DICOM", "1.2.3.4")
    assert scene.snapshot(node.GetID()).volume.source.series_uid == "1.2.3.4"


def test_proxy_of_a_sequence_says_that_only_one_frame_is_segmented(app, scene):
    frames = app.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Phases")
    for n in range(3):
        frames.SetDataNodeAtValue(add_volume(app, voxels=ct_voxels(SHAPE, seed=n), name=f"phase {n}"), str(n))
    browser = app.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(frames.GetID())
    app.logics["Sequences"].UpdateAllProxyNodes()
    proxy = browser.GetProxyNode(frames)
    before = scene.snapshot(proxy.GetID())
    assert "frame 1 of 3" in before.volume.source.notes[0]
    assert scene.note(proxy.GetID()) == before.volume.source.notes[0]
    browser.SetSelectedItemNumber(2)
    app.logics["Sequences"].UpdateAllProxyNodes()
    assert scene.fingerprint(proxy.GetID()) != before.fingerprint


def change_voxels(app, node):
    slicer.util.arrayFromVolume(node)[3, 4, 5] += 1
    slicer.util.arrayFromVolumeModified(node)


def replace_image(app, node):
    node.SetAndObserveImageData(image_of(ct_voxels(SHAPE, seed=9)))


def move_grid(app, node):
    node.SetOrigin(1, 2, 3)


def put_under_transform(app, node):
    node.SetAndObserveTransformNodeID(add_transform(app).GetID())


def shift_extent(app, node):
    node.SetAndObserveImageData(image_of(ct_voxels(SHAPE), (1, 0, 0)))


@pytest.mark.parametrize("change", [change_voxels, replace_image, move_grid, put_under_transform, shift_extent])
def test_every_change_of_voxels_or_place_changes_the_fingerprint(app, scene, change):
    node = add_volume(app)
    before = scene.snapshot(node.GetID()).fingerprint
    change(app, node)
    assert scene.fingerprint(node.GetID()) != before


def test_moving_the_transform_changes_the_fingerprint(app, scene):
    transform = add_transform(app)
    node = add_volume(app, transform=transform)
    before = scene.fingerprint(node.GetID())
    transform.SetMatrixTransformToParent(vtk_matrix(np.eye(4)))
    assert scene.fingerprint(node.GetID()) != before


def test_name_display_and_equal_voxels_leave_the_fingerprint(app, scene):
    node = add_volume(app)
    before = scene.fingerprint(node.GetID())
    node.SetName("renamed")
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveImageData(image_of(ct_voxels(SHAPE)))
    assert scene.fingerprint(node.GetID()) == before


def test_volumes_of_the_same_name_are_told_apart(app, scene):
    first, second = add_volume(app, name="CT"), add_volume(app, name="CT")
    assert scene.fingerprint(first.GetID()) != scene.fingerprint(second.GetID())
    node = segment(scene, second)
    assert scene.segmentation_of(second.GetID()) == node.GetID()
    assert scene.segmentation_of(first.GetID()) is None
