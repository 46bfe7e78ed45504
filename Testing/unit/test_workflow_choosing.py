"""The CT, the model, the device and the classes: what is chosen, what follows, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from GenesisSegmentLib.core.protocol import Estimate, Hello
from GenesisSegmentLib.core.workflow.ports import SceneParameters
from GenesisSegmentLib.core.workflow.states import State
from scene_fakes import SHAPE
from workflow_fakes import CPU, GPU, Bench, lost


@pytest.fixture
def bench() -> Bench:
    return Bench()


def row(tree, text):
    rows = [child for group in tree for child in (group, *group.children)]
    return next(r for r in rows if r.text == text)


# --- Opening ----------------------------------------------------------------------------------------------------------


def test_opening_the_module_starts_no_process(bench):
    bench.wait(3)
    assert bench.worker.commands == []
    assert bench.worker.handed == []
    assert bench.state is State.NO_VOLUME


def test_opening_a_kept_scene_starts_no_process_either(bench):
    bench.scene.parameters = SceneParameters("ct1", None, (1, 6), ())
    bench.controller.scene_loaded()
    bench.wait(3)
    assert (bench.state, bench.worker.commands, bench.worker.handed) == (State.READY, [], [])


@pytest.mark.parametrize("choose", [lambda c: c.check_classes((1,), False), lambda c: c.choose_device("auto")])
def test_opening_a_kept_scene_says_how_to_hear_of_time_memory_and_devices(bench, choose):
    bench.worker.devices = (CPU, GPU)
    hint = "Time and memory are told once you choose something here."
    assert bench.view.segment.estimate == ""
    bench.scene.parameters = SceneParameters("ct1", None, (1, 6), ())
    bench.controller.scene_loaded()
    bench.wait(3)
    assert bench.view.segment.estimate == hint
    assert "once you choose something here" in bench.view.segment.devices[1].tip
    choose(bench.controller)
    bench.wait(3)
    assert bench.view.segment.estimate.startswith("About 3 s")
    assert len(bench.view.segment.devices) == 3


def test_leaving_the_module_begins_nothing_new(bench):
    bench.controller.choose_volume("ct1")
    bench.controller.stop()
    bench.wait(3)
    assert bench.worker.commands == []


def test_coming_back_during_a_run_or_while_correcting_changes_nothing(bench):
    command = bench.run()
    bench.controller.start()
    assert bench.state is State.PREDICTING
    bench.finish(command)
    bench.controller.edit(True)
    bench.controller.start()
    assert bench.state is State.CORRECTING


# --- The CT -----------------------------------------------------------------------------------------------------------


def test_ct_is_chosen_and_kept_with_the_scene(bench):
    bench.controller.choose_volume("ct1")
    assert (bench.state, bench.view.segment.volume_id) == (State.READY, "ct1")
    assert bench.scene.parameters.volume_id == "ct1"


def test_ct_that_cannot_be_used_says_why_and_disables_segment(bench):
    bench.scene.problems["ct1"] = "It has several time points. Choose one of them."
    bench.controller.choose_volume("ct1")
    segment = bench.view.segment
    assert bench.state is State.NO_VOLUME
    assert segment.volume_note == segment.segment.tip == bench.view.status.text == bench.scene.problems["ct1"]
    assert not segment.segment.is_enabled


def test_what_to_know_of_a_ct_is_said_when_it_is_chosen(bench):
    bench.scene.notes["ct1"] = "Only the frame that is shown, 3 of 10, is segmented."
    bench.controller.choose_volume("ct1")
    assert bench.view.segment.volume_note == bench.scene.notes["ct1"]
    assert bench.view.segment.segment.is_enabled
    bench.controller.choose_volume("ct2")
    assert bench.view.segment.volume_note == ""


def test_ct_that_the_scene_cannot_look_at_says_why(bench):
    bench.scene.refusing.add("problem")
    bench.controller.choose_volume("ct1")
    assert bench.state is State.NO_VOLUME
    assert "Do something else." in bench.view.segment.volume_note


def test_ct_with_a_result_is_reviewed(bench):
    bench.scene.add_result("ct2", (1, 6))
    bench.controller.choose_volume("ct2")
    assert bench.state is State.REVIEWING
    assert [r.segment.class_index for r in bench.view.correct.rows] == [1, 6]
    bench.controller.choose_volume("ct1")
    assert bench.state is State.READY
    assert bench.view.correct.rows == ()


def test_result_that_is_removed_makes_the_ct_ready_again(bench):
    bench.reviewing()
    bench.scene.results.clear()
    bench.controller.volume_removed("seg-ct1")
    assert (bench.state, bench.view.correct.segmentation_id) == (State.READY, "")


def test_ct_that_is_removed_leaves_nothing_chosen(bench):
    bench.reviewing()
    bench.controller.edit(True)
    bench.scene.remove("ct1")
    bench.controller.volume_removed("ct1")
    assert (bench.state, bench.view.segment.volume_id) == (State.NO_VOLUME, "")


def test_kept_scene_is_gone_on_with(bench):
    bench.scene.add_result("ct1", (1, 6))
    bench.scene.parameters = SceneParameters("ct1", "seg-ct1", (6,), (6, 1))
    bench.controller.scene_loaded()
    assert bench.state is State.REVIEWING
    assert [choice.value for choice in bench.view.export.paint_order] == ["6", "1"]
    assert row(bench.view.segment.tree, "Liver").check == "on"
    assert row(bench.view.segment.tree, "Spleen").check == "off"


def test_no_voxel_is_looked_at_to_take_a_kept_ct_up(bench, monkeypatch):
    monkeypatch.setattr(bench.scene, "fingerprint", lambda _: pytest.fail("a fingerprint takes a look at all voxels"))
    bench.scene.parameters = SceneParameters("ct1", None, (1, 6), ())
    bench.controller.scene_loaded()
    assert (bench.state, bench.view.segment.volume_id) == (State.READY, "ct1")


def test_kept_ct_that_is_not_there_any_more_is_not_chosen(bench):
    bench.scene.parameters = SceneParameters("gone", None, (), ())
    bench.controller.scene_loaded()
    assert bench.state is State.NO_VOLUME


# --- Model and device -------------------------------------------------------------------------------------------------


def test_model_device_folder_and_formats_are_kept_in_the_settings(bench, tmp_path):
    bench.controller.choose_model("universal_unet")
    bench.controller.choose_device("cpu")
    bench.controller.choose_folder(tmp_path)
    bench.controller.choose_formats(("csv", "nrrd", "nonsense"))
    assert bench.settings == {
        "model": "universal_unet",
        "device": "cpu",
        "folder": str(tmp_path),
        "formats": "nrrd,csv",
    }
    again = bench.new_controller()
    again.start()
    assert (again.view.segment.model, again.view.segment.device) == ("universal_unet", "cpu")
    assert (again.view.export.folder, again.view.export.chosen) == (str(tmp_path), ("nrrd", "csv"))


def test_settings_that_mean_nothing_any_more_are_left_aside():
    bench = Bench(is_started=False)
    bench.settings.update(model="gone", device="", folder=str(Path("no") / "such"), formats="x,,csv")
    bench.controller.start()
    assert (bench.view.segment.model, bench.view.segment.device) == ("starter", "auto")
    assert (bench.view.export.folder, bench.view.export.chosen) == ("", ("csv",))


def test_starter_says_what_it_is_and_what_it_does_not_find(bench):
    note = bench.view.segment.model_note
    assert "Starter, not for clinical use." in note
    assert "Licence: Apache-2.0." in note
    assert "Finds 7 of 32 structures; not offered: Gall Bladder" in note


def test_model_that_is_not_there_cannot_run_and_can_be_fetched(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    bench.controller.choose_model("universal_unet")
    view = bench.view
    assert not view.segment.segment.is_enabled
    assert "not on this computer" in view.segment.segment.tip
    assert view.segment.get_model.is_visible
    assert view.segment.get_model.is_enabled
    assert view.setup.is_visible


def test_model_that_the_worker_does_not_know_gives_way_to_one_that_it_does(bench):
    bench.worker.models = tuple(info for info in bench.worker.models if info.is_onnx)
    bench.controller.choose_volume("ct1")
    bench.controller.choose_model("universal_unet")
    bench.wait(1)
    assert bench.view.segment.model == "starter"
    assert "another was chosen" in bench.view.status.text


def test_devices_are_listed_with_free_memory_and_automatic_is_explained(bench):
    bench.worker.devices = (CPU, GPU)
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    segment = bench.view.segment
    texts = [choice.text for choice in segment.devices]
    assert texts == ["Automatic", "Processor (CPU), 12.0 GB free", "A graphics card, 22.0 GB free"]
    assert segment.device_note == "Automatic: the run goes on A graphics card."


@pytest.mark.parametrize(("model", "is_warned"), [("starter", False), ("universal_unet", True)])
def test_large_model_on_the_processor_is_warned_of(bench, model, is_warned):
    bench.controller.choose_device("cpu")
    bench.controller.choose_model(model)
    assert ("takes minutes on the processor" in bench.view.segment.device_note) is is_warned


# --- Classes ----------------------------------------------------------------------------------------------------------


def test_run_looks_for_the_ticked_classes_that_the_model_offers(bench):
    bench.controller.check_classes((2, 3, 30), False)
    assert bench.run().classes == (1, 6, 8, 16, 17)
    assert 30 in bench.scene.parameters.classes, "what the model does not offer stays as it was"


def test_without_a_class_there_is_nothing_to_segment(bench):
    bench.controller.choose_volume("ct1")
    bench.controller.check_classes(tuple(range(1, 33)), False)
    assert not bench.view.segment.segment.is_enabled
    assert bench.view.segment.segment.tip == "Choose at least one class that this model offers."


def test_search_narrows_the_tree_down_and_keeps_the_choice(bench):
    bench.controller.search("kidn")
    tree = bench.view.segment.tree
    assert {r.text for group in tree for r in group.children} >= {"Right Kidney", "Left Kidney"}
    assert all("kidney" in (r.text + r.tip).lower() or not r.is_enabled for g in tree for r in g.children)
    assert bench.run().classes == (1, 2, 3, 6, 8, 16, 17)


# --- The estimate -----------------------------------------------------------------------------------------------------


def test_estimate_is_asked_once_when_the_choice_has_settled(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(0.1)
    bench.controller.check_classes((1,), False)
    bench.wait(0.2)
    assert bench.worker.count(Estimate) == 0
    assert bench.view.segment.estimate == "Estimating time and memory..."
    bench.wait(3)
    assert bench.worker.count(Estimate) == bench.worker.count(Hello) == 1
    assert bench.worker.handed == [], "the CT is not copied for an estimate"
    assert bench.worker.last(Estimate).shape == SHAPE
    assert bench.worker.last(Estimate).spacing == (1.0, 2.0, 3.0)
    assert bench.worker.last(Estimate).classes == (2, 3, 6, 8, 16, 17)
    assert bench.view.segment.estimate == "About 3 s and 1.2 GB on this CPU."


def test_estimate_names_the_ct_once_the_worker_has_it(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    assert bench.worker.last(Estimate).volume == ""
    bench.controller.segment()
    bench.controller.cancel()
    bench.wait(6)
    bench.controller.check_classes((1,), False)
    bench.wait(1)
    assert bench.worker.last(Estimate).volume == "f1"
    bench.controller.choose_volume("ct2")
    bench.wait(1)
    assert bench.worker.last(Estimate).volume == ""


def test_estimate_of_an_earlier_choice_is_dropped(bench):
    bench.worker.is_prompt = False
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    first = bench.worker.last(Estimate)
    bench.controller.choose_device("cpu")
    bench.wait(1)
    bench.say(bench.worker._answer(first))
    assert bench.view.segment.estimate == "Estimating time and memory..."
    bench.say(bench.worker._answer(bench.worker.last(Estimate)))
    assert bench.view.segment.estimate.startswith("About 3 s")


def test_estimate_that_fails_says_why_and_segment_stays_possible(bench):
    bench.worker.is_prompt = False
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    bench.say(lost(bench.worker.last(Estimate).id, "resource"))
    assert bench.view.segment.estimate.startswith("Too little memory for this choice. The segmentation process ended.")
    assert bench.view.segment.segment.is_enabled
    assert "likely to fail" in bench.view.segment.segment.tip


def test_choice_of_the_same_thing_again_is_not_estimated_again(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    assert bench.worker.count(Estimate) == 1
