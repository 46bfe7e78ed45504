"""What takes a look at every voxel is done once for each state of the segmentation, and never too seldom."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.mrml import scene as scene_module
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.versions import voxels_version
from mrml_builders import LIVER, SPLEEN, add_transform, add_volume, masks_of_a_patient, segment

BOX = Box((1, 1, 1), (3, 3, 3))


@pytest.fixture
def node(app, scene):
    masks = masks_of_a_patient()
    return segment(scene, add_volume(app, transform=add_transform(app)), {i: masks[i] for i in (LIVER, SPLEEN)})


@pytest.fixture
def looks(monkeypatch):
    """Which looks at all voxels were taken."""
    seen = []
    count, overlap = scene_module.counting, scene_module.overlapping
    monkeypatch.setattr(scene_module, "counting", lambda *a: seen.append("changes") or count(*a))
    monkeypatch.setattr(scene_module, "overlapping", lambda *a: seen.append("overlaps") or overlap(*a))
    return seen


def add(editor, node):
    editor.write(node, "spleen", Edit(BOX, np.ones(BOX.shape, bool), np.zeros(BOX.shape, bool)))


def rename(editor, node):
    node.GetSegmentation().GetSegment("spleen").SetName("Milz")


def undo(editor, node):
    editor.undo()


def move(editor, node):
    volume_of(node).SetOrigin(1, 2, 3)


def replace_voxels(editor, node):
    mask = np.zeros(slicer.util.arrayFromVolume(volume_of(node)).shape, np.uint8)
    mask[2, 2, 2] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "spleen", volume_of(node))


def test_nothing_is_looked_at_twice(node, scene, looks):
    for _twice in range(2):
        scene.count_changes(node.GetID())
        scene.overlapping(node.GetID())
    assert looks == ["changes", "overlaps"]
    scene.set_locked(node.GetID(), "spleen", True)
    scene.set_visible(node.GetID(), "spleen", False)
    scene.count_changes(node.GetID())
    assert scene.overlapping(node.GetID()) == ()
    assert looks == ["changes", "overlaps"]


@pytest.mark.parametrize("change", [add, rename, undo, move, replace_voxels])
def test_every_change_is_looked_at(node, scene, editor, change):
    if change is undo:
        add(editor, node)
    before = voxels_version(node)
    change(editor, node)
    assert voxels_version(node) != before


def test_counts_follow_edits_and_undo(node, scene, editor):
    def changed():
        scene.count_changes(node.GetID())
        return next(s.changed_voxels for s in scene.segments(node.GetID()) if s.segment_id == "spleen")

    assert changed() == 0
    add(editor, node)
    assert changed() == 8
    editor.undo()
    assert changed() == 0
