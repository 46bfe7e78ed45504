from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest

from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.core.learning_messages import Learn, LearningStatus, UseVersion
from GenesisSegmentLib.core.protocol import Failure, ListModels
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models
from learning_fakes import V1, V2, LearningBench, job_of, learning_state, opened, round_ended

BOXES = ("count_box", "time_box")
"""Fields that belong to a choice, and are hidden with it."""


# --- versions ---------------------------------------------------------------------------------------------------------


def current_model():
    return replace(catalogue_models()[0], id="current", title="Current model (v1)")


def test_a_new_version_is_listed_among_the_models(running):
    before = running.worker.count(ListModels)
    running.tell(round_ended(running))
    assert running.worker.count(ListModels) == before + 1


def test_a_round_without_a_version_changes_no_list(running):
    before = running.worker.count(ListModels)
    running.tell(round_ended(running, state="rejected", version=""))
    assert running.worker.count(ListModels) == before


def test_a_promoted_model_is_chosen_when_the_person_takes_it():
    bench = opened(versions=(V1,))
    assert "Another model is chosen" in bench.learn.in_use
    assert bench.learn.use.is_enabled
    bench.worker.models = (*catalogue_models(), current_model())
    bench.controller.use_version()
    bench.wait(0.3)
    assert bench.learner.count(UseVersion) == 0  # it is in use already
    assert bench.view.segment.model == "current"
    assert bench.settings["model"] == "current"
    assert not bench.learn.use.is_enabled
    assert bench.learn.use.tip == "The new model is in use already."


def test_a_trial_is_used_only_when_the_person_takes_it_and_is_called_a_trial():
    bench = opened(versions=(V1, V2))
    assert "v1" in bench.learn.in_use
    assert "not proven" in bench.learn.use.tip
    bench.worker.models = (*catalogue_models(), current_model())
    bench.controller.use_version()
    assert bench.learner.last(UseVersion).version == "v2"
    assert "Wait until the model has been switched" in bench.learn.use.tip
    bench.wait(0.5)
    assert "v2" in bench.learn.in_use
    assert "It is a trial" in bench.learn.in_use
    assert bench.view.segment.model == "current"


def test_going_back_takes_the_version_before():
    bench = opened(versions=(V1,))
    lists = bench.worker.count(ListModels)
    bench.controller.go_back()
    assert bench.learner.last(UseVersion).version == ""
    bench.wait(0.3)
    assert bench.learn.in_use.startswith("In use: the model that came before all versions.")
    assert not bench.learn.back.is_enabled
    assert bench.worker.count(ListModels) == lists + 1
    assert "In use from now on" in bench.view.status.text


def test_going_back_from_the_model_in_use_chooses_the_one_that_it_was_learned_from():
    bench = opened(versions=(V1,))
    bench.worker.models = (*catalogue_models(), current_model())
    bench.controller.use_version()
    bench.wait(0.3)
    assert bench.view.segment.model == "current"
    bench.worker.models = catalogue_models()
    bench.controller.go_back()
    bench.wait(0.5)
    assert bench.view.segment.model == "starter"
    assert "In use from now on" in bench.view.status.text


