from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.learning_messages import Ingest
from GenesisSegmentLib.core.workflow.states import State
from learning_fakes import FULL, LearningBench
from scene_fakes import SHAPE
from workflow_fakes import Bench


@pytest.fixture
def bench() -> LearningBench:
    bench = LearningBench()
    bench.reviewing()
    return bench


def test_accept_says_what_is_missing_until_something_is_reviewed(bench):
    assert not bench.accept.is_enabled
    assert "Tick what you looked at" in bench.accept.tip
    bench.review("liver")
    assert bench.accept.is_enabled
    bench.controller.set_reviewed("liver", False)
    assert not bench.accept.is_enabled


def test_without_a_result_there_is_nothing_to_accept():
    bench = LearningBench()
    assert bench.accept.is_visible
    assert "no result yet" in bench.accept.tip


def test_without_a_place_for_corrections_the_button_is_hidden():
    bench = Bench()
    bench.reviewing()
    assert not bench.view.correct.accept.is_visible
    bench.controller.set_reviewed("liver", True)
    bench.controller.accept()
    assert not bench.view.correct.accept.is_enabled


def test_reviewed_structures_are_kept_and_nothing_else(bench):
    bench.review("liver", "spleen")
    bench.accept_all()
    (kept,) = bench.corrections.kept
    assert [c.label for c in kept.classes] == ["spleen", "liver"]
    assert kept.volume.geometry.shape == SHAPE
    assert (kept.patient, kept.model, kept.model_sha256) == ("patient 1", "starter", "0" * 64)
    assert kept.accepted
    assert bench.view.status.kind == "good"
    assert "Liver" in bench.view.status.text
    assert str(bench.corrections.folder) in bench.view.status.text


def test_what_was_taken_from_reviewed_structures_is_put_back_before_they_are_read(bench):
    bench.review("liver")
    seen = []
    bench.scene.taken, bench.scene.while_reading = ("Liver",), lambda: seen.append(bench.scene.taken)
    bench.accept_all()
    assert seen == [()]
    assert bench.view.correct.undo.is_enabled, "the change can be had back"


def test_it_is_written_by_a_thread_and_the_button_says_so_until_it_is_on_disk(bench):
    bench.review("liver")
    bench.corrections.is_open.clear()
    bench.controller.accept()
    bench.wait(0.3)
    assert bench.view.correct.accept_text == "Accepting..."
    assert not bench.accept.is_enabled
    assert "written to disk" in bench.accept.tip
    assert bench.view.status.kind == "busy"
    assert not bench.view.status.cancel.is_enabled
    assert not bench.view.segment.segment.is_enabled
    bench.controller.accept()
    bench.corrections.is_open.set()
    bench.settle()
    assert bench.corrections.threads == ["accept"]
    assert bench.accept.is_enabled
    assert bench.view.correct.accept_text == "Accept reviewed structures"


def test_copying_takes_no_callback_for_long(bench):
    bench.review("liver")
    bench.scene.pieces, bench.scene.piece_s = 50, 0.004
    before = bench.clock.now
    bench.controller.accept()
    assert bench.clock.now - before <= 0.016
    assert bench.view.is_working


@pytest.mark.parametrize("error", [FULL, PermissionError(13, "Permission denied"), MemoryError()])
def test_what_could_not_be_written_was_not_accepted_and_it_says_so(bench, error):
    bench.review("liver")
    bench.corrections.error = error
    bench.accept_all()
    assert bench.corrections.kept == []
    assert bench.view.status.kind == "error"
    assert bench.view.status.text.startswith("Nothing was accepted; the reviewed ticks stay.")
    if error is FULL:
        assert "The disk is full. Free some space" in bench.view.status.text
    assert next(row.segment for row in bench.view.correct.rows if row.segment.segment_id == "liver").is_reviewed
    assert bench.accept.is_enabled
    assert bench.learner.count(Ingest) == 0
    assert bench.scene.accepted == {}


@pytest.mark.parametrize("method", ["copying", "copy", "reading_reviewed"])
def test_what_could_not_be_read_was_not_accepted_and_it_says_so(bench, method):
    bench.review("liver")
    bench.scene.refusing.add(method)
    bench.accept_all()
    assert bench.corrections.kept == []
    assert "Nothing was accepted" in bench.view.status.text
    assert "Do something else." in bench.view.status.text
    assert bench.accept.is_enabled


def test_a_ct_that_changes_while_it_is_read_is_not_accepted(bench):
    bench.review("liver")
    bench.scene.while_reading = lambda: bench.scene.fingerprints.update(ct1="other")
    bench.accept_all()
    assert bench.corrections.kept == []
    assert "The CT was changed meanwhile" in bench.view.status.text


def test_accepting_the_same_again_adds_nothing_and_says_so(bench):
    bench.review("liver")
    bench.accept_all()
    bench.accept_all()
    assert len(bench.corrections.kept) == 1
    assert bench.learner.count(Ingest) == 1
    assert "Nothing has changed since this was accepted" in bench.view.status.text
    bench.scene.masks["liver"] = np.eye(5, 4, dtype=bool)[..., None] & np.ones(SHAPE, bool)
    bench.accept_all()
    assert len(bench.corrections.kept) == 2
    assert bench.corrections.kept[0].id != bench.corrections.kept[1].id


