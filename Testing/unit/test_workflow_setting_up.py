"""Set-up, self-test, and getting models: asked for, shown, asked once, and told how it ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.core import protocol
from GenesisSegmentLib.core.errors import NetworkError
from GenesisSegmentLib.core.protocol import Done, DownloadModel, Estimate, Estimated, ImportModel, ListModels, SelfTest
from GenesisSegmentLib.core.workflow.learning_model import RoundStep
from GenesisSegmentLib.core.workflow.states import State
from learning_fakes import LearningBench
from workflow_fakes import Bench, lost


@pytest.fixture
def lacking() -> Bench:
    bench = Bench(is_started=False)
    bench.setup.missing = {"onnx"}
    bench.controller.start()
    return bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_missing_package_is_shown_and_nothing_runs(lacking):
    view = lacking.view
    assert view.state is State.NEEDS_SETUP
    assert view.setup.is_visible
    assert view.setup.install.is_enabled
    assert "1 more packages" in view.setup.text
    assert "25 MB" in view.setup.text
    lacking.controller.choose_volume("ct1")
    lacking.wait(3)
    assert lacking.state is State.NEEDS_SETUP
    assert lacking.worker.commands == []
    assert lacking.view.segment.segment.tip == "Some packages are missing: press Install first."


def test_earlier_result_can_be_reviewed_and_exported_without_the_engine(lacking, tmp_path):
    lacking.scene.add_result("ct1", (1,))
    lacking.controller.choose_volume("ct1")
    lacking.controller.choose_folder(tmp_path)
    assert lacking.state is State.REVIEWING
    assert lacking.view.export.export.is_enabled
    assert not lacking.view.segment.segment.is_enabled
    lacking.controller.choose_volume("ct2")
    assert lacking.state is State.NEEDS_SETUP


def test_install_shows_progress_then_tries_out_what_was_installed(lacking):
    lacking.controller.choose_volume("ct1")
    lacking.views.clear()
    lacking.controller.install()
    shown = [view.status.text for view in lacking.views]
    assert "Collecting onnxruntime" in shown
    assert not next(v for v in lacking.views if v.status.text == "Collecting onnxruntime").setup.install.is_enabled
    assert (lacking.state, lacking.worker.stopped) == (State.READY, 1)
    assert lacking.worker.count(SelfTest) == 1
    lacking.wait()
    assert lacking.view.setup.verdicts == ("The model works on the processor.",)
    assert lacking.view.status.text == "The self-test was passed."


def test_no_process_holds_a_package_while_it_is_installed(monkeypatch):
    bench = LearningBench(is_started=False)
    bench.setup.missing |= {"onnx", "learn"}
    bench.corrections.waiting = 1
    bench.controller.start()
    bench.controller.show_learn(True)
    install, stopped = bench.setup.install, []

    def look(road, report):
        def reported(line):
            report(line)
            stopped.append((bench.worker.stopped, bench.learner.stopped))

        return install(road, reported)

    monkeypatch.setattr(bench.setup, "install", look)
    bench.controller.install()
    bench.wait()
    bench.controller.install_learning()
    assert stopped == [(1, 1), (2, 2)]


@pytest.fixture
def learner() -> LearningBench:
    """The engine is there, what learning needs is not; time and memory of a run are being asked for."""
    bench = LearningBench(is_started=False)
    bench.setup.missing.add("learn")
    bench.corrections.waiting = 1
    bench.controller.start()
    bench.controller.show_learn(True)
    bench.worker.is_prompt = False
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    assert bench.worker.count(Estimate) == 1
    return bench


def test_no_to_the_installation_ends_no_process_and_no_estimate(learner):
    learner.setup.outcome = "refuses"
    learner.controller.install_learning()
    assert learner.view.status.text == "Nothing was installed."
    assert (learner.worker.stopped, learner.learner.stopped) == (0, 0)
    learner.say(Estimated(learner.worker.last(Estimate).id, 3.0, 1_200_000_000, 0, "CPU"))
    assert learner.view.segment.estimate.startswith("About 3 s")


@pytest.mark.parametrize("outcome", ["works", NetworkError("No network.", "Try again.")])
def test_estimate_that_an_installation_broke_off_is_asked_for_again(learner, outcome):
    learner.setup.outcome = outcome
    learner.controller.install_learning()
    assert (learner.worker.stopped, learner.learner.stopped) == (1, 1)
    learner.wait(1)
    assert learner.worker.count(Estimate) == 2


def test_nothing_is_installed_while_a_round_is_on():
    bench = LearningBench(is_started=False)
    bench.setup.missing |= {"onnx", "learn"}
    bench.corrections.waiting = 1
    bench.controller.start()
    bench.controller.show_learn(True)
    bench.controller._model.learning.round = RoundStep()
    bench.controller.install()
    bench.controller.install_learning()
    assert bench.setup.installed == []
    assert bench.view.setup.install.tip == "Wait until the round of learning has ended, or stop it."


def test_install_that_the_person_refuses_changes_nothing(lacking):
    lacking.setup.outcome = "refuses"
    lacking.controller.install()
    assert (lacking.state, lacking.view.status.text) == (State.NEEDS_SETUP, "Nothing was installed.")
    assert lacking.view.setup.install.is_enabled


def test_install_that_fails_says_what_to_do_and_can_be_tried_again(lacking):
    lacking.setup.outcome = NetworkError("The host could not be reached.", "Look at the proxy settings.")
    lacking.controller.install()
    status = lacking.view.status
    assert (lacking.state, status.kind) == (State.NEEDS_SETUP, "error")
    assert status.text == "The host could not be reached. Look at the proxy settings."
    assert lacking.view.setup.install.is_enabled


def test_set_up_goes_on_after_a_restart(lacking):
    lacking.setup.needs_restart = True
    lacking.controller.install()
    assert "Restart Slicer" in lacking.view.status.text
    assert not lacking.view.setup.install.is_enabled
    assert not lacking.view.segment.segment.is_enabled
    lacking.setup.needs_restart = False
    again = lacking.new_controller()
    again.start()
    assert lacking.worker.count(SelfTest) == 1
    third = lacking.new_controller()
    third.start()
    assert lacking.worker.count(SelfTest) == 1


def test_set_up_that_was_broken_off_is_remembered(lacking):
    lacking.setup.outcome = NetworkError("No network.", "Try again.")
    lacking.controller.install()
    again = lacking.new_controller()
    again.start()
    assert again.view.status.text == "The set-up was not finished. Press Install to go on."


def test_model_of_the_other_kind_may_need_more(bench):
    bench.setup.missing = {"torch"}
    bench.controller.choose_volume("ct1")
    bench.controller.choose_model("universal_unet")
    assert bench.state is State.NEEDS_SETUP
    bench.controller.choose_model("starter")
    assert bench.state is State.READY


def test_obstacle_of_the_set_up_is_the_reason_of_its_button(lacking):
    report = lacking.setup.check("onnx")
    lacking.setup.check = lambda road: replace(report, obstacles=("The disk is full.",))
    lacking.controller.start()
    assert lacking.view.setup.install == replace(lacking.view.setup.install, is_enabled=False, tip="The disk is full.")
    lacking.controller.install()
    assert lacking.setup.installed == []


@pytest.mark.parametrize("is_working", [True, False])
def test_self_test_says_plainly_what_was_found(bench, is_working):
    bench.worker.is_prompt = False
    bench.controller.self_test()
    command = bench.worker.last(SelfTest)
    assert bench.view.status.kind == "busy"
    assert not bench.view.setup.self_test.is_enabled
    bench.say(protocol.Tested(command.id, is_working, "cpu", 1.0, ("A sentence.",)))
    assert bench.view.setup.verdicts == ("A sentence.",)
    assert bench.view.status.kind == ("good" if is_working else "error")
    bench.controller.dismiss()
    assert not bench.view.setup.is_visible


def test_self_test_that_dies_is_a_verdict_too(bench):
    bench.worker.is_prompt = False
    bench.controller.self_test()
    bench.say(lost(bench.worker.last(SelfTest).id))
    assert bench.view.setup.verdicts == ("The segmentation process ended. Try again.",)
    assert bench.state is State.NO_VOLUME


def test_segment_waits_for_the_self_test_which_can_be_cancelled(bench):
    bench.worker.is_prompt = False
    bench.controller.choose_volume("ct1")
    bench.controller.self_test()
    assert "Self-test" in bench.view.segment.segment.tip
    bench.controller.cancel()
    bench.say(lost(bench.worker.last(SelfTest).id, "cancelled", is_cancelled=True))
    assert bench.view.segment.segment.is_enabled
    assert bench.view.status.text == "Cancelled."


def test_import_shows_the_terms_of_the_model_that_the_file_is_and_asks(bench):
    bench.controller.import_model(Path("down") / "clip_driven_universal_unet.pth")
    assert bench.worker.last(ImportModel) == ImportModel(
        bench.worker.last(ImportModel).id, "universal_unet", str(Path("down") / "clip_driven_universal_unet.pth"), True
    )
    (terms,) = bench.setup.asked
    for part in ("Universal Model, U-Net.", "CC BY-NC-ND 4.0", "Not for clinical use.", "Commercial use", "cite"):
        assert part in terms


def test_import_that_the_person_does_not_agree_to_is_not_done(bench):
    bench.setup.agrees = False
    bench.controller.import_model(Path("clip_driven_universal_unet.pth"))
    assert bench.worker.count(ImportModel) == 0
    assert bench.view.status.text == "Nothing was done."


def test_models_are_listed_anew_after_an_import(bench):
    bench.worker.is_prompt = False
    bench.controller.import_model(Path("clip_driven_universal_unet.pth"))
    bench.say(Done(bench.worker.last(ImportModel).id, "It was checked."))
    assert bench.worker.count(ListModels) == 1
    assert bench.view.status.text == "The model is ready to use. It was checked."


def test_download_shows_address_size_and_licence_before_it_asks(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    bench.controller.choose_model("universal_unet")
    bench.setup.agrees = False
    bench.controller.download_model()
    assert bench.worker.count(DownloadModel) == 0
    assert "https://" in bench.setup.asked[0]
    assert "Size: not stated by the publisher" in bench.setup.asked[0]
    bench.setup.agrees = True
    bench.controller.download_model()
    assert bench.worker.last(DownloadModel).is_agreed


def test_bundled_model_is_not_downloaded(bench):
    bench.controller.download_model()
    assert bench.setup.asked == []
    assert not bench.view.segment.get_model.is_visible
