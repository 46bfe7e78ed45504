"""The measurement table says what the segments are, not what they once were."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from builders import ct_voxels
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.workflow.ports import ExportRequest
from GenesisSegmentLib.engine.measure import measure
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.reading import read_segmentation
from GenesisSegmentLib.mrml.table import cells_of, table_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    LIVER,
    LIVER_TUMOR,
    SHAPE,
    SPLEEN,
    TEXT,
    add_transform,
    add_volume,
    box_mask,
    layers_of,
    masks_of_a_patient,
    row,
)

BOX = Box((0, 0, 0), (3, 4, 5))


def rows_of_a_patient():
    masks = masks_of_a_patient()
    rows = [row(c, "x", voxels=int(m.sum()), volume_ml=1.5, mean_hu=50.0) for c, m in sorted(masks.items())]
    rows[-1] |= {"lesion_count": 1}
    lesion = row(LIVER_TUMOR, "x", lesion=1, voxels=60, longest_mm=12.5, perpendicular_mm=7.0)
    return [*rows, lesion]


def run(app, scene, volume, masks=None, rows=None):
    layers = layers_of(masks_of_a_patient() if masks is None else masks)
    rows = rows_of_a_patient() if rows is None else rows
    return app.scene.GetNodeByID(scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, rows))


@pytest.fixture
def node(app, scene):
    return run(app, scene, add_volume(app, start=(5, 3, -2), transform=add_transform(app)))


def table(node):
    """Rows by structure; lesions as (structure, number)."""
    titles, *rows = cells_of(table_of(node).GetTable())
    dicts = [dict(zip(titles, cells, strict=True)) for cells in rows]
    result = {(d["Structure"], d["Lesion"]) if d["Lesion"] else d["Structure"]: d for d in dicts}
    assert len(result) == len(rows)
    return result


def add(editor, node, segment_id, box=BOX):
    editor.write(node, segment_id, Edit(box, np.ones(box.shape, bool), np.zeros(box.shape, bool)))


def erase(editor, node, segment_id):
    box = Box((0, 0, 0), SHAPE)
    editor.write(node, segment_id, Edit(box, np.zeros(SHAPE, bool), np.ones(SHAPE, bool)))


def test_changed_segment_measures_what_the_engine_would_measure(editor, node, scene):
    before = table(node)
    add(editor, node, "spleen")
    scene.count_changes(node.GetID())
    after = table(node)
    volume = scene.snapshot(volume_of(node).GetID()).volume
    np.testing.assert_array_equal(volume.voxels, ct_voxels(SHAPE))
    expected = measure(read_segmentation(node, placement(volume_of(node)).geometry), volume)
    spleen = next(m for m in expected if m.index == SPLEEN)
    assert spleen.touches_border
    assert (after["Spleen"]["Voxels"], after["Spleen"]["Volume (ml)"]) == (
        str(spleen.voxels),
        f"{spleen.volume_ml:.3f}",
    )
    assert after["Spleen"]["Mean (HU)"] == f"{spleen.mean_hu:.3f}"
    assert after["Spleen"]["SD (HU)"] == f"{spleen.sd_hu:.3f}"
    assert (after["Spleen"]["Reaches edge of scan"], after["Spleen"]["Note"]) == ("yes", "Changed by hand.")
    assert {k: v for k, v in after.items() if k != "Spleen"} == {k: v for k, v in before.items() if k != "Spleen"}


def test_diameters_of_a_changed_lesion_are_not_claimed_any_more(editor, node, scene):
    assert table(node)["Liver Tumor", "1"]["Longest axial diameter (mm)"] == "12.500"
    add(editor, node, "liver_tumor")
    scene.count_changes(node.GetID())
    assert ("Liver Tumor", "1") not in table(node)
    assert table(node)["Liver Tumor"]["Lesions"] == ""
    assert table(node)["Liver Tumor"]["Note"] == "Changed by hand: measure the lesions again."


@pytest.mark.parametrize("back", ["undo", "reset"])
def test_rows_of_the_model_are_back_where_its_voxels_are(editor, node, scene, back):
    before = table(node)
    add(editor, node, "liver_tumor")
    scene.count_changes(node.GetID())
    assert table(node) != before
    editor.undo() if back == "undo" else scene.reset_to_proposal(node.GetID(), "liver_tumor")
    scene.count_changes(node.GetID())
    assert table(node) == before


def test_emptied_and_deleted_segments_have_no_volume(editor, node, scene):
    erase(editor, node, "spleen")
    node.GetSegmentation().RemoveSegment("liver")
    scene.count_changes(node.GetID())
    assert (table(node)["Spleen"]["Voxels"], table(node)["Spleen"]["Mean (HU)"]) == ("0", "")
    assert "Liver" not in table(node)


def test_file_tells_changes_that_nobody_counted_yet(editor, node, scene, tmp_path):
    erase(editor, node, "spleen")
    request = ExportRequest(tmp_path, ("csv",), ())
    (path,) = scene.export(node.GetID(), volume_of(node).GetID(), request)
    with path.open(encoding="utf-8", newline="") as stream:
        assert next(r for r in csv.DictReader(stream) if r["Structure"] == "Spleen")["Voxels"] == "0"


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_run_says_nothing_of_a_segment_that_it_left_alone(app, scene, editor, node, protect):
    before = table(node)
    erase(editor, node, "liver")
    add(editor, node, "liver")
    for kept in ("liver", "spleen"):
        getattr(scene, protect)(node.GetID(), kept, True)
    run(app, scene, volume_of(node), rows=[{**r, "voxels": 777} for r in rows_of_a_patient()])
    assert table(node)["Liver"]["Voxels"] == str(np.prod(BOX.shape))
    assert table(node)["Spleen"] == before["Spleen"]
    assert table(node)["Right Kidney"]["Voxels"] == "777"


def test_run_of_some_classes_keeps_the_rows_of_the_others(app, scene, node):
    before = table(node)
    run(app, scene, volume_of(node), {LIVER: masks_of_a_patient()[LIVER]}, [row(LIVER, "x", voxels=777)])
    after = table(node)
    assert after["Liver"]["Voxels"] == "777"
    assert after.keys() == before.keys()
    assert {k: v for k, v in after.items() if k != "Liver"} == {k: v for k, v in before.items() if k != "Liver"}


def test_table_follows_undo_and_redo_of_a_run(app, editor, node, scene):
    first = table(node)
    masks = {LIVER: box_mask(SHAPE, (1, 4), (1, 4), (1, 4)), SPLEEN: np.zeros(SHAPE, bool)}
    run(app, scene, volume_of(node), masks, [row(SPLEEN, "x"), row(LIVER, "x", voxels=27, mean_hu=-3.0)])
    second = table(node)
    assert (second["Liver"]["Voxels"], second["Spleen"]["Voxels"]) == ("27", "0")
    assert second["Liver Tumor", "1"] == first["Liver Tumor", "1"]
    for step, expected in ((editor.undo, first), (editor.logic.Redo, second)):
        step()
        scene.count_changes(node.GetID())
        assert table(node) == expected
