"""Protected segments are kept and put back as they are stored, wherever: beside the CT, or between its voxels."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.workflow.ports import Guarded
from GenesisSegmentLib.mrml.arrays import image_matrix, label_image, start_of, voxels
from GenesisSegmentLib.mrml.volumes import placement
from GenesisSegmentLib.mrml.writing import binary
from mrml_builders import SHAPE, add_transform, add_volume, box_mask, overwriting, segment, vtk_matrix

NOTHING = Guarded()
LONG = ((2, 12), (2, 12), (-12, 28))
"""Begins below the CT and ends above it."""


@pytest.fixture
def node(scene, editor, volume):
    return overwriting(scene, editor, volume)


def stored(node, segment_id):
    """Voxels of a segment by their place in the space of the node, to a hundredth of a millimetre."""
    kept = node.GetSegmentation().GetSegment(segment_id)
    image = kept.GetRepresentation(binary())
    where = np.argwhere(voxels(image) == kept.GetLabelValue()) + start_of(image)
    places = np.c_[where, np.ones(len(where))] @ image_matrix(image)[:3].T
    return {tuple(place) for place in np.rint(places * 100).astype(int).tolist()}


def add_own(node, labels, matrix, start):
    """A segment of the person's own, in an image of its own."""
    own = slicer.vtkSegment()
    own.SetName("Own")
    own.SetLabelValue(1)
    own.AddRepresentation(binary(), label_image(labels.astype(np.uint8), matrix, start))
    node.GetSegmentation().AddSegment(own, "own")


def change(editor, node, segment_id, labels, matrix, start, is_added=True):
    """What a tool of Slicer does to a segment."""
    logic = editor.logic
    logic.SaveStateForUndo()
    mode = logic.ModificationModeAdd if is_added else logic.ModificationModeRemove
    image = label_image(labels.astype(np.uint8), matrix, start)
    logic.ModifySegmentByLabelmap(node, segment_id, image, mode, False, False)


def fine_lattice(volume):
    """Twice as fine as the CT along each axis."""
    return placement(volume).matrix @ np.array([[0.5, 0, 0, 1], [0, 0.5, 0, 1], [0, 0, 0.5, 2], [0, 0, 0, 1]])


def a_ball():
    i, j, k = np.indices((40, 36, 28))
    return ((i - 20) / 15) ** 2 + ((j - 18) / 13) ** 2 + ((k - 14) / 11) ** 2 < 1


def test_voxels_beside_the_ct_are_kept_where_a_brush_took_some_inside(scene, editor, node, volume):
    place = placement(volume)
    start = tuple(a + b for a, b in zip(place.start, (edge[0] for edge in LONG), strict=True))
    add_own(node, np.ones([b - a for a, b in LONG]), place.matrix, start)
    scene.set_locked(node.GetID(), "own", True)
    scene.guard(node.GetID())
    before = stored(node, "own")
    change(editor, node, "liver", box_mask(SHAPE, (2, 6), (2, 6), (2, 6)), place.matrix, place.start)
    assert len(stored(node, "own")) == len(before) - 64, "Slicer's brush does not know of locks"
    assert scene.guard(node.GetID()) == Guarded(("Own",))
    assert stored(node, "own") == before
    assert scene.guard(node.GetID()) == NOTHING


def test_what_is_removed_beside_the_ct_is_put_back(scene, editor, node, volume):
    place = placement(volume)
    i, j, k = place.start
    add_own(node, np.ones((4, 4, 6)), place.matrix, (i + 30, j, k))
    scene.set_locked(node.GetID(), "own", True)
    scene.guard(node.GetID())
    before = stored(node, "own")
    change(editor, node, "own", np.ones((2, 2, 2)), place.matrix, (i + 31, j + 1, k + 1), is_added=False)
    assert len(stored(node, "own")) == len(before) - 8
    assert scene.guard(node.GetID()) == Guarded(("Own",))
    assert stored(node, "own") == before


@pytest.mark.parametrize("is_added", [True, False])
def test_segment_between_the_voxels_of_the_ct_is_put_back_voxel_by_voxel(scene, editor, node, volume, is_added):
    fine = fine_lattice(volume)
    add_own(node, a_ball(), fine, (0, 0, 0))
    scene.set_locked(node.GetID(), "own", True)
    scene.guard(node.GetID())
    before = stored(node, "own")
    place = (0, 0, 0) if is_added else (20, 18, 14)
    change(editor, node, "own", np.ones((1, 1, 1)), fine, place, is_added)
    assert len(stored(node, "own") ^ before) == 1
    assert scene.guard(node.GetID()) == Guarded(("Own",))
    assert stored(node, "own") == before
    assert scene.guard(node.GetID()) == NOTHING


@pytest.mark.parametrize("distance", [1, 500])
def test_moving_the_ct_alone_leaves_protected_segments_where_and_what_they_are(
    app, scene, editor, node, volume, distance
):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    place, before, other = placement(volume), stored(node, "liver"), stored(node, "kidney_right")
    turned = add_transform(app)
    matrix = np.eye(4)
    matrix[:3, 3] = distance, -distance, 0
    turned.SetMatrixTransformToParent(vtk_matrix(matrix @ np.diag([1, 0.9, 1.1, 1])))
    volume.SetAndObserveTransformNodeID(turned.GetID())
    assert scene.guard(node.GetID()) == NOTHING
    i, j, k = place.start
    change(editor, node, "spleen", np.ones((3, 3, 3)), place.matrix, (i + 3, j + 4, k + 5))
    assert stored(node, "liver") < before
    assert scene.guard(node.GetID()) == Guarded(("Liver",))
    assert stored(node, "liver") == before
    assert stored(node, "kidney_right") == other


