"""Whatever is pressed and whatever arrives, in any order: the rules that never bend."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import NetworkError
from GenesisSegmentLib.core.learning_messages import Learn, RoundEnded, Stage
from GenesisSegmentLib.core.protocol import Failure, Progress, Segment
from GenesisSegmentLib.core.reports import LayerFile
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import Choice, ClassRow, Control
from learning_fakes import FULL, LIVER, V1, V2, LearningBench
from workflow_fakes import Bench, lost, partial_of, progress_of, result_of


def of_a_run(make: Callable[[Segment], object], back: int = 1) -> Callable[[Bench], None]:
    """Sends an event for the last run, or for one before it."""

    def act(bench: Bench) -> None:
        runs = [command for command in bench.worker.commands if isinstance(command, Segment)]
        if len(runs) >= back:
            bench.say(make(runs[-back]))

    return act


def change_ct(bench: Bench) -> None:
    if "ct1" in bench.scene.fingerprints:
        bench.scene.fingerprints["ct1"] += "x"


def remove_ct(bench: Bench) -> None:
    bench.scene.remove("ct1")
    bench.controller.volume_removed("ct1")


def lose_ct_silently(bench: Bench) -> None:
    bench.scene.remove("ct1")


def bring_ct_back(bench: Bench) -> None:
    bench.scene.fingerprints["ct1"] = "f1"


def remove_result(bench: Bench) -> None:
    bench.scene.results.clear()
    bench.controller.volume_removed("seg-ct1")


def close_scene(bench: Bench) -> None:
    bench.controller.scene_about_to_close()
    bench.scene.results.clear()
    bench.controller.scene_closed()


def toggle(attribute: str, name: str) -> Callable[[Bench], None]:
    return lambda bench: getattr(bench.scene if attribute == "scene" else bench.setup, _SETS[attribute]).__ixor__(
        {name}
    )


_SETS = {"scene": "refusing", "setup": "missing"}

ACTIONS: dict[str, Callable[[Bench], Any]] = {
    "start": lambda b: b.controller.start(),
    "stop": lambda b: b.controller.stop(),
    "wait a little": lambda b: b.wait(0.1),
    "wait long": lambda b: b.wait(6),
    "choose ct1": lambda b: b.controller.choose_volume("ct1"),
    "choose ct2": lambda b: b.controller.choose_volume("ct2"),
    "choose none": lambda b: b.controller.choose_volume(None),
    "choose starter": lambda b: b.controller.choose_model("starter"),
    "choose large": lambda b: b.controller.choose_model("universal_unet"),
    "choose nonsense": lambda b: b.controller.choose_model("nonsense"),
    "device": lambda b: b.controller.choose_device("cuda:0"),
    "tick none": lambda b: b.controller.check_classes(tuple(range(1, 33)), False),
    "tick liver": lambda b: b.controller.check_classes((6,), True),
    "search": lambda b: b.controller.search("niere"),
    "segment": lambda b: b.controller.segment(),
    "cancel": lambda b: b.controller.cancel(),
    "dismiss": lambda b: b.controller.dismiss(),
    "install": lambda b: b.controller.install(),
    "install fails": lambda b: setattr(b.setup, "outcome", NetworkError("No.", "Try again.")),
    "install is refused": lambda b: setattr(b.setup, "outcome", "refuses"),
    "onnx is missing": toggle("setup", "onnx"),
    "torch is missing": toggle("setup", "torch"),
    "import": lambda b: b.controller.import_model(Path("clip_driven_universal_unet.pth")),
    "download": lambda b: b.controller.download_model(),
    "self-test": lambda b: b.controller.self_test(),
    "edit": lambda b: b.controller.edit(True),
    "end edit": lambda b: b.controller.edit(False),
    "lock": lambda b: b.controller.set_locked("liver", True),
    "review": lambda b: b.controller.set_reviewed("liver", True),
    "reset": lambda b: b.controller.reset_segment("liver"),
    "select": lambda b: b.controller.select_segment("liver"),
    "difference": lambda b: b.controller.show_difference(True),
    "proposal": lambda b: b.controller.show_proposal(True),
    "undo": lambda b: b.controller.undone(True),
    "nothing to undo": lambda b: b.controller.undone(False),
    "redo": lambda b: b.controller.redone(True),
    "unfold export": lambda b: b.controller.show_export(True),
    "3d": lambda b: b.controller.update_3d(),
    "formats": lambda b: b.controller.choose_formats(("csv", "nrrd")),
    "folder": lambda b: b.controller.choose_folder(Path("out")),
    "paint": lambda b: b.controller.move_paint(6, -1),
    "export": lambda b: b.controller.export(),
    "edited": lambda b: b.controller.segmentation_edited(),
    "ct changes": change_ct,
    "ct is removed": remove_ct,
    "ct vanishes": lose_ct_silently,
    "ct comes back": bring_ct_back,
    "result is removed": remove_result,
    "scene closes": close_scene,
    "scene begins to close": lambda b: b.controller.scene_about_to_close(),
    "scene is loaded": lambda b: b.controller.scene_loaded(),
    "scene refuses writing": toggle("scene", "write_result"),
    "scene refuses the CT": toggle("scene", "copying"),
    "scene refuses copying": toggle("scene", "copy"),
    "work takes long": lambda b: setattr(b.scene, "piece_s", 0.004) or setattr(b.scene, "pieces", 9),
    "work takes no time": lambda b: setattr(b.scene, "piece_s", 0.0),
    "scene refuses looking": toggle("scene", "problem"),
    "worker is silent": lambda b: setattr(b.worker, "is_prompt", False),
    "worker is prompt": lambda b: setattr(b.worker, "is_prompt", True),
    "worker dies": of_a_run(lambda command: lost(command.id)),
    "worker dies idle": lambda b: b.say(lost("")),
    "cancelled": of_a_run(lambda command: lost(command.id, "cancelled", is_cancelled=True)),
    "progress": of_a_run(progress_of),
    "partial": of_a_run(partial_of),
    "partial outside": of_a_run(lambda command: partial_of(command, stop=(99, 2, 2))),
    "result": of_a_run(result_of),
    "late result": of_a_run(result_of, back=2),
    "result of another ct": of_a_run(lambda command: result_of(command, volume="another")),
    "result with wrong classes": of_a_run(lambda command: result_of(command, layers=(LayerFile("a", (77,)),))),
    "nonsense": lambda b: b.say(None, 42, "garbage", b"\0", {"id": "x"}, object()),
}


def of_a_round(make: Callable[[str], object]) -> Callable[[LearningBench], None]:
    """The learner says something of the last round."""

    def act(bench: LearningBench) -> None:
        rounds = [command.id for command in bench.learner.commands if isinstance(command, Learn)]
        if rounds:
            bench.tell(make(rounds[-1]))

    return act


LEARNING: dict[str, Callable[[LearningBench], Any]] = {
    "accept": lambda b: b.controller.accept(),
    "accept and wait": lambda b: b.accept_all(),
    "writing fails": lambda b: setattr(b.corrections, "error", FULL),
    "writing works": lambda b: setattr(b.corrections, "error", None),
    "reading fails": toggle("scene", "reading_reviewed"),
    "another mask": lambda b: b.scene.masks.clear() or b.scene.accepted.clear(),
    "unfold learn": lambda b: b.controller.show_learn(True),
    "learn": lambda b: b.controller.learn(),
    "pause": lambda b: b.controller.pause_learning(True),
    "go on": lambda b: b.controller.pause_learning(False),
    "stop learning": lambda b: b.controller.stop_learning(),
    "use": lambda b: b.controller.use_version(),
    "go back": lambda b: b.controller.go_back(),
    "by itself": lambda b: b.controller.set_automatic("count", 1, "20:00"),
    "at a time": lambda b: b.controller.set_automatic("time", 1, "09:00"),
    "learn is missing": toggle("setup", "learn"),
    "install learning": lambda b: b.controller.install_learning(),
    "learner is silent": lambda b: setattr(b.learner, "is_prompt", False),
    "learner is prompt": lambda b: setattr(b.learner, "is_prompt", True),
    "there are versions": lambda b: setattr(
        b.learner, "state", dataclasses.replace(b.learner.state, versions=(V1, V2))
    ),
    "round steps": of_a_round(lambda job: Progress(job, "learning", 0.5, 60.0)),
    "round pauses": of_a_round(lambda job: Stage(job, "paused", 3, 0.5)),
    "round ends": of_a_round(lambda job: RoundEnded(job, "promoted", "Better.", "v1", (LIVER,))),
    "round fails": of_a_round(lambda job: Failure(job, "resource", "No memory.", "Learn less.")),
    "round is cancelled": of_a_round(lambda job: Failure(job, "cancelled", "It was cancelled.", is_cancelled=True)),
    "learner dies idle": lambda b: b.tell(lost("")),
}
AROUND_A_RUN = (
    *("segment", "result", "late result", "partial", "cancel", "wait a little", "ct changes", "ct vanishes"),
    *("edit", "end edit", "stop", "start", "work takes long", "ct is removed"),
)
ANYTHING = st.lists(st.sampled_from(sorted(ACTIONS)), max_size=30)
A_RUN = st.lists(st.sampled_from(AROUND_A_RUN), max_size=12).map(lambda names: ["choose ct1", "segment", *names])


def parts(value: object) -> Iterator[object]:
    """Everything that a view is made of."""
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)


def check(bench: Bench) -> None:
    view = bench.view
    for part in parts(view):
        if isinstance(part, (Control, Choice, ClassRow)) and not part.is_enabled and getattr(part, "is_visible", True):
            assert part.tip, f"disabled without a reason: {part}"
        if isinstance(part, Control) and part.is_enabled:
            assert part.tip, f"does not say what it does: {part}"
    model = bench.controller._model
    is_running = view.state is State.PREDICTING
    assert is_running is (model.run is not None)
    assert not (is_running and view.segment.segment.is_enabled)
    assert view.status.cancel.is_enabled <= (view.status.kind == "busy")
    assert (view.status.kind == "busy") is model.is_busy
    if view.segment.segment.is_enabled:
        assert view.state in (State.READY, State.REVIEWING, State.CORRECTING, State.FAILED)
    assert (view.state in (State.REVIEWING, State.CORRECTING)) <= bool(view.correct.segmentation_id)
    assert view.correct.edit.is_checked is (view.state is State.CORRECTING)
    for written, there in bench.scene.written:
        assert written == there


@settings(max_examples=200)
@given(A_RUN | st.tuples(A_RUN, ANYTHING).map(lambda both: [*both[0], *both[1]]) | ANYTHING)
def test_no_sequence_of_commands_and_events_breaks_the_rules(names):
    bench = Bench()
    check(bench)
    for name in names:
        before = bench.worker.count(Segment)
        # While the CT is copied, piece by piece, a run is on whose command was not sent yet.
        was_sent = bench.state is State.PREDICTING and bench.controller._segmenting._run is not None
        ACTIONS[name](bench)
        assert bench.worker.count(Segment) <= before + 1
        if was_sent and bench.worker.count(Segment) > before:
            raise AssertionError("a second run was started while one was on")
        check(bench)


@settings(max_examples=50)
@given(ANYTHING | A_RUN)
def test_after_anything_a_run_on_a_good_ct_still_works(names):
    bench = Bench()
    for name in names:
        ACTIONS[name](bench)
    bench.scene.refusing.clear()
    bench.setup.missing.clear()
    bench.scene.fingerprints = {"ct1": "f1", "ct2": "f2"}
    bench.scene.piece_s = 0.0
    bench.worker.is_prompt = True
    controller = bench.controller
    controller.scene_closed()
    controller.cancel()
    bench.wait(6)
    if bench.controller._model.side_job is not None:
        bench.say(lost(bench.controller._setting_up._job, "cancelled", is_cancelled=True))
    controller.start()
    controller.choose_model("starter")
    controller.choose_volume("ct2")
    controller.check_classes((1, 6), True)
    runs = bench.worker.count(Segment)
    controller.segment()
    assert bench.worker.count(Segment) == runs + 1
    bench.finish(bench.worker.last(Segment))
    assert bench.state is State.REVIEWING
    assert bench.scene.written[-1] == ("f2", "f2")


def test_actions_reach_every_state():
    """The sequences above would prove little if some state were never reached."""
    seen = set()
    roads = (
        ("choose ct1", "segment", "result", "edit"),
        ("choose ct1", "segment", "worker dies"),
        ("onnx is missing", "start"),
    )
    for road in roads:
        bench = Bench()
        seen.add(bench.state)
        for name in road:
            ACTIONS[name](bench)
            seen.add(bench.state)
    assert seen == set(State)


A_REVIEW = ["choose ct1", "segment", "result", "review", "accept and wait", "unfold learn", "wait a little"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(sorted({**ACTIONS, **LEARNING})), max_size=25).map(lambda names: [*A_REVIEW, *names]))
def test_no_sequence_with_accepting_and_learning_breaks_the_rules(names):
    bench = LearningBench()
    for name in names:
        {**ACTIONS, **LEARNING}[name](bench)
        check(bench)
        assert len({kept.id for kept in bench.corrections.kept}) == len(bench.corrections.kept)
        rounds = [c for c in bench.controller._learning._jobs.values() if isinstance(c, Learn)]
        assert len(rounds) <= 1
        assert bool(rounds) is (bench.controller._model.learning.round is not None)
    bench.settle()
    assert bench.controller._model.accepting is None or bench.controller._model.works
    assert len(bench.corrections.kept) >= 1
