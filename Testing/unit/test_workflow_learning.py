from __future__ import annotations

from dataclasses import fields, replace

import pytest

from GenesisSegmentLib.core.learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningStatus,
    Pause,
    Stage,
)
from GenesisSegmentLib.core.protocol import Failure, Progress
from GenesisSegmentLib.core.workflow.view import Control
from learning_fakes import FULL, LIVER, SPLEEN, V1, V2, LearningBench, job_of, opened, round_ended

# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_part_is_hidden_until_something_was_accepted():
    bench = LearningBench()
    assert not bench.learn.is_visible
    bench.reviewing()
    bench.review("liver")
    bench.accept_all()
    bench.wait(0.3)
    assert bench.learn.is_visible
    assert "Accepted cases: 1; corrections: 1," in bench.learn.counts


def test_opening_the_module_starts_no_process():
    bench = LearningBench(is_started=False)
    bench.corrections.has_history = True
    bench.controller.start()
    bench.wait(30.0)
    assert bench.learn.is_visible
    assert bench.learner.commands == []


def test_counts_are_asked_for_when_they_are_to_be_seen(bench):
    assert bench.learner.count(LearningStatus) == 1
    assert "Accepted cases: 4; corrections: 9, of which new since the last round: 3." in bench.learn.counts
    assert "learn from: 3; to compare with: 1; never looked at before the end: 0" in bench.learn.counts
    bench.controller.show_learn(True)
    assert bench.learner.count(LearningStatus) == 1


def test_what_waits_on_disk_is_taken_in_before_it_is_counted():
    bench = LearningBench(is_started=False)
    bench.corrections.waiting = 2
    bench.controller.start()
    assert "safe on disk, and not yet taken into the case store: 2." in bench.learn.note
    bench.controller.show_learn(True)
    bench.wait(0.3)
    assert [type(c) for c in bench.learner.commands] == [Ingest, LearningStatus]
    assert bench.learn.note == ""


def test_what_is_accepted_while_others_are_taken_in_is_taken_in_as_well(bench):
    bench.learner.is_prompt = False
    bench.corrections.waiting = 1
    bench.controller._learning.accepted()
    bench.controller._learning.accepted()
    assert bench.learner.count(Ingest) == 1
    bench.tell(Ingested(bench.learner.last(Ingest).id, 1, 0))  # one more came meanwhile
    assert bench.learner.count(Ingest) == 2
    bench.corrections.waiting = 0
    bench.tell(Ingested(bench.learner.last(Ingest).id, 1, 0))
    assert bench.learner.count(Ingest) == 2
    assert bench.learner.count(LearningStatus) == 2


def test_a_file_that_stays_in_the_outbox_is_not_asked_for_over_and_over(bench):
    bench.learner.is_prompt = False
    bench.corrections.waiting = 1  # of a newer version, say
    bench.controller._learning.accepted()
    bench.tell(Ingested(bench.learner.last(Ingest).id, 0, 0))
    assert bench.learner.count(Ingest) == 1
    assert bench.learner.count(LearningStatus) == 2


def test_damaged_files_are_named(bench):
    bench.learner.is_prompt = False
    bench.controller._learning.accepted()
    bench.tell(Ingested(bench.learner.last(Ingest).id, 0, 0, ("1-a.accept.damaged",)))
    assert "Damaged files in the outbox were set aside: 1-a.accept.damaged." in bench.learn.note


def test_a_learner_that_cannot_start_says_why_and_what_was_accepted_is_safe(bench):
    bench.learner.is_prompt = False
    bench.corrections.waiting = 1
    bench.controller._learning.accepted()
    bench.tell(Failure(bench.learner.last(Ingest).id, "setup", "SQLAlchemy is missing.", "Install it."))
    assert bench.learn.note.startswith("SQLAlchemy is missing. Install it.")
    assert "safe on disk" in bench.learn.note
    assert bench.view.status.kind != "error"


def test_every_disabled_control_says_why(bench):
    stages = [bench.learn]
    bench.controller.learn()
    stages.append(bench.learn)
    bench.tell(Stage(job_of(bench), "paused", 3, 0.5))
    stages.append(bench.learn)
    bench.controller.stop_learning()
    stages.append(bench.learn)
    for part in (*stages, opened(train=0).learn, opened(versions=(V1, V2)).learn):
        controls = {f.name: getattr(part, f.name) for f in fields(part) if isinstance(getattr(part, f.name), Control)}
        assert len(controls) == 9
        assert all(c.tip for c in controls.values()), controls


# --- a round ----------------------------------------------------------------------------------------------------------


def test_a_round_shows_how_far_it_is(running):
    assert running.learn.fraction == 0.0
    assert running.learn.learn == replace(running.learn.learn, is_enabled=False, tip="A round is on already.")
    running.tell(Progress(job_of(running), "learning", 0.4, 600.0), Stage(job_of(running), "learning", 120, 0.31234))
    assert running.learn.round_text == "Learning: step 120, loss 0.312"
    assert running.learn.fraction == 0.4
    assert running.learn.time_left == "about 10 min left"
    assert running.view.is_awake


def test_nothing_can_be_learned_from_nothing():
    bench = opened(train=0)
    assert "nothing to learn from" in bench.learn.learn.tip
    bench.controller.learn()
    assert bench.learner.count(Learn) == 0


def test_learning_is_not_offered_before_the_cases_were_counted():
    bench = LearningBench(is_started=False)
    bench.corrections.has_history = True
    bench.controller.start()
    assert not bench.learn.learn.is_enabled
    assert "counted" in bench.learn.learn.tip


