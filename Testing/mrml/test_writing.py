"""A whole result in the scene: where it lies, what it says, what it replaces and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from builders import an_oblique_geometry
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.layers import Layer
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.core.terminology import terminology_entry
from GenesisSegmentLib.mrml import partial
from GenesisSegmentLib.mrml.nodes import GoneError, nodes_of
from GenesisSegmentLib.mrml.proposal import proposal_of
from GenesisSegmentLib.mrml.reading import read_mask, read_segmentation
from GenesisSegmentLib.mrml.table import table_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    LEFT_KIDNEY,
    LIVER,
    LIVER_TUMOR,
    ORIENTATIONS,
    PANCREAS,
    RIGHT_KIDNEY,
    SHAPE,
    SPLEEN,
    TEXT,
    add_transform,
    add_volume,
    box_mask,
    grid_of,
    image_of,
    layer,
    layers_of,
    masks_of_a_patient,
    segment,
    slicer_centroid,
    world_centroid,
)


def geometry_of(volume):
    return placement(volume).geometry


def mask(node, segment_id):
    return read_mask(node, segment_id, geometry_of(node.GetNodeReference("referenceImageGeometryRef")))


def own_segment(node, voxels, segment_id="mine", name="Mine"):
    """A segment of the person's own, written by Slicer's own function."""
    node.GetSegmentation().AddEmptySegment(segment_id, name)
    volume = node.GetNodeReference("referenceImageGeometryRef")
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.T.astype(np.uint8), node, segment_id, volume)


def assert_in_place(node, volume, masks):
    grid = geometry_of(volume)
    for index, expected in masks.items():
        segment_id = class_table()[index].slug
        np.testing.assert_array_equal(mask(node, segment_id), expected)
        np.testing.assert_allclose(slicer_centroid(node, segment_id), world_centroid(expected, grid), atol=1e-3)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_result_lies_on_the_ct_in_every_orientation(app, scene, axes, signs):
    volume = add_volume(app, grid_of(axes, signs))
    masks = {LIVER: box_mask(SHAPE, (3, 11), (4, 15), (5, 14))}
    assert_in_place(segment(scene, volume, masks), volume, masks)


@pytest.mark.parametrize("start", [(0, 0, 0), (5, 3, -2)])
@pytest.mark.parametrize("transforms", [0, 1, 2])
def test_result_lies_on_an_oblique_ct_under_any_transforms(app, scene, start, transforms):
    parent = None
    for _ in range(transforms):
        parent = add_transform(app, parent=parent)
    volume = add_volume(app, start=start, transform=parent)
    node = segment(scene, volume)
    assert_in_place(node, volume, masks_of_a_patient())
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()


def test_result_follows_the_ct_when_its_transform_moves(app, scene):
    transform = add_transform(app)
    volume = add_volume(app, transform=transform)
    node = segment(scene, volume)
    transform.Inverse()
    assert_in_place(node, volume, masks_of_a_patient())


def test_result_again_after_the_ct_was_put_under_a_transform_lies_on_it(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    volume.SetAndObserveTransformNodeID(add_transform(app).GetID())
    assert segment(scene, volume) is node
    assert_in_place(node, volume, masks_of_a_patient())


def test_classes_without_overlap_share_one_image(app, scene):
    node = segment(scene, add_volume(app))
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    images = {i: node.GetBinaryLabelmapInternalRepresentation(i) for i in ("liver", "spleen", "liver_tumor")}
    assert images["liver"] is images["spleen"]
    assert images["liver"] is not images["liver_tumor"]


def test_overlap_of_organ_and_tumour_is_kept(app, scene):
    masks = masks_of_a_patient()
    node = segment(scene, add_volume(app), masks)
    np.testing.assert_array_equal(mask(node, "liver") & mask(node, "liver_tumor"), masks[LIVER_TUMOR])


def test_label_value_is_the_class_index(app, scene):
    segmentation = segment(scene, add_volume(app)).GetSegmentation()
    values = {i: segmentation.GetSegment(i).GetLabelValue() for i in segmentation.GetSegmentIDs()}
    assert values == {"spleen": 1, "kidney_right": 2, "liver": 6, "liver_tumor": 27}


def test_segments_have_ids_names_colours_and_terminology_of_their_classes(app, scene):
    node = segment(scene, add_volume(app))
    for state in scene.segments(node.GetID()):
        structure = class_table()[state.class_index]
        assert (state.segment_id, state.name, state.color) == (structure.slug, structure.name, structure.color)
        assert node.GetSegmentation().GetSegment(state.segment_id).GetTerminology() == terminology_entry(structure)
        assert not state.is_locked
        assert not state.is_reviewed


def test_result_refers_to_its_ct_and_lies_in_its_study(app, scene):
    volume = add_volume(app, start=(5, 3, 2))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Abdomen")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    node = segment(scene, volume)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table_of(node))) == study
    grid = slicer.vtkOrientedImageData()
    text = node.GetSegmentation().GetConversionParameter("Reference image geometry")
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, grid, False)
    assert grid.GetExtent() == volume.GetImageData().GetExtent()


def test_result_says_which_model_made_it(app, scene):
    node = segment(scene, add_volume(app))
    assert node.GetAttribute("GenesisSegment.Model") == "starter"
    assert "Not for clinical use." in node.GetDescription()


@pytest.mark.parametrize("order", ["C", "F"])
def test_labels_are_copied_whatever_their_memory_order(app, scene, order):
    volume = add_volume(app)
    labels = np.zeros(SHAPE, np.uint8, order=order)
    labels[2:5, 3:9, 4:7] = LIVER
    snapshot = scene.snapshot(volume.GetID())
    node = app.scene.GetNodeByID(scene.write_result(snapshot, [Layer(labels, (LIVER,))], TEXT, []))
    labels[:] = 0
    assert mask(node, "liver").sum() == 3 * 6 * 3


def test_class_that_was_not_found_makes_no_segment(app, scene):
    volume = add_volume(app)
    layers = [layer({LIVER: masks_of_a_patient()[LIVER]}, looked_for=[SPLEEN])]
    node = app.scene.GetNodeByID(scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, []))
    assert node.GetSegmentation().GetSegmentIDs() == ("liver",)


def test_result_without_any_class_is_an_empty_segmentation(app, scene):
    volume = add_volume(app)
    layers = [layer({}, looked_for=[LIVER, SPLEEN])]
    node_id = scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, [])
    assert scene.segments(node_id) == ()
    grid = geometry_of(volume)
    assert not read_segmentation(app.scene.GetNodeByID(node_id), grid).bits.any()


def test_second_result_replaces_its_classes_in_the_same_node(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    node.GetSegmentation().GetSegment("liver").SetName("My liver")
    node.GetDisplayNode().SetSegmentOpacity3D("liver", 0.25)
    moved = {LIVER: box_mask(SHAPE, (1, 4), (1, 4), (1, 4))}
    layers = [layer(moved, looked_for=[SPLEEN])]
    assert scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, []) == node.GetID()
    np.testing.assert_array_equal(mask(node, "liver"), moved[LIVER])
    assert node.GetSegmentation().GetSegmentIDs() == ("kidney_right", "liver", "liver_tumor")
    np.testing.assert_array_equal(mask(node, "kidney_right"), masks_of_a_patient()[RIGHT_KIDNEY])
    assert node.GetSegmentation().GetSegment("liver").GetName() == "My liver"
    assert node.GetDisplayNode().GetSegmentOpacity3D("liver") == 0.25


def test_neighbours_of_replaced_classes_keep_no_stray_labels(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    scene.write_result(
        scene.snapshot(volume.GetID()), [layer({LIVER: box_mask(SHAPE, (1, 4), (1, 4), (1, 4))})], TEXT, []
    )
    kept = vtk_to_numpy(node.GetBinaryLabelmapInternalRepresentation("kidney_right").GetPointData().GetScalars())
    assert set(np.unique(kept)) == {0, SPLEEN, RIGHT_KIDNEY}


@pytest.mark.parametrize("how", ["locked", "reviewed"])
def test_locked_and_reviewed_segments_survive_a_new_result(app, scene, how):
    volume = add_volume(app)
    node = segment(scene, volume)
    (scene.set_locked if how == "locked" else scene.set_reviewed)(node.GetID(), "liver", True)
    other = box_mask(SHAPE, (0, 6), (0, 6), (0, 6))
    segment(scene, volume, {LIVER: other, SPLEEN: box_mask(SHAPE, (7, 9), (7, 9), (7, 9))})
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER])
    assert mask(node, "spleen").sum() == 8
    stored = node.GetBinaryLabelmapInternalRepresentation("spleen").GetPointData().GetScalars()
    assert LIVER not in np.unique(vtk_to_numpy(stored))


def test_segments_of_the_person_survive_a_new_result_even_with_our_id(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume, {LIVER: masks_of_a_patient()[LIVER]})
    mine = box_mask(SHAPE, (2, 9), (2, 9), (2, 9))
    own_segment(node, mine, "spleen", "A cyst")
    segment(scene, volume)
    np.testing.assert_array_equal(mask(node, "spleen"), mine)
    states = {s.segment_id: s.class_index for s in scene.segments(node.GetID())}
    assert states["spleen"] == 0
    (ours,) = (i for i, c in states.items() if c == SPLEEN)
    np.testing.assert_array_equal(mask(node, ours), masks_of_a_patient()[SPLEEN])


def test_new_result_can_be_undone(app, scene, editor):
    volume = add_volume(app)
    node = segment(scene, volume)
    segment(
        scene,
        volume,
        {LIVER: box_mask(SHAPE, (1, 4), (1, 4), (1, 4)), PANCREAS: box_mask(SHAPE, (5, 8), (1, 4), (1, 4))},
    )
    editor.undo()
    for index, expected in masks_of_a_patient().items():
        np.testing.assert_array_equal(mask(node, class_table()[index].slug), expected)
    assert "pancreas" not in node.GetSegmentation().GetSegmentIDs()


EDITOR_ID = "vtkMRMLSegmentEditorNodeGenesisSegment"


def state_of_scene(app):
    nodes = nodes_of(app.scene, "vtkMRMLNode")
    segmentations = nodes_of(app.scene, "vtkMRMLSegmentationNode")
    return (
        # The editor's parameter node may stay: it holds settings, and no data.
        sorted(n.GetID() for n in nodes if not n.IsA("vtkMRMLSubjectHierarchyNode") and n.GetID() != EDITOR_ID),
        {(n.GetID(), i): mask(n, i).tobytes() for n in segmentations for i in n.GetSegmentation().GetSegmentIDs()},
        {(n.GetID(), n.GetSegmentation().GetSegmentIDs()) for n in segmentations},
    )


BAD_LAYERS = {
    "another shape": lambda: [layer({LIVER: box_mask((5, 5, 5), (1, 3), (1, 3), (1, 3))}, (5, 5, 5))],
    "another number type": lambda: [Layer(np.zeros(SHAPE, np.uint16), (LIVER,))],
    "a value without class": lambda: [Layer(layer({LIVER: masks_of_a_patient()[LIVER]}).labels, (SPLEEN,))],
    "a class twice": lambda: [layer({LIVER: masks_of_a_patient()[LIVER]})] * 2,
}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("what", BAD_LAYERS)
def test_layers_that_do_not_fit_leave_the_scene_as_it_was(app, scene, what, again):
    volume = add_volume(app)
    if again:
        segment(scene, volume)
    before = state_of_scene(app)
    with pytest.raises((InputError, GeometryError)):
        scene.write_result(scene.snapshot(volume.GetID()), BAD_LAYERS[what](), TEXT, [])
    assert state_of_scene(app) == before


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("step", ["keep_proposal", "write_table", "_sign"])
def test_failure_at_any_later_step_leaves_the_scene_as_it_was(app, scene, monkeypatch, step, again):
    from GenesisSegmentLib.mrml import result as module

    volume = add_volume(app)
    if again:
        segment(scene, volume)
    before = state_of_scene(app)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(module, step, fail)
    others = {SPLEEN: box_mask(SHAPE, (1, 4), (1, 4), (1, 4)), PANCREAS: box_mask(SHAPE, (5, 8), (1, 4), (1, 4))}
    layers = [layer(others, looked_for=[LIVER])]
    with pytest.raises(MemoryError):
        scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, [])
    assert state_of_scene(app) == before


def test_failure_leaves_surfaces_away_and_says_so(app, scene, monkeypatch):
    from GenesisSegmentLib.mrml import result as module

    volume = add_volume(app)
    node = segment(scene, volume)
    scene.update_3d(node.GetID())
    monkeypatch.setattr(module, "write_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segment(scene, volume)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert scene.is_3d_suspended(node.GetID())


def test_result_over_shown_surfaces_makes_none_until_they_are_wanted(app, scene):
    volume = add_volume(app)
    node = segment(scene, volume)
    scene.update_3d(node.GetID())
    segment(scene, volume)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert scene.is_3d_suspended(node.GetID())
    scene.update_3d(node.GetID())
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_result_for_a_removed_ct_is_refused(app, scene):
    volume = add_volume(app)
    snapshot = scene.snapshot(volume.GetID())
    app.scene.RemoveNode(volume)
    with pytest.raises(GoneError):
        scene.write_result(snapshot, layers_of(masks_of_a_patient()), TEXT, [])
    assert nodes_of(app.scene, "vtkMRMLSegmentationNode") == []


def test_result_for_a_closed_scene_is_refused(app, scene):
    snapshot = scene.snapshot(add_volume(app).GetID())
    app.scene.Clear(False)
    with pytest.raises(GoneError):
        scene.write_result(snapshot, layers_of(masks_of_a_patient()), TEXT, [])


def test_result_for_a_ct_that_was_replaced_in_place_is_refused(app, scene):
    volume = add_volume(app)
    snapshot = scene.snapshot(volume.GetID())
    volume.SetAndObserveImageData(image_of(np.full((5, 6, 7), 40, np.int16)))
    with pytest.raises(InputError, match="changed while"):
        scene.write_result(snapshot, layers_of(masks_of_a_patient()), TEXT, [])


def test_early_class_is_shown_apart_and_replaced_by_the_result(app, scene):
    volume = add_volume(app, start=(5, 3, 2), transform=add_transform(app))
    snapshot = scene.snapshot(volume.GetID())
    expected = masks_of_a_patient()[LIVER]
    box = Box.around(expected)
    scene.write_partial(snapshot, LIVER, box, expected[box.slices])
    scene.write_partial(snapshot, LIVER, box, expected[box.slices])
    (early,) = nodes_of(app.scene, "vtkMRMLSegmentationNode")
    assert scene.segmentation_of(volume.GetID()) is None
    assert early.GetDisplayVisibility()
    np.testing.assert_array_equal(mask(early, "liver"), expected)
    np.testing.assert_allclose(
        slicer_centroid(early, "liver"), world_centroid(expected, geometry_of(volume)), atol=1e-3
    )
    node_id = scene.write_result(snapshot, layers_of(masks_of_a_patient()), TEXT, [])
    remaining = {n.GetID() for n in nodes_of(app.scene, "vtkMRMLSegmentationNode")}
    assert remaining == {node_id, proposal_of(app.scene.GetNodeByID(node_id)).GetID()}


def test_early_classes_can_be_discarded_without_a_trace(app, scene):
    volume = add_volume(app)
    segment(scene, volume)
    before = state_of_scene(app)
    snapshot = scene.snapshot(volume.GetID())
    scene.write_partial(snapshot, LEFT_KIDNEY, Box((1, 1, 1), (3, 3, 3)), np.ones((2, 2, 2), bool))
    scene.discard_partials(snapshot)
    assert state_of_scene(app) == before


@pytest.mark.parametrize("box", [Box((20, 1, 1), (26, 3, 3)), Box((-1, 1, 1), (5, 3, 3)), Box((1, 1, 1), (4, 4, 4))])
def test_early_class_outside_the_ct_is_refused(app, scene, box):
    snapshot = scene.snapshot(add_volume(app).GetID())
    shape = (3, 3, 4) if box.stop == (4, 4, 4) else box.shape
    with pytest.raises(GeometryError):
        scene.write_partial(snapshot, LIVER, box, np.ones(shape, bool))


def test_early_class_of_a_changed_ct_is_not_shown(app, scene):
    volume = add_volume(app, an_oblique_geometry(SHAPE))
    snapshot = scene.snapshot(volume.GetID())
    volume.SetOrigin(0, 0, 0)
    scene.write_partial(snapshot, LIVER, Box((1, 1, 1), (3, 3, 3)), np.ones((2, 2, 2), bool))
    assert nodes_of(app.scene, "vtkMRMLSegmentationNode") == []


@pytest.mark.parametrize("is_removed", [False, True], ids=["moved", "removed"])
def test_early_class_of_a_ct_that_changes_while_it_is_copied_is_not_shown(app, scene, monkeypatch, is_removed):
    monkeypatch.setattr(partial, "_PIECE_VOXELS", 1)
    volume = add_volume(app, an_oblique_geometry(SHAPE))
    snapshot = scene.snapshot(volume.GetID())
    work = scene.writing_partial(snapshot, LIVER, Box((1, 1, 1), (3, 3, 3)), np.ones((2, 2, 2), bool))
    next(work)
    app.scene.RemoveNode(volume) if is_removed else volume.SetOrigin(0, 0, 0)
    finished(work)
    assert nodes_of(app.scene, "vtkMRMLSegmentationNode") == []
