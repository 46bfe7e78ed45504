"""From the model to the view: which button can be pressed in which state, and what the texts say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.core import i18n
from GenesisSegmentLib.core.protocol import Estimated, Failure, Ready
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models, model_of_file
from GenesisSegmentLib.core.workflow.estimates import estimate_text
from GenesisSegmentLib.core.workflow.model import Model, Step
from GenesisSegmentLib.core.workflow.ports import SetupReport
from GenesisSegmentLib.core.workflow.rendering import render
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.text import duration_text, names_text, size_text, stage_text, time_left_text
from scene_fakes import segment_state
from workflow_fakes import CPU, GOOD, GPU, LACKING


def model_in(state: State) -> Model:
    """A model as it typically is in a state."""
    model = Model(state=state, models=catalogue_models(), setup=SetupReport((GOOD,), 50.0))
    model.formats, model.folder = ("csv",), Path("out")
    if state is not State.NO_VOLUME:
        model.volume_id = "ct"
    if state is State.NEEDS_SETUP:
        model.setup = SetupReport((LACKING,), 50.0)
    if state is State.PREDICTING:
        model.run = Step("Finding the structures", 0.25, 30.0)
    if state in (State.REVIEWING, State.CORRECTING):
        model.segmentation_id, model.selected = "seg", "liver"
        model.rows = (segment_state(6, changed_voxels=3),)
    return model


BUTTONS = {
    "segment": lambda v: v.segment.segment,
    "volume": lambda v: v.segment.volume,
    "cancel": lambda v: v.status.cancel,
    "install": lambda v: v.setup.install,
    "import": lambda v: v.setup.import_model,
    "self-test": lambda v: v.setup.self_test,
    "edit": lambda v: v.correct.edit,
    "proposal": lambda v: v.correct.show_proposal,
    "difference": lambda v: v.correct.show_difference,
    "3d": lambda v: v.correct.update_3d,
    "export": lambda v: v.export.export,
}
RESULT = {"edit", "proposal", "difference", "3d", "export"}
ENABLED = {
    State.NO_VOLUME: {"volume", "import", "self-test"},
    State.NEEDS_SETUP: {"volume", "install"},
    State.READY: {"segment", "volume", "import", "self-test"},
    State.PREDICTING: {"cancel"},
    State.REVIEWING: {"segment", "volume", "import", "self-test", *RESULT},
    State.CORRECTING: {"segment", "volume", "import", "self-test", *RESULT} - {"3d"},
    State.FAILED: {"segment", "volume", "import", "self-test"},
}


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_buttons_of_each_state(state):
    view = render(model_in(state))
    assert {name for name, find in BUTTONS.items() if find(view).is_enabled} == ENABLED[state]
    assert all(find(view).tip for find in BUTTONS.values())
    assert view.setup.is_visible is (state is State.NEEDS_SETUP)
    assert not view.learn.is_visible


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"volume_id": None}, "Choose a CT first."),
        ({"volume_problem": "It is a picture in color."}, "It is a picture in color."),
        ({"setup": None}, "GenesisSegment has not looked yet at what is installed."),
        ({"setup": SetupReport((GOOD,), 1.0, True)}, "Restart Slicer to finish the set-up."),
        ({"setup": SetupReport((LACKING,), 1.0)}, "Some packages are missing: press Install first."),
        ({"models": ()}, "Choose a model first."),
        ({"classes": frozenset()}, "Choose at least one class that this model offers."),
        ({"run": Step("x")}, "Wait until the run has ended, or cancel it."),
        ({"side_job": Step("Self-test")}, "Wait until this has ended: Self-test."),
    ],
)
def test_segment_says_why_it_cannot_be_pressed(change, reason):
    segment = render(replace(model_in(State.READY), **change)).segment.segment
    assert (segment.is_enabled, segment.tip) == (False, reason)


@pytest.mark.parametrize(
    ("state", "word"),
    [("missing", "not on this computer"), ("damaged", "damaged"), ("unchecked", "without a check")],
)
def test_model_that_is_not_good_says_why(state, word):
    model = model_in(State.READY)
    model.models = tuple(replace(info, state=state) for info in model.models)
    model.are_models_known = True
    view = render(model).segment
    assert word in view.segment.tip
    assert word in view.model_note
    assert not view.segment.is_enabled


def test_running_job_is_shown_before_any_message():
    model = model_in(State.PREDICTING)
    model.say("Something else.")
    status = render(model).status
    assert (status.text, status.kind, status.fraction) == ("Finding the structures", "busy", 0.25)
    assert status.time_left == "about 30 s left"
    assert not status.dismiss.is_visible


def test_message_with_a_log_can_be_opened_and_dismissed():
    model = model_in(State.FAILED)
    model.complain(Failure("x", "fault", "It broke.", "Try again.", "/log"))
    status = render(model).status
    assert (status.text, status.kind, status.log) == ("It broke. Try again.", "error", "/log")
    assert status.show_log.is_enabled
    assert status.dismiss.is_enabled


def test_installation_cannot_be_stopped_half_way():
    model = model_in(State.NEEDS_SETUP)
    model.side_job = Step("Installing", can_cancel=False)
    assert render(model).status.cancel.tip == "An installation cannot be stopped half way."


def test_failed_run_with_an_earlier_result_is_dismissed_before_correcting():
    model = replace(model_in(State.REVIEWING), state=State.FAILED)
    assert render(model).correct.edit.tip == "Read the message at the top of the panel and dismiss it first."


def test_every_text_goes_through_the_translator():
    model = model_in(State.REVIEWING)
    plain = render(model)
    try:
        i18n.set_translator(lambda _context, text: f"<{text}>")
        translated = render(model)
    finally:
        i18n.set_translator()
    names = (plain.segment.segment, plain.correct.edit, plain.export.export, plain.status.cancel)
    again = (translated.segment.segment, translated.correct.edit, translated.export.export, translated.status.cancel)
    assert all(old.tip != new.tip and old.tip in new.tip for old, new in zip(names, again, strict=True))


# --- Estimates --------------------------------------------------------------------------------------------------------


def ready(*devices) -> Ready:
    return Ready("1", "1", "3.12", 1, ("onnx",), devices, ())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Estimated("1", 3.2, 1_200_000_000, 0, "cpu"), "About 3 s and 1.2 GB on this CPU."),
        (
            Estimated("1", None, 1_200_000_000, 0, "cpu", ("How long it takes is not known.",)),
            "About 1.2 GB on this CPU. How long it takes is not known. The first run measures it.",
        ),
        (
            Estimated("1", 5, 400_000_000, 3_000_000_000, "cuda:0"),
            "About 5 s and 3.0 GB on the graphics card and 400 MB of main memory on A graphics card.",
        ),
        (
            Estimated("1", 3, 20_000_000_000, 0, "cpu", ("In half precision.",)),
            "About 3 s and 20.0 GB on this CPU. Too little memory: 20.0 GB are needed, 12.0 GB are free on this CPU. "
            "Close other programs, or choose fewer classes. In half precision.",
        ),
        (
            Failure("1", "resource", "It needs 40 GB.", "Crop the CT."),
            "Too little memory for this choice. It needs 40 GB. Crop the CT.",
        ),
        (Failure("1", "input", "It broke."), "Time and memory cannot be told. It broke."),
        (None, ""),
    ],
)
def test_estimate_in_words(answer, text):
    model = replace(model_in(State.READY), estimate=answer, ready=ready(CPU, GPU), is_estimate_allowed=True)
    assert estimate_text(model) == text


def test_memory_that_is_not_known_is_not_short():
    estimate = Estimated("1", 3, 20_000_000_000, 0, "cpu")
    model = replace(model_in(State.READY), estimate=estimate, ready=ready(replace(CPU, free_bytes=0)))
    assert "Too little" not in estimate_text(model)


# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than 1 s"),
        (1, "1 s"),
        (19.4, "19 s"),
        (43, "45 s"),
        (89, "90 s"),
        (95, "2 min"),
        (3600, "60 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "1 MB"), (350e6, "350 MB"), (949e6, "949 MB"), (951e6, "1.0 GB"), (1.24e9, "1.2 GB")]
)
def test_sizes(size, text):
    assert size_text(size) == text


def test_time_left_names_and_stages():
    assert (time_left_text(None), time_left_text(-1), time_left_text(12)) == ("", "almost done", "about 12 s left")
    assert names_text(["a", "b", "c", "d"]) == "a, b, c, d"
    assert names_text(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert (stage_text("network"), stage_text("thinking")) == ("Finding the structures", "Thinking")


def test_no_text_shouts():
    folder = Path(render.__code__.co_filename).parent
    assert not [path.name for path in folder.glob("*.py") if '!"' in path.read_text(encoding="utf-8")]


def test_catalogue_lists_what_segments_and_knows_its_files():
    models = {info.id: info for info in catalogue_models()}
    assert next(iter(models)) == "starter"
    assert "genesis_chest_ct" not in models
    assert (models["starter"].state, models["starter"].is_onnx) == ("bundled", True)
    assert (models["universal_unet"].state, models["universal_unet"].commercial_use) == ("unchecked", False)
    assert model_of_file("clip_driven_universal_unet.pth") == "universal_unet"
    assert model_of_file("anything.pth") is None
