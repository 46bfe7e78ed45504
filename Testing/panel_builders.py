"""A controller that only records, and one view for each state, as the real controller would word them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.resources import resource
from GenesisSegmentLib.core.workflow.class_tree import class_tree
from GenesisSegmentLib.core.workflow.export_formats import FORMATS
from GenesisSegmentLib.core.workflow.ports import Package, SegmentState
from GenesisSegmentLib.core.workflow.signal import Signal
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import (
    Choice,
    Control,
    CorrectPart,
    ExportPart,
    LearnPart,
    PromptPart,
    ReviewRow,
    ScoreRow,
    SegmentPart,
    SetupPart,
    StatusStrip,
    View,
)

OFFERED = (1, 2, 3, 6, 8, 16, 17)
HIDDEN = Control(False, "", is_visible=False)
NO_CT = "Choose a CT first."
NO_RESULT = "There is no result yet: segment a CT first."
BUSY = "Wait until the run has ended, or cancel it."

COMMANDS = (
    *("start", "stop", "close", "tick", "choose_volume", "choose_model", "choose_device", "search", "check_classes"),
    *("segment", "cancel", "dismiss", "install", "import_model", "download_model", "self_test", "edit", "set_locked"),
    *("set_reviewed", "set_visible", "reset_segment", "undone", "redone", "select_segment", "show_proposal"),
    *("show_difference", "update_3d", "show_export", "choose_formats", "choose_folder", "move_paint", "export"),
    "volume_removed",
    *("scene_about_to_close", "scene_closed", "scene_loaded", "segmentation_edited"),
    *("accept", "show_learn", "install_learning", "learn", "pause_learning", "stop_learning"),
    *("set_automatic", "use_version", "go_back"),
    *("choose_tool", "set_adding", "draw", "add_structure", "give_up_prompt", "propagate", "take_offer"),
)


class RecordingController:
    """Has the commands of the real one; ``calls`` is what was sent. Its view changes only through :meth:`show`."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or a_view()
        self.changed = Signal()
        self.calls: list[tuple[Any, ...]] = []
        for name in COMMANDS:
            setattr(self, name, self._recorder(name))

    def show(self, view: View) -> None:
        """What the real one does after a command."""
        self.view = view
        self.changed.emit(view)

    def said(self) -> list[tuple[Any, ...]]:
        """The commands since the last call, ticks left out."""
        said, self.calls[:] = [call for call in self.calls if call[0] != "tick"], []
        return said

    def _recorder(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


def strip(text: str = "Choose a CT.", kind: str = "idle", **changes: Any) -> StatusStrip:
    """The strip while nothing is done."""
    plain = StatusStrip(
        text, kind, None, "", Control(False, "Nothing is running."), Control(False, "There is no log yet.")
    )
    return replace(plain, **changes)


def setup_part(**changes: Any) -> SetupPart:
    """Everything is there."""
    packages = (
        Package("onnxruntime>=1.20", "Runs the starter", "1.22.0", True, 0, "MIT"),
        Package("connected-components-3d>=3.20", "Cleans up", "3.23", True, 0, "LGPL-3.0"),
    )
    plain = SetupPart(
        False,
        "All packages are installed.",
        packages,
        Control(False, "Everything is installed."),
        Control(True, "Installs a model from a file on this computer."),
        Control(True, "Runs one small piece of a made-up CT."),
    )
    return replace(plain, **changes)


def missing_setup() -> SetupPart:
    """Two packages are missing."""
    packages = (
        Package("onnxruntime>=1.20", "Runs the starter model", None, False, 17, "MIT"),
        Package("connected-components-3d>=3.20", "Removes stray voxels", None, False, 4, "LGPL-3.0"),
        Package("scipy>=1.13", "Resamples", "1.17.1", True, 0, "BSD-3-Clause"),
    )
    text = "Two packages are needed: 21 MB to download, 0.1 GB on the disk (210 GB are free)."
    install = Control(True, "Shows what will be installed, asks, then installs it.")
    wait = Control(False, "Some packages are missing: press Install first.")
    return setup_part(is_visible=True, text=text, packages=packages, install=install, import_model=wait, self_test=wait)


def segment_part(**changes: Any) -> SegmentPart:
    """No CT was chosen."""
    models = (
        Choice("starter", "Starter", "A first segmentation that works offline."),
        Choice("universal_unet", "Universal Model, U-Net", "25 organs and 7 kinds of lesion."),
        Choice("genesis", "Models Genesis", "For training only.", is_enabled=False),
    )
    plain = SegmentPart(
        volume=Control(True, "The CT to segment."),
        volume_note="",
        models=models,
        model="starter",
        model_note="Starter, not for clinical use.\nLicence: Apache-2.0. Free to use, change and pass on, as "
        "GenesisSegment itself. A starter trained on a few openly licensed CTs: it is not a medical device and not "
        "for clinical use.\nFinds 7 of 32 structures; not offered: Gall Bladder, Esophagus, Stomach and 22 more.",
        devices=(Choice("auto", "Automatic"), Choice("cpu", "CPU: x86_64, 8 threads"), Choice("cuda:0", "RTX 4070")),
        device="auto",
        device_note="",
        search="",
        tree=class_tree(OFFERED, OFFERED),
        classes_note="7 of 7 classes that this model offers.",
        estimate="",
        segment=Control(False, NO_CT),
    )
    return replace(plain, **changes)


def segment_state(index: int, **changes: Any) -> SegmentState:
    """The segment of a class as the model wrote it."""
    structure = class_table()[index]
    plain = SegmentState(structure.slug, structure.name, structure.color, index, False, False, True, 0)
    return replace(plain, **changes)


def review_row(state: SegmentState, reset: Control | None = None) -> ReviewRow:
    """A row in which everything can be used."""
    return ReviewRow(
        state,
        Control(True, "Unlock this segment." if state.is_locked else "Lock this segment: nothing can change it."),
        Control(True, "You looked at this segment and it is right."),
        reset or Control(bool(state.changed_voxels), "Gives this segment the voxels of the proposal back."),
        "" if state.changed_voxels is None else f"{state.changed_voxels} voxels changed",
    )


def correct_part(**changes: Any) -> CorrectPart:
    """Nothing to correct."""
    no = Control(False, NO_RESULT)
    return replace(CorrectPart((), NO_RESULT, no, no, no, no, ""), **changes)


def prompting(**changes: Any) -> PromptPart:
    """Tools that can be taken."""
    tips = {"point": "Click.", "scribble": "Draw a line.", "lasso": "Draw round.", "rectangle": "Drag.", "box": "Drag."}
    plain = PromptPart(
        tools=tuple((tool, Control(True, tip)) for tool, tip in tips.items()),
        new=(Choice("", "New structure ..."), Choice("0", "One of your own"), Choice("27", "Liver Tumor")),
        new_box=Control(True, "Begins a structure."),
        add=Control(True, "What you draw is added.", is_checked=True),
        add_text="Add",
        propagate=Control(False, "Draw some prompts first."),
    )
    return replace(plain, **changes)


def reviewing(**changes: Any) -> CorrectPart:
    """Seven segments, one of them changed and one locked."""
    special: dict[int, dict[str, Any]] = {6: {"changed_voxels": 12840}, 1: {"is_locked": True, "is_reviewed": True}}
    locked = Control(False, "This segment is locked: unlock it first.")
    rows = tuple(
        review_row(segment_state(index, **special.get(index, {})), locked if index == 1 else None) for index in OFFERED
    )
    plain = correct_part(
        rows=rows,
        note="",
        edit=Control(True, "Opens the Segment Editor on this segmentation."),
        show_proposal=Control(True, "Shows what the model proposed, as outlines."),
        show_difference=Control(True, "Shows what was added and removed in the selected segment."),
        update_3d=Control(True, "Makes the surfaces once."),
        reviewed_note="1 of 7 segments reviewed.",
        undo=Control(True, "Takes the last change back."),
        accept=Control(True, "Keeps the reviewed structures as corrections."),
        accept_text="Accept reviewed structures",
        redo=Control(False, "Nothing was taken back."),
        selected="liver",
    )
    return replace(plain, **changes)


def export_part(**changes: Any) -> ExportPart:
    """Nothing to export yet."""
    formats = tuple(
        Choice(f.key, f.text, "The CT did not come from DICOM." if f.key == "dicom" else "", f.key != "dicom")
        for f in FORMATS
    )
    return replace(ExportPart(formats, ("seg.nrrd",), (), "", "", Control(False, NO_RESULT)), **changes)


def exportable(**changes: Any) -> ExportPart:
    """A result whose classes overlap."""
    table = class_table()
    order = tuple(Choice(str(i), table[i].name) for i in (6, 2, 27))
    plain = export_part(
        chosen=("seg.nrrd", "nii.gz", "csv"),
        paint_order=order,
        overlap_note="Liver and Liver Tumor share voxels. In a label map the later class is painted over the earlier.",
        folder="/data/results",
        export=Control(True, "Writes the files."),
    )
    return replace(plain, **changes)


def learn_part(**changes: Any) -> LearnPart:
    """A round is on; another one ended before."""
    plain = LearnPart(
        is_visible=True,
        counts="9 corrections of 4 cases were accepted, 3 of them since the last round. Cases to learn from: 3; to "
        "compare with: 1; never looked at before the end: 0.",
        note="2 accepted corrections are safe on disk and wait to be taken into the case store.",
        round_text="Training: step 120, loss 0.312",
        fraction=0.4,
        time_left="about 10 min left",
        learn=Control(False, "A round is on already."),
        pause=Control(True, "Stops the round where it stands."),
        pause_text="Pause",
        stop=Control(True, "Ends the round."),
        automatics=(Choice("off", "By hand only"), Choice("count", "After new corrections"), Choice("time", "At")),
        automatic="count",
        count=7,
        time="21:30",
        count_box=Control(True, "So many new corrections start a round."),
        time_box=Control(True, "At this time of day a round begins.", is_visible=False),
        outcome="The last round made a better model. Liver is better.",
        rows=(
            ScoreRow("Liver", "0.811", "0.874", "6", "better", "good", "Reviewed by you. p = 0.016."),
            ScoreRow("Spleen", "0.902", "0.880", "6", "worse", "bad", "Not reviewed."),
            ScoreRow("Pancreas", "0.511", "0.533", "2", "not proven", tip="3 more patients are needed."),
        ),
        open_report=Control(True, "Opens the report."),
        report="/data/report.html",
        in_use="In use: Starter, round 1 (v1).",
        use=Control(True, "Segments with Starter, round 2 (v2) from now on."),
        back=Control(False, "The model from before all versions is in use already."),
    )
    return replace(plain, **changes)


def a_view(state: State = State.NO_VOLUME, **parts: Any) -> View:
    """The view of a state; parts can be replaced."""
    return replace(_VIEWS[state](), **parts)


def _plain(state: State, status: StatusStrip | None = None, **parts: Any) -> View:
    plain = View(state, status or strip(), setup_part(), segment_part(), correct_part(), export_part())
    return replace(plain, **parts)


def _predicting() -> View:
    status = strip(
        "Finding the structures",
        "busy",
        fraction=0.42,
        time_left="about 50 s left",
        cancel=Control(True, "Ends the run; nothing is changed."),
        show_log=Control(True, "Opens the log of the segmentation process."),
    )
    segment = segment_part(
        volume=Control(False, BUSY),
        segment=Control(False, BUSY),
        tree=class_tree(OFFERED, OFFERED, busy=BUSY),
    )
    return _plain(State.PREDICTING, status, segment=segment)


def _failed() -> View:
    status = strip(
        "The segmentation process was ended, probably because the memory ran out. Close other programs, ask for fewer "
        "classes, crop the CT, or use a coarser model; then try again.",
        "error",
        show_log=Control(True, "Opens the log of the segmentation process."),
        log="/tmp/worker.log",
        dismiss=Control(True, "Puts this message away."),
    )
    return _plain(State.FAILED, status, segment=segment_part(segment=Control(True, "Segments the CT.")))


_ESTIMATE = "About 1 min on the CPU, 2.1 GB of memory (11.2 GB are free)."
_VIEWS: dict[State, Any] = {
    State.NO_VOLUME: lambda: _plain(State.NO_VOLUME),
    State.NEEDS_SETUP: lambda: _plain(
        State.NEEDS_SETUP, strip("Some packages are missing.", "warning"), setup=missing_setup()
    ),
    State.READY: lambda: _plain(
        State.READY,
        strip("Ready.", "idle"),
        segment=segment_part(segment=Control(True, "Segments the CT."), estimate=_ESTIMATE),
    ),
    State.PREDICTING: _predicting,
    State.REVIEWING: lambda: _plain(
        State.REVIEWING,
        strip("7 segments in 48 s on the CPU.", "good"),
        segment=segment_part(segment=Control(True, "Segments the CT again."), estimate=_ESTIMATE),
        correct=reviewing(),
        prompt=prompting(),
        export=exportable(),
    ),
    State.CORRECTING: lambda: _plain(
        State.CORRECTING,
        strip("Correcting.", "idle"),
        segment=segment_part(segment=Control(True, "Segments the CT again.")),
        correct=reviewing(edit=Control(True, "Ends correcting.", is_checked=True)),
        export=exportable(),
    ),
    State.FAILED: _failed,
}


class PanelOnBench:
    """The panel of the .ui file on the bench, with a recording controller behind it."""

    def __init__(self, bench: Any) -> None:
        from GenesisSegmentLib.ui.module_widget import ModuleWidget
        from GenesisSegmentLib.ui.segment_editor import SegmentEditor

        self.bench, self.controller = bench, RecordingController()
        self.root = bench.slicer.util.loadUI(str(resource("UI/GenesisSegment.ui")))
        self.ui = bench.slicer.util.childWidgetVariables(self.root)
        self.root.setMRMLScene(bench.scene)
        self.editor = SegmentEditor(self.ui.segmentEditorWidget)
        self.module = ModuleWidget(self.ui, self.root, self.controller, self.editor)
        self.root.resize(400, 1200)
        self.root.show()

    def show(self, view: View) -> None:
        """Has the controller say this."""
        self.controller.show(view)
        self.bench.pump(0)

    def close(self) -> None:
        """Unloads the module and deletes its widgets."""
        self.module.close()
        self.root.delete()