def test_the_model_in_use_is_still_chosen_the_next_day(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    version = {
        "title": "Starter, round 1", "parent": "starter", "state": "promoted", "file": "model.onnx", "licence": None,
        "facts": {"offered": [1, 6]}, "note": "Adapted from the starter.",
    }  # fmt: skip
    for name, changes in (("v1", {}), ("v2", {"state": "rejected"}), ("v10", {"state": "unproven"})):
        folder = tmp_path / "versions" / name
        folder.mkdir(parents=True)
        (folder / "model.onnx").touch()
        (folder / "version.json").write_text(json.dumps(version | changes))
    (tmp_path / "versions" / "current.json").write_text('{"version": "v1", "before": [], "promoted": []}')
    (tmp_path / "versions" / "v3").mkdir()
    (tmp_path / "versions" / "v3" / "version.json").write_text("{damaged")
    bench = LearningBench(is_started=False)
    bench.settings["model"] = "current"
    bench.controller.start()
    assert bench.view.segment.model == "current"
    titles = [choice.text for choice in bench.view.segment.models]
    assert titles[:3] == ["Current model (v1)", "v10: Starter, round 1", "v1: Starter, round 1"]
    assert not any(title.startswith(("v2", "v3")) for title in titles)
    assert bench.learner.commands == []


def test_a_switch_that_fails_says_why():
    bench = opened(versions=(V1, V2))
    bench.learner.is_prompt = False
    bench.controller.use_version()
    bench.tell(Failure(bench.learner.last(UseVersion).id, "model", "v2 is damaged.", "Learn again."))
    assert bench.view.status.text == "v2 is damaged. Learn again."
    assert bench.learn.use.is_enabled


# --- by itself --------------------------------------------------------------------------------------------------------


def test_by_hand_nothing_begins_by_itself():
    bench = opened(fresh=100, corrections=100)
    bench.wait(60.0)
    assert bench.learner.count(Learn) == 0
    assert not bench.view.is_awake


def test_after_enough_new_corrections_a_round_begins_once():
    bench = opened(fresh=4, corrections=4)
    bench.controller.set_automatic("count", 5, "20:00")
    bench.wait(20.0)
    assert bench.learner.count(Learn) == 0
    assert bench.view.is_awake
    bench.corrections.waiting = 1
    bench.controller._learning.accepted()
    bench.wait(20.0)
    assert bench.learner.count(Learn) == 1
    bench.tell(Failure(job_of(bench), "resource", "The memory ran out."))
    bench.wait(60.0)
    assert bench.learner.count(Learn) == 1  # a failure is not repeated for ever
    bench.corrections.waiting = 1
    bench.controller._learning.accepted()
    bench.wait(20.0)
    assert bench.learner.count(Learn) == 1  # one more is not as many as were asked for
    bench.corrections.waiting = 4
    bench.controller._learning.accepted()
    bench.wait(20.0)
    assert bench.learner.count(Learn) == 2


def test_at_a_time_of_day_a_round_begins_once_a_day():
    bench = opened(fresh=2, corrections=2)
    bench.controller.set_automatic("time", 5, "20:00")
    bench.today = datetime(2026, 11, 21, 19, 58, 0)
    bench.clock.now = 100.0
    bench.wait(60.0)
    assert bench.learner.count(Learn) == 0
    bench.wait(80.0)
    assert bench.learner.count(Learn) == 1
    bench.tell(round_ended(bench))
    bench.wait()
    bench.learner.state = learning_state(fresh=3, corrections=5)
    bench.controller._learning._refresh()
    bench.wait(60.0)
    assert bench.learner.count(Learn) == 1
    bench.today = datetime(2026, 11, 22, 20, 0, 0)
    bench.clock.now = 100.0
    bench.controller._learning._looked = 0.0
    bench.wait(10.0)
    assert bench.learner.count(Learn) == 2


@pytest.mark.parametrize(("hour", "fresh"), [(19, 3), (22, 3), (20, 0)])
def test_at_another_time_or_without_anything_new_no_round_begins(hour, fresh):
    bench = opened(fresh=fresh)
    bench.controller.set_automatic("time", 5, "20:00")
    bench.today = datetime(2026, 11, 21, hour, 30)
    bench.clock.now = 100.0
    bench.wait(60.0)
    assert bench.learner.count(Learn) == 0


def test_what_was_chosen_is_kept_and_asks_for_the_counts_by_itself():
    bench = opened()
    bench.controller.set_automatic("time", 7, "6:05")
    again = LearningBench(is_started=False)
    again.settings.update(bench.settings)
    again.corrections.has_history = True
    again.controller.start()
    assert (again.learn.automatic, again.learn.count, again.learn.time) == ("time", 7, "06:05")
    assert again.learner.count(LearningStatus) == 1


@pytest.mark.parametrize("kept", [{"learn_automatic": "?", "learn_count": "x", "learn_time": "25:00"}, {}])
def test_settings_that_make_no_sense_are_the_defaults(kept):
    bench = LearningBench(is_started=False)
    bench.settings.update(kept)
    bench.corrections.has_history = True
    bench.controller.start()
    assert (bench.learn.automatic, bench.learn.count, bench.learn.time) == ("off", 5, "20:00")


def test_boxes_are_there_for_their_choice_alone():
    bench = opened()
    shown = {}
    for automatic in ("off", "count", "time"):
        bench.controller.set_automatic(automatic, 5, "20:00")
        shown[automatic] = [box for box in BOXES if getattr(bench.learn, box).is_visible]
    assert shown == {"off": [], "count": ["count_box"], "time": ["time_box"]}


def test_closing_the_module_closes_the_learner(bench):
    bench.controller.close()
    assert bench.learner.closed == 1
    assert bench.learner.cancelled == []
