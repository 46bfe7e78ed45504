"""Protected structures are put right before anything is made of them; a real scene behind the real controller."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.mrml.arrays import label_image, voxels
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import SHAPE, box_mask, segment
from scene_fakes import FakeClock
from workflow_fakes import FakeSettings, FakeSetup, ScriptedWorker

STROKE = ((9, 14), (5, 8), (3, 7))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def controller(scene, editor, volume, clock):
    """Reviews a result with a locked kidney, in an editor that overwrites all segments."""
    node = segment(scene, volume)
    controller = Controller(scene, ScriptedWorker(), FakeSetup(), FakeSettings(), clock)
    controller.start()
    controller.choose_volume(volume.GetID())
    controller.set_locked("kidney_right", True)
    editor.work_on(node)
    editor.logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    return controller


@pytest.fixture
def node(app, controller):
    return app.scene.GetNodeByID(controller.view.correct.segmentation_id)


def mask(node, volume, segment_id):
    return read_mask(node, segment_id, placement(volume).geometry)


def paint(editor, node, volume):
    """A stroke of the liver over the locked kidney, as Slicer's brush does it; nobody has told the controller yet."""
    place = placement(volume)
    image = label_image(box_mask(SHAPE, *STROKE), place.matrix, place.start)
    editor.logic.ModifySegmentByLabelmap(node, "liver", image, editor.logic.ModificationModeAdd, False, False)


def test_file_exported_right_after_a_stroke_has_the_locked_structure_whole(
    app, controller, editor, node, volume, tmp_path
):
    before = mask(node, volume, "kidney_right")
    controller.choose_folder(tmp_path)
    controller.choose_formats(("seg.nrrd",))
    paint(editor, node, volume)
    assert (mask(node, volume, "kidney_right") != before).any(), "Slicer's brush does not know of locks"
    controller.export()
    while controller.view.is_working:
        controller.tick()
    (file,) = controller.view.export.last_files
    written = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    written.AddDefaultStorageNode(file)
    assert written.GetStorageNode().ReadData(written)
    np.testing.assert_array_equal(mask(written, volume, "kidney_right"), before)


def test_structure_unlocked_right_after_a_stroke_is_whole(controller, editor, node, volume):
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume)
    controller.set_locked("kidney_right", False)
    while controller.view.is_working:
        controller.tick()
    assert not any(row.segment.is_locked for row in controller.view.correct.rows)
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)


def test_reset_right_after_a_stroke_leaves_the_locked_structure_whole(controller, editor, node, volume):
    before, liver = mask(node, volume, "kidney_right"), mask(node, volume, "liver")
    paint(editor, node, volume)
    controller.reset_segment("liver")
    while controller.view.is_working:
        controller.tick()
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)
    np.testing.assert_array_equal(mask(node, volume, "liver"), liver)
    assert controller.view.status.text.startswith("Liver is as the model proposed it.")


def test_ct_that_changes_while_it_is_copied_is_copied_anew(app, scene, volume):
    copying, image = scene.copying(volume.GetID()), volume.GetImageData()
    next(copying)
    voxels(image)[...] += 7
    image.GetPointData().GetScalars().Modified()
    snapshot = None
    while snapshot is None:
        try:
            next(copying)
        except StopIteration as end:
            snapshot = end.value
    np.testing.assert_array_equal(snapshot.volume.voxels, voxels(image))
    assert snapshot.fingerprint == scene.fingerprint(volume.GetID()) == scene.snapshot(volume.GetID()).fingerprint
