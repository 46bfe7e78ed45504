"""Reviewing, correcting and exporting a result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.workflow.ports import Guarded
from GenesisSegmentLib.core.workflow.states import State
from scene_fakes import segment_state
from workflow_fakes import Bench, reviewing_bench


@pytest.fixture
def bench() -> Bench:
    return reviewing_bench()


def row(bench, segment_id):
    return next(r for r in bench.view.correct.rows if r.segment.segment_id == segment_id)


def test_edits_from_outside_are_counted_once_it_is_quiet(bench):
    for _ in range(5):
        bench.controller.segmentation_edited()
        bench.wait(0.5)
    assert "count_changes" not in bench.scene.names()
    bench.wait(1)
    assert bench.scene.names().count("count_changes") == 1


def test_segment_of_the_persons_own_appears_while_correcting(bench):
    bench.controller.edit(True)
    bench.scene.rows["seg-ct1"].append(replace(segment_state(1), segment_id="own", name="Own", class_index=0))
    bench.controller.segmentation_edited()
    bench.wait(0.5)
    own = row(bench, "own")
    assert own.change_text == "your own"
    assert "your own" in own.reset.tip
    assert not own.reset.is_enabled


def test_lock_and_review_are_told_to_the_scene_and_shown(bench):
    bench.controller.set_locked("liver", True)
    bench.controller.set_reviewed("spleen", True)
    bench.controller.set_visible("aorta", False)
    assert row(bench, "liver").lock.is_checked
    assert row(bench, "spleen").review.is_checked
    assert not row(bench, "aorta").segment.is_visible
    assert bench.view.correct.reviewed_note == "1 of 7 structures are reviewed."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"changed_voxels": 9}, ""),
        ({"changed_voxels": None}, ""),
        ({"changed_voxels": 0}, "It is as the model proposed it."),
        ({"changed_voxels": 9, "is_locked": True}, "It is locked: open it first."),
        ({"changed_voxels": 9, "is_reviewed": True}, "It is marked as reviewed: take the tick away first."),
    ],
)
def test_reset_is_possible_for_what_is_neither_locked_nor_reviewed(bench, changes, reason):
    bench.scene.rows["seg-ct1"] = [segment_state(6, **changes)]
    bench.controller.segmentation_edited()
    bench.wait(2)
    control = row(bench, "liver").reset
    assert control.is_enabled is (reason == "")
    assert not reason or control.tip == reason
    bench.controller.reset_segment("liver")
    is_protected = changes.get("is_locked") or changes.get("is_reviewed")
    assert ("reset" in bench.scene.names()) is (not is_protected)


def test_difference_follows_the_selected_segment(bench):
    bench.controller.select_segment("liver")
    bench.controller.show_difference(True)
    bench.controller.select_segment("spleen")
    bench.controller.show_difference(False)
    assert bench.scene.calls == [
        ("show_difference", "liver"),
        ("show_difference", "spleen"),
        ("hide_difference", "seg-ct1"),
    ]
    assert bench.view.correct.selected == "spleen"


def test_segments_that_do_not_exist_are_not_touched(bench):
    bench.controller.select_segment("nobody")
    bench.controller.set_locked("nobody", True)
    bench.controller.reset_segment("nobody")
    assert bench.scene.calls == []
    assert bench.view.correct.selected != "nobody"


def test_proposal_and_3d(bench):
    bench.controller.show_proposal(True)
    bench.controller.update_3d()
    bench.wait()
    assert bench.scene.calls == [("show_proposal", True), ("update_3d", "seg-ct1")]
    assert bench.view.correct.show_proposal.is_checked


def test_segmenting_again_says_what_is_replaced(bench):
    assert "neither locked nor reviewed are replaced" in bench.view.segment.segment.tip


# --- Export -----------------------------------------------------------------------------------------------------------


def test_export_says_what_is_missing_until_nothing_is(bench, tmp_path):
    bench.controller.choose_formats(())
    assert bench.view.export.export.tip == "Choose at least one format."
    bench.controller.choose_formats(("csv",))
    assert bench.view.export.export.tip == "Choose a folder first."
    bench.controller.choose_folder(tmp_path)
    assert bench.view.export.export.is_enabled


def test_export_writes_the_chosen_formats_in_the_paint_order(bench, tmp_path):
    bench.controller.choose_folder(tmp_path)
    bench.controller.choose_formats(("nii.gz", "seg.nrrd"))
    bench.controller.move_paint(1, 99)
    bench.controller.export()
    bench.wait(1)
    ((_, request),) = [call for call in bench.scene.calls if call[0] == "export"]
    assert (request.folder, request.formats) == (tmp_path, ("seg.nrrd", "nii.gz"))
    assert request.paint_order == (2, 3, 6, 8, 16, 17, 1)
    assert bench.view.export.last_files == (str(tmp_path / "result.seg.nrrd"), str(tmp_path / "result.nii.gz"))
    assert bench.view.status.text == f"2 files were written to {tmp_path}: result.seg.nrrd, result.nii.gz."


def test_what_was_put_back_into_protected_structures_is_told(bench):
    bench.controller.edit(True)
    bench.scene.taken = ("Liver", "Spleen")
    bench.controller.segmentation_edited()
    bench.wait(1)
    assert bench.view.status.text.endswith("put back: Liver, Spleen.")
    assert bench.view.status.kind == "warning"


@pytest.mark.parametrize("where", ["editor", "editor that was left", "elsewhere"])
def test_change_by_others_that_was_put_back_can_be_undone(bench, where):
    if where != "elsewhere":
        bench.controller.edit(True)
    if where == "editor that was left":
        bench.controller.edit(False)
    bench.scene.taken = ("Liver",)
    bench.controller.segmentation_edited(() if where == "elsewhere" else ("Paint",))
    bench.wait(0.5)
    text, is_told = bench.view.status.text, where == "elsewhere"
    assert "put back: Liver." in text
    assert ("Undo brings the change back, and takes the lock or tick away." in text) is is_told
    assert bench.view.correct.undo.is_enabled
    bench.scene.taken = ("Liver",)
    bench.controller.segmentation_edited()
    bench.wait(0.5)
    assert ("Undo brings" in bench.view.status.text) is (where != "editor"), "no tool was used for this one"


def test_structures_that_undo_took_the_marks_of_are_named_and_shown_without(bench):
    bench.controller.set_reviewed("liver", True)
    bench.wait()
    bench.scene.unmarked = ("Liver",)
    bench.scene.set_reviewed("seg-ct1", "liver", False)
    bench.controller.undone(True)
    bench.wait()
    assert bench.view.status.kind == "warning"
    assert bench.view.status.text.endswith("because they were changed by Undo or Redo, or removed: Liver.")
    assert not row(bench, "liver").review.is_checked


@pytest.mark.parametrize("step", ["undone", "redone"])
def test_what_is_put_back_after_undo_or_redo_is_no_step_of_its_own(bench, step):
    bench.controller.undone(True)
    bench.wait()
    bench.scene.taken = ("Liver",)
    getattr(bench.controller, step)(True)
    bench.wait()
    assert "put back: Liver." in bench.view.status.text
    assert "Undo brings the change back" not in bench.view.status.text
    assert bench.view.correct.redo.is_enabled


def test_changed_voxels_are_counted_again_after_something_was_put_back(bench):
    bench.wait(2)
    bench.scene.calls.clear()
    bench.scene.taken = ("Liver",)
    bench.controller.set_visible("aorta", False)
    bench.wait(2)
    assert bench.scene.names().count("count_changes") == 1


def test_marks_that_are_set_right_again_after_undo_are_shown(bench, monkeypatch):
    def guarding(segmentation_id, _is_in_editor):
        yield
        bench.scene.set_reviewed(segmentation_id, "liver", True)
        return Guarded()

    monkeypatch.setattr(bench.scene, "guarding", guarding)
    bench.controller.segmentation_edited()
    bench.wait(0.5)
    assert row(bench, "liver").review.is_checked


def test_ticks_are_needed_after_an_edit_until_the_segments_were_looked_at(bench):
    bench.wait(2)
    assert not bench.view.is_awake
    bench.controller.stop()
    bench.controller.segmentation_edited()
    assert bench.view.is_awake
    bench.scene.taken = ("Liver",)
    bench.wait(0.5)
    assert not bench.view.is_awake
    assert "put_back" in bench.scene.names()


@pytest.mark.parametrize(("mark", "note"), [("is_locked", "Open it to"), ("is_reviewed", "Take the tick away to")])
def test_why_no_tool_can_be_used_on_the_selected_structure_is_told(bench, mark, note):
    bench.scene.rows["seg-ct1"] = [segment_state(6, **{mark: True}), segment_state(1)]
    bench.controller.edit(True)
    bench.controller.select_segment("liver")
    assert f"so no tool can be used on it. {note} correct it." in bench.view.correct.note
    bench.controller.select_segment("spleen")
    assert "no tool can be used" not in bench.view.correct.note


def test_dicom_seg_is_offered_for_cts_from_dicom_alone(bench, tmp_path):
    bench.controller.choose_folder(tmp_path)
    bench.controller.choose_formats(("dicom",))
    choice = next(c for c in bench.view.export.formats if c.value == "dicom")
    assert not choice.is_enabled
    assert "DICOM database" in choice.tip
    assert bench.view.export.chosen == ()
    assert bench.view.export.export.tip == "Choose at least one format."
    bench.scene.dicom.add("ct1")
    bench.controller.choose_volume(None)
    bench.controller.choose_volume("ct1")
    assert next(c for c in bench.view.export.formats if c.value == "dicom").is_enabled
    assert bench.view.export.chosen == ("dicom",)


@pytest.mark.parametrize("where", ["export", "writing"])
def test_export_that_fails_says_why_and_names_no_files(bench, tmp_path, where):
    bench.controller.choose_folder(tmp_path)
    bench.controller.export()
    bench.wait(1)
    assert bench.view.export.last_files != ()
    bench.scene.refusing.add(where)
    bench.controller.export()
    bench.wait(1)
    assert bench.view.export.last_files == ()
    assert bench.view.status.text == f"{where} is not possible. Do something else."
    assert (bench.state, bench.view.status.kind) == (State.REVIEWING, "error")


@pytest.mark.parametrize(
    ("index", "step", "order"),
    [
        (6, -1, (1, 2, 6, 3, 8, 16, 17)),
        (6, 1, (1, 2, 3, 8, 6, 16, 17)),
        (1, -1, (1, 2, 3, 6, 8, 16, 17)),
        (17, 1, (1, 2, 3, 6, 8, 16, 17)),
        (31, 1, (1, 2, 3, 6, 8, 16, 17)),
    ],
)
def test_paint_order_moves_one_step_and_stops_at_the_ends(bench, index, step, order):
    bench.controller.move_paint(index, step)
    assert tuple(int(choice.value) for choice in bench.view.export.paint_order) == order


def test_paint_order_is_kept_with_the_scene_beyond_the_classes_of_this_result(bench):
    bench.scene.parameters = replace(bench.scene.parameters, paint_order=(17, 31, 1))
    bench.controller.scene_loaded()
    bench.controller.move_paint(1, -1)
    assert bench.scene.parameters.paint_order == (1, 17, 2, 3, 6, 8, 16, 31)


def test_overlaps_are_looked_for_only_while_export_is_unfolded(bench, monkeypatch):
    asked, looking = [], bench.scene.finding_overlaps
    monkeypatch.setattr(bench.scene, "finding_overlaps", lambda node: asked.append(node) or looking(node))
    bench.controller.edit(True)
    bench.controller.edit(False)
    bench.controller.start()
    bench.reviewing()
    assert asked == []
    bench.controller.show_export(True)
    assert asked == ["seg-ct1"]
    bench.controller.show_export(False)
    bench.controller.start()
    assert asked == ["seg-ct1"]


def test_overlaps_are_named_with_the_one_that_is_seen(bench):
    bench.scene.overlaps = ((1, 6), (1, 30))
    bench.controller.show_export(True)
    assert bench.view.export.overlap_note == "In label maps each voxel has one structure: Liver over Spleen."
    bench.controller.move_paint(1, 99)
    assert bench.view.export.overlap_note.endswith("Spleen over Liver.")


def test_nothing_is_exported_during_a_run(bench, tmp_path):
    bench.controller.choose_folder(tmp_path)
    bench.controller.segment()
    bench.controller.export()
    assert "export" not in bench.scene.names()
    assert not bench.view.export.export.is_enabled


def test_reset_that_was_withheld_in_part_says_so(bench, monkeypatch):
    rows = bench.scene.rows["seg-ct1"]
    rows[0] = replace(rows[0], changed_voxels=1200)
    bench.controller.segmentation_edited()
    bench.wait(2)
    monkeypatch.setattr(bench.scene, "resetting", lambda *_arguments: iter(()))
    bench.controller.reset_segment(rows[0].segment_id)
    assert bench.view.status.kind == "warning"
    assert "still differs from the proposal in 1,200 voxels" in bench.view.status.text


def test_undo_and_redo_are_offered_for_what_can_be_undone(bench):
    correct = bench.view.correct
    assert (correct.undo.is_enabled, correct.undo.tip) == (False, "Nothing was changed yet.")
    bench.reviewing()
    assert bench.view.correct.undo.is_enabled
    assert "Undo brings the structures from before this run back." in bench.view.status.text
    bench.scene.calls.clear()
    bench.controller.undone(True)
    assert bench.scene.names() == ["count_changes"]
    assert bench.view.correct.redo.is_enabled
    bench.controller.undone(False)
    assert bench.view.status.text == "There is nothing to undo."
    assert not bench.view.correct.undo.is_enabled
    bench.controller.redone(True)
    assert bench.view.correct.undo.is_enabled
    bench.controller.redone(False)
    assert not bench.view.correct.redo.is_enabled
    bench.run("ct2")
    assert bench.view.correct.undo.tip == "Wait until the run has ended, or cancel it."


@pytest.mark.parametrize("keeps_undo", [True, False])
def test_scene_that_is_read_into_this_one_leaves_undo_as_the_editor_can_do_it(bench, keeps_undo):
    bench.reviewing()
    bench.scene.parameters = replace(bench.scene.parameters, volume_id="ct1")
    bench.controller.undone(True)
    bench.controller.scene_loaded(keeps_undo)
    correct = bench.view.correct
    assert (correct.undo.is_enabled, correct.redo.is_enabled) == (keeps_undo, keeps_undo)


def test_strokes_in_the_editor_can_be_undone(bench):
    bench.controller.segmentation_edited()
    assert not bench.view.correct.undo.is_enabled
    bench.controller.edit(True)
    bench.controller.segmentation_edited()
    assert bench.view.correct.undo.is_enabled
    bench.controller.edit(False)
    assert bench.view.correct.undo.is_enabled
    bench.controller.choose_volume("ct2")
    bench.controller.choose_volume("ct1")
    assert not bench.view.correct.undo.is_enabled