def test_transform_that_is_hardened_is_no_change_and_what_comes_after_it_is_put_back_there(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    node.HardenTransform()
    before = stored(node, "liver")
    for _look in range(2):
        assert scene.guard(node.GetID()) == NOTHING
    assert stored(node, "liver") == before
    image = node.GetSegmentation().GetSegment("liver").GetRepresentation(binary())
    i, j, k = placement(volume).start
    change(editor, node, "spleen", np.ones((3, 3, 3)), image_matrix(image), (i + 3, j + 4, k + 5))
    assert stored(node, "liver") < before
    assert scene.guard(node.GetID()) == Guarded(("Liver",))
    assert stored(node, "liver") == before


def resample(node, matrix, start, shape):
    """All segments onto another lattice, as the dialog for the geometry of a segmentation does."""
    reference = label_image(np.zeros(shape, np.uint8), matrix, start)
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        found = node.GetSegmentation().GetSegment(segment_id)
        result = slicer.vtkOrientedImageData()
        image = found.GetRepresentation(binary())
        resampler = slicer.vtkOrientedImageDataResample
        resampler.ResampleOrientedImageToReferenceOrientedImage(image, reference, result)
        found.AddRepresentation(binary(), result)


def test_finer_lattice_without_loss_is_no_change_and_protected_segments_stay_on_it(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    place, half = placement(volume), np.diag([0.5, 0.5, 0.5, 1])
    half[:3, 3] = -0.25
    resample(node, place.matrix @ half, [2 * n for n in place.start], [2 * n for n in SHAPE])
    fine = stored(node, "liver")
    assert len(fine) == 8 * 792
    assert scene.guard(node.GetID()) == NOTHING
    first = [2 * (a + b) for a, b in zip(place.start, (3, 4, 5), strict=True)]
    change(editor, node, "liver", np.ones((1, 1, 1)), place.matrix @ half, first, is_added=False)
    assert scene.guard(node.GetID()) == Guarded(("Liver",))
    assert stored(node, "liver") == fine


def test_segment_that_was_resampled_with_loss_gets_its_own_voxels_back(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    before, place = stored(node, "liver"), placement(volume)
    resample(node, place.matrix @ np.diag([2, 2, 2, 1]), [n // 2 for n in place.start], [n // 2 + 1 for n in SHAPE])
    others = stored(node, "kidney_right")
    assert scene.guard(node.GetID()) == Guarded(("Liver",))
    assert stored(node, "liver") == before
    assert stored(node, "kidney_right") == others
    assert scene.guard(node.GetID()) == NOTHING


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.booleans(), st.tuples(*[st.integers(-6, 20)] * 3))
def test_any_change_of_a_protected_segment_is_put_back_and_of_no_other(app, scene, editor, seed, is_added, corner):
    app.clear()
    scene.forget_guarded()
    volume = add_volume(app, start=(3, -2, 5), transform=add_transform(app))
    node = segment(scene, volume)
    editor.work_on(node)
    editor.logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    place, random = placement(volume), np.random.default_rng(seed)
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    before = stored(node, "liver")
    start = tuple(a + b for a, b in zip(place.start, corner, strict=True))
    change(editor, node, "liver", random.random((7, 6, 5)) < 0.4, place.matrix, start, is_added)
    is_changed = stored(node, "liver") != before
    others = {i: stored(node, i) for i in ("spleen", "kidney_right")}
    assert scene.guard(node.GetID()) == (Guarded(("Liver",)) if is_changed else NOTHING)
    assert stored(node, "liver") == before
    assert {i: stored(node, i) for i in others} == others


def test_segment_whose_source_is_a_surface_is_turned_into_voxels_before_it_is_put_back(scene, editor, node):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    before = stored(node, "liver")
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    report = scene.guard(node.GetID(), is_in_editor=False)
    assert report.put_back == ("Liver",)
    assert stored(node, "liver") == before


def test_what_could_not_be_put_back_is_not_told_and_makes_no_step_of_undo(scene, editor, node, monkeypatch):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    node.GetSegmentation().GetSegment("liver").RemoveRepresentation(binary())
    saved = []
    monkeypatch.setattr(editor, "save_state", saved.append)
    for _look in range(2):
        assert scene.guard(node.GetID(), is_in_editor=False) == NOTHING
    assert saved == []


def test_what_slicer_refuses_to_put_back_is_not_told(scene, editor, node, volume, monkeypatch):
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    before, place = stored(node, "liver"), placement(volume)
    change(editor, node, "liver", np.ones((2, 2, 2)), place.matrix, place.start)
    with monkeypatch.context() as refusing:
        refusing.setattr("GenesisSegmentLib.mrml.guard.put_back", lambda *_arguments: False)
        assert scene.guard(node.GetID()) == NOTHING
    assert scene.guard(node.GetID()) == Guarded(("Liver",))
    assert stored(node, "liver") == before