ONE_VOXEL_LESS = np.ones(SHAPE, bool)
ONE_VOXEL_LESS[0, 0, 0] = False


@pytest.mark.parametrize(
    ("presses", "kept"),
    [
        (("same",), [1]),
        (("same", "same"), [1, 1]),
        (("same", "same", "same"), [1, 1, 2]),
        (("same",) * 5, [1, 1, 2, 2, 3]),
        (("same", "same", "other"), [1, 1, 2]),
        (("same", "same", "other", "other"), [1, 1, 2, 2]),
        (("same", "same", "other", "other", "other"), [1, 1, 2, 2, 3]),
        (("same", "same", "full", "same"), [1, 1, 1, 2]),
    ],
)
def test_whoever_is_told_that_nothing_changed_and_accepts_again_keeps_it_again(bench, presses, kept):
    bench.review("liver")
    counts = []
    for press in presses:
        bench.corrections.error = FULL if press == "full" else None
        if press == "other":
            bench.scene.masks["liver"] = ONE_VOXEL_LESS
        bench.accept_all()
        counts.append(len(bench.corrections.kept))
        if press != "full":
            is_new = counts[-1] > (counts[-2] if counts[1:] else 0)
            assert ("Accept again" in bench.view.status.text) != is_new
            assert ("safe on disk" in bench.view.status.text) == is_new
    assert counts == kept
    assert len({each.id for each in bench.corrections.kept}) == kept[-1]


def test_effort_is_not_lost_where_nothing_was_added(bench):
    bench.review("liver")
    bench.accept_all()
    bench.controller.edit(True)
    bench.wait(3.0)
    bench.controller.segmentation_edited(("Paint",))
    bench.controller.edit(False)
    for _press in range(2):
        bench.accept_all()
    again = bench.corrections.kept[-1]
    assert (again.seconds, again.tools) == (pytest.approx(3.0, abs=0.3), ("Paint",))


def test_the_learner_is_told_of_it_and_not_the_process_that_segments(bench):
    bench.review("liver")
    bench.accept_all()
    assert bench.learner.last(Ingest).outbox == str(bench.corrections.folder)
    assert bench.worker.count(Ingest) == 0


def test_time_is_counted_while_correcting_and_only_then(bench):
    bench.wait(5.0)
    bench.controller.edit(True)
    bench.wait(12.0)
    bench.controller.segmentation_edited(("Paint",))
    bench.controller.segmentation_edited(("Erase", "Paint"))
    bench.controller.edit(False)
    bench.controller.segmentation_edited(("Threshold",))
    bench.wait(7.0)
    bench.review("liver")
    bench.accept_all()
    (kept,) = bench.corrections.kept
    assert kept.seconds == pytest.approx(12.0, abs=0.3)
    assert kept.tools == ("Erase", "Paint")


def test_a_computer_that_slept_corrected_nothing_meanwhile(bench):
    bench.controller.edit(True)
    bench.wait(1.0)
    bench.clock.now += 3600.0
    bench.wait(1.0)
    bench.controller.edit(False)
    bench.review("liver")
    bench.accept_all()
    assert bench.corrections.kept[0].seconds < 5.0


def test_leaving_the_module_ends_the_count(bench):
    bench.controller.edit(True)
    bench.wait(2.0)
    bench.controller.stop()
    bench.wait(30.0)
    bench.controller.start()
    bench.review("liver")
    bench.accept_all()
    assert bench.corrections.kept[0].seconds == pytest.approx(2.0, abs=0.3)


def test_effort_is_accepted_once_but_is_not_lost_by_a_failure(bench):
    bench.controller.edit(True)
    bench.wait(4.0)
    bench.controller.segmentation_edited(("Paint",))
    bench.controller.edit(False)
    bench.review("liver")
    bench.corrections.error = FULL
    bench.accept_all()
    bench.corrections.error = None
    bench.accept_all()
    bench.review("spleen")
    bench.accept_all()
    first, second = bench.corrections.kept
    assert (first.seconds, first.tools) == (pytest.approx(4.0, abs=0.3), ("Paint",))
    assert (second.seconds, second.tools) == (0.0, ())


def test_a_scene_that_closes_while_it_is_read_accepts_nothing(bench):
    bench.review("liver")
    bench.scene.pieces, bench.scene.piece_s = 50, 0.004
    bench.controller.accept()
    bench.controller.scene_about_to_close()
    bench.scene.results.clear()
    bench.controller.scene_closed()
    bench.settle()
    assert bench.corrections.kept == []
    assert "Nothing was accepted" in bench.view.status.text


def test_a_scene_that_closes_while_it_is_written_loses_nothing(bench):
    bench.review("liver")
    bench.corrections.is_open.clear()
    bench.controller.accept()
    bench.wait(0.3)
    bench.scene.refusing.add("remember_accepted")
    bench.controller.scene_about_to_close()
    bench.scene.remove("ct1")
    bench.controller.scene_closed()
    bench.corrections.is_open.set()
    bench.settle()
    assert len(bench.corrections.kept) == 1
    assert "Accepted and safe on disk" in bench.view.status.text
    assert bench.learner.count(Ingest) == 1


def test_it_waits_for_a_run(bench):
    bench.review("liver")
    bench.controller.segment()
    assert bench.state is State.PREDICTING
    assert "run has ended" in bench.accept.tip
    bench.controller.accept()
    bench.settle()
    assert bench.corrections.kept == []
