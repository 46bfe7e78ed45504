"""What prompts are answered from, how the answer is written, and its preview; on an oblique CT under a transform."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from GenesisSegmentLib.core.errors import GenesisError  # noqa: E402
from GenesisSegmentLib.core.geometry import Box  # noqa: E402
from GenesisSegmentLib.core.pieces import finished  # noqa: E402
from GenesisSegmentLib.core.refining_messages import CLOSED, SEGMENT  # noqa: E402
from GenesisSegmentLib.mrml.nodes import PREVIEW, parts_of  # noqa: E402
from GenesisSegmentLib.mrml.reading import read_mask  # noqa: E402
from GenesisSegmentLib.mrml.tags import LockedError  # noqa: E402
from GenesisSegmentLib.mrml.volumes import placement  # noqa: E402
from mrml_builders import LIVER, LIVER_TUMOR, SHAPE, SPLEEN, masks_of_a_patient, segment  # noqa: E402

MASKS = masks_of_a_patient()


@pytest.fixture
def node(scene, editor, volume):
    node = segment(scene, volume)
    editor.work_on(node)
    return node


def bits(scene, node, segment_id, box=None):
    return finished(scene.reading_surroundings(node.GetID(), segment_id, box or Box.whole(SHAPE)))


def add_own(node, volume, mask):
    from GenesisSegmentLib.mrml.arrays import label_image

    place = placement(volume)
    own = slicer.vtkSegment()
    own.SetName("Node")
    own.SetLabelValue(1)
    own.AddRepresentation("Binary labelmap", label_image(mask.astype(np.uint8), place.matrix, place.start))
    node.GetSegmentation().AddSegment(own, "own")


def test_organs_close_their_voxels_to_each_other_and_tumours_do_not(scene, node):
    found = bits(scene, node, "liver")
    others = [mask for index, mask in MASKS.items() if index not in (LIVER, LIVER_TUMOR)]
    assert ((found & SEGMENT) != 0).tolist() == MASKS[LIVER].tolist()
    assert ((found & CLOSED) != 0).tolist() == np.logical_or.reduce(others).tolist()
    tumour = bits(scene, node, "liver_tumor")
    assert ((tumour & SEGMENT) != 0).tolist() == MASKS[LIVER_TUMOR].tolist()
    assert not (tumour & CLOSED).any()


@pytest.mark.parametrize("what", ["overwriting", "visibility", "lock", "tick"])
def test_it_is_noticed_that_segments_may_take_other_voxels_of_each_other(scene, editor, node, what):
    modes = slicer.vtkMRMLSegmentEditorNode
    chosen = editor.logic.GetSegmentEditorNode()
    chosen.SetOverwriteMode(modes.OverwriteVisibleSegments)
    before = scene.rules(node.GetID())
    assert scene.rules(node.GetID()) == before
    if what == "overwriting":
        chosen.SetOverwriteMode(modes.OverwriteNone)
    elif what == "visibility":
        scene.set_visible(node.GetID(), "spleen", False)
    else:
        (scene.set_locked if what == "lock" else scene.set_reviewed)(node.GetID(), "spleen", True)
    assert scene.rules(node.GetID()) != before


def test_a_box_of_the_ct_holds_what_the_whole_holds_there(scene, node):
    box = Box((3, 2, 1), (20, 15, 12))
    np.testing.assert_array_equal(bits(scene, node, "spleen", box), bits(scene, node, "spleen")[box.slices])


def test_a_structure_of_ones_own_may_lie_in_a_locked_organ_that_keeps_its_voxels(scene, node, volume):
    add_own(node, volume, np.zeros(SHAPE, bool))
    scene.set_locked(node.GetID(), "liver", True)
    assert not (bits(scene, node, "own") & CLOSED).any()


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_where_voxels_are_taken_from_others_those_of_protected_segments_are_closed(scene, editor, node, protect):
    editor.logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    assert not (bits(scene, node, "liver") & CLOSED).any()
    getattr(scene, protect)(node.GetID(), "spleen", True)
    assert ((bits(scene, node, "liver") & CLOSED) != 0).tolist() == MASKS[SPLEEN].tolist()


def test_a_segment_that_is_gone_is_told(scene, node):
    with pytest.raises(GenesisError, match="no longer there"):
        bits(scene, node, "nothing")


def test_an_answer_is_drawn_in_its_box_as_one_step_of_undo(scene, editor, node, volume):
    grid = placement(volume).geometry
    box = Box((1, 2, 3), (15, 16, 12))
    mask = np.random.default_rng(1).random(box.shape) < 0.5
    finished(scene.redrawing(node.GetID(), "liver", box, mask))
    expected = MASKS[LIVER].copy()
    expected[box.slices] = mask
    np.testing.assert_array_equal(read_mask(node, "liver", grid), expected)
    np.testing.assert_array_equal(read_mask(node, "spleen", grid), MASKS[SPLEEN])
    editor.undo()
    np.testing.assert_array_equal(read_mask(node, "liver", grid), MASKS[LIVER])


def test_an_answer_for_a_locked_segment_is_refused(scene, node):
    scene.set_locked(node.GetID(), "liver", True)
    box = Box((1, 2, 3), (5, 6, 7))
    with pytest.raises(LockedError):
        finished(scene.redrawing(node.GetID(), "liver", box, np.ones(box.shape, bool)))


def test_a_preview_lies_where_its_box_lies_and_the_next_one_takes_its_place(scene, app, node, volume):
    grid = placement(volume).geometry
    for start in ((2, 3, 4), (5, 1, 2)):
        box = Box(start, tuple(a + 4 for a in start))
        finished(scene.showing_preview(node.GetID(), box, np.ones(box.shape, bool)))
        (shown,) = parts_of(app.scene, volume.GetID(), PREVIEW)
        assert Box.around(read_mask(shown, "preview", grid)) == box
        assert not shown.GetSaveWithScene()
    scene.hide_preview()
    assert not parts_of(app.scene, volume.GetID(), PREVIEW)


def test_a_new_lesion_is_begun_drawn_and_undone(scene, editor, node, volume):
    from GenesisSegmentLib.core.classes import class_table

    pancreas_tumor = class_table()[28]
    segment_id = scene.add_segment(node.GetID(), 28)
    segment = node.GetSegmentation().GetSegment(segment_id)
    assert (segment_id, segment.GetName()) == (pancreas_tumor.slug, pancreas_tumor.name)
    assert next(s for s in scene.segments(node.GetID()) if s.segment_id == segment_id).class_index == 28
    box = Box((3, 3, 3), (6, 6, 6))
    finished(scene.redrawing(node.GetID(), segment_id, box, np.ones(box.shape, bool)))
    assert Box.around(read_mask(node, segment_id, placement(volume).geometry)) == box
    editor.undo()
    editor.undo()
    assert node.GetSegmentation().GetSegment(segment_id) is None


def test_structures_of_ones_own_get_names_of_their_own(scene, node):
    ids = [scene.add_segment(node.GetID(), 0) for _n in range(3)]
    found = {s.segment_id: s for s in scene.segments(node.GetID())}
    assert [found[i].name for i in ids] == ["Structure", "Structure 2", "Structure 3"]
    assert [found[i].class_index for i in ids] == [0, 0, 0]
    assert len({found[i].color for i in ids}) == 3