def test_pause_becomes_go_on(running):
    running.tell(Stage(job_of(running), "learning", 7, 0.5))
    assert running.learn.pause_text == "Pause"
    running.learner.is_prompt = False
    running.controller.pause_learning(True)
    running.controller.pause_learning(True)
    assert running.learner.count(Pause) == 1
    assert running.learner.last(Pause).is_paused
    assert not running.learn.pause.is_enabled
    pause = running.learner.last(Pause).id
    running.tell(Stage(job_of(running), "paused", 7), running.learner._answer(running.learner.last(Pause)))
    assert pause
    assert running.learn.pause_text == "Go on"
    assert running.learn.pause.is_enabled
    assert running.learn.pause.is_checked
    assert running.learn.round_text == "Paused: step 7, loss 0.500"
    assert running.learn.time_left == ""
    running.controller.pause_learning(False)
    assert not running.learner.last(Pause).is_paused


def test_a_round_that_waits_for_the_device_says_so(running):
    running.tell(Stage(job_of(running), "waiting", 7))
    assert running.learn.round_text == "Waiting while a segmentation has the device: step 7"


def test_stopping_ends_the_round_and_nothing_else(running):
    running.controller.stop_learning()
    running.controller.stop_learning()
    assert running.learner.cancelled == [job_of(running)]
    assert running.learn.round_text == "Stopping the round"
    running.tell(Failure(job_of(running), "cancelled", "The job was cancelled.", "", "", is_cancelled=True))
    assert running.learn.fraction is None
    assert running.learn.outcome.startswith("The last round was stopped.")
    assert running.learn.note == ""
    assert running.learn.learn.is_enabled


def test_a_round_that_is_lost_says_why_and_can_be_begun_again(running):
    running.tell(Failure(job_of(running), "resource", "The memory ran out.", "Learn the head only."))
    assert running.learn.note == "The memory ran out. Learn the head only."
    assert running.learn.fraction is None
    assert running.learn.learn.is_enabled
    running.controller.learn()
    assert running.learn.note == ""
    assert running.learner.count(Learn) == 2


def test_the_end_shows_the_table_and_the_reason(running, tmp_path):
    report = tmp_path / "report.html"
    report.touch()
    running.tell(round_ended(running, report=str(report)))
    assert running.learn.outcome == "The last round made a better model. Liver is better."
    liver, spleen = running.learn.rows
    assert (liver.name, liver.before, liver.after, liver.cases) == ("Liver", "0.811", "0.874", "6")
    assert (liver.verdict, liver.kind) == ("better", "good")
    assert "p = 0.016" in liver.tip
    assert (spleen.verdict, spleen.kind) == ("as before", "idle")
    assert running.learn.report == str(report)
    assert running.learn.open_report.is_enabled


def test_a_report_that_is_gone_is_not_offered(running):
    running.tell(round_ended(running, report="/nowhere/report.html"))
    assert not running.learn.open_report.is_enabled


def test_the_table_of_the_round_before_is_there_again_the_next_day():
    bench = opened(last_state="rejected", last_reason="Spleen got worse.", last_classes=(SPLEEN,))
    assert bench.learn.outcome == "The last round made no better model, so nothing changes. Spleen got worse."
    assert [row.name for row in bench.learn.rows] == ["Spleen"]


def test_what_an_unproven_class_needs_is_said(running):
    verdict = replace(LIVER, patients=2, missing=3, verdict="unproven", p_value=None)
    running.tell(round_ended(running, state="unproven", classes=(verdict,)))
    assert "needed to prove anything: 3." in running.learn.rows[0].tip


# --- set-up -----------------------------------------------------------------------------------------------------------


def lacking() -> LearningBench:
    bench = LearningBench(is_started=False)
    bench.setup.missing.add("learn")
    bench.corrections.waiting = 2
    bench.controller.start()
    bench.controller.show_learn(True)
    bench.wait()
    return bench


def test_without_its_packages_the_learner_is_not_started_and_it_says_what_is_missing():
    bench = lacking()
    assert bench.learner.commands == []
    assert "Learning needs more packages, a download of about 25 MB: onnxruntime." in bench.learn.note
    assert "safe on disk, and not yet taken into the case store: 2." in bench.learn.note
    assert bench.learn.learn.tip == "Learning needs more packages: press Install first."
    assert bench.learn.install.is_enabled
    bench.reviewing()
    bench.review("liver")
    bench.accept_all()
    assert len(bench.corrections.kept) == 1
    assert bench.learner.commands == []


def test_installing_takes_in_what_waited():
    bench = lacking()
    bench.controller.install_learning()
    assert bench.setup.installed == ["learn"]
    assert bench.learner.stopped == 1
    bench.wait(0.5)
    assert [type(c) for c in bench.learner.commands] == [Ingest, LearningStatus]
    assert not bench.learn.install.is_visible
    assert bench.learn.learn.is_enabled
    assert bench.learn.note == ""


@pytest.mark.parametrize(("outcome", "text"), [("refuses", "Nothing was installed."), (FULL, "The disk is full.")])
def test_what_was_not_installed_can_be_tried_again(outcome, text):
    bench = lacking()
    bench.setup.outcome = outcome
    bench.controller.install_learning()
    assert text in bench.view.status.text
    assert bench.learner.commands == []
    assert bench.learn.install.is_enabled


def test_segmenting_does_not_ask_for_what_learning_needs():
    bench = lacking()
    assert not bench.view.setup.is_visible
    bench.controller.choose_volume("ct1")
    assert bench.view.segment.segment.is_enabled
