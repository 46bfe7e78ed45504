"""What the panel shows, as data: widgets render it and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..strokes import TOOLS
from .ports import Package, SegmentState
from .states import State


@dataclass(frozen=True)
class Control:
    """A button, box or field. ``tip`` says what it does, or why it cannot be used now."""

    is_enabled: bool
    tip: str
    is_visible: bool = True
    is_checked: bool = False


def control(reason: str, tip: str, *, is_visible: bool = True, is_checked: bool = False) -> Control:
    """Enabled with what it does, or disabled with the reason."""
    return Control(not reason, reason or tip, is_visible, is_checked)


@dataclass(frozen=True)
class Choice:
    """An entry of a combo box; ``value`` is what the command receives."""

    value: str
    text: str
    tip: str = ""
    is_enabled: bool = True


@dataclass(frozen=True)
class ClassRow:
    """A line of the class tree: a group (``classes`` has several) or one class.

    ``check`` is "on", "off" or "some". A line that the search hides is not in the tree at all.
    """

    key: str
    text: str
    tip: str
    classes: tuple[int, ...]
    check: str
    is_enabled: bool
    color: tuple[int, int, int] | None = None
    children: tuple[ClassRow, ...] = ()


@dataclass(frozen=True)
class StatusStrip:
    """The line at the bottom. ``kind`` is idle, busy, good, warning or error; ``fraction`` None hides the bar.

    ``log`` is the path that ``show_log`` opens.
    """

    text: str
    kind: str
    fraction: float | None
    time_left: str
    cancel: Control
    show_log: Control
    log: str = ""
    dismiss: Control = Control(False, "", is_visible=False)


@dataclass(frozen=True)
class SetupPart:
    """The set-up panel; hidden once everything is there."""

    is_visible: bool
    text: str
    packages: tuple[Package, ...]
    install: Control
    import_model: Control
    self_test: Control
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentPart:
    """CT, model, device, classes, estimate, Segment. ``volume_id`` is the chosen CT, "" for none."""

    volume: Control
    volume_note: str
    models: tuple[Choice, ...]
    model: str
    model_note: str
    devices: tuple[Choice, ...]
    device: str
    device_note: str
    search: str
    tree: tuple[ClassRow, ...]
    classes_note: str
    estimate: str
    segment: Control
    volume_id: str = ""
    get_model: Control = Control(False, "", is_visible=False)


@dataclass(frozen=True)
class ReviewRow:
    """A segment to be reviewed, and what can be done with it."""

    segment: SegmentState
    lock: Control
    review: Control
    reset: Control
    change_text: str


@dataclass(frozen=True)
class CorrectPart:
    """The segments, the proposal and the editor.

    ``segmentation_id`` and ``selected`` name the segmentation that is worked on and its selected segment, "" for none.
    """

    rows: tuple[ReviewRow, ...]
    note: str
    edit: Control
    show_proposal: Control
    show_difference: Control
    update_3d: Control
    reviewed_note: str
    undo: Control = Control(False, "")
    redo: Control = Control(False, "")
    accept: Control = Control(False, "", is_visible=False)
    accept_text: str = ""
    segmentation_id: str = ""
    selected: str = ""


@dataclass(frozen=True)
class PromptPart:
    """The tools that draw prompts on the selected structure.

    ``new`` are the structures that can be begun, by class index, "0" for one of the person's own; the first entry, "",
    says what the list is for.

    ``tools`` are buttons by name of :data:`..strokes.TOOLS`; ``tool`` is the one in use, "" for none. ``add`` is
    checked where prompts add, and not where they take away. ``take`` and ``drop`` are there while a change is offered.
    """

    tools: tuple[tuple[str, Control], ...] = tuple((tool, Control(False, "")) for tool in TOOLS)
    tool: str = ""
    new: tuple[Choice, ...] = ()
    new_box: Control = Control(False, "")
    add: Control = Control(False, "")
    add_text: str = ""
    propagate: Control = Control(False, "")
    take: Control = Control(False, "", is_visible=False)
    drop: Control = Control(False, "", is_visible=False)
    note: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """A class before and after a round, in words; ``kind`` is good, bad or idle."""

    name: str
    before: str
    after: str
    cases: str
    verdict: str
    kind: str = "idle"
    tip: str = ""


_NOTHING = Control(False, "", is_visible=False)


@dataclass(frozen=True)
class LearnPart:
    """What was accepted, the round that runs or ended, and the models that came of it. Hidden until there is any.

    ``fraction`` None hides the bar. ``pause_text`` is what the button does now. ``report`` is the path that
    ``open_report`` opens. ``automatic`` is one of the ``automatics``, ``count`` and ``time`` ("HH:MM") belong to it.
    """

    is_visible: bool = False
    counts: str = ""
    note: str = ""
    round_text: str = ""
    fraction: float | None = None
    time_left: str = ""
    install: Control = _NOTHING
    learn: Control = _NOTHING
    pause: Control = _NOTHING
    pause_text: str = ""
    stop: Control = _NOTHING
    automatics: tuple[Choice, ...] = ()
    automatic: str = "off"
    count: int = 5
    time: str = "20:00"
    count_box: Control = _NOTHING
    time_box: Control = _NOTHING
    outcome: str = ""
    rows: tuple[ScoreRow, ...] = ()
    open_report: Control = _NOTHING
    report: str = ""
    in_use: str = ""
    use: Control = _NOTHING
    back: Control = _NOTHING


@dataclass(frozen=True)
class ExportPart:
    """Formats, paint order where classes overlap, and the button."""

    formats: tuple[Choice, ...]
    chosen: tuple[str, ...]
    paint_order: tuple[Choice, ...]
    overlap_note: str
    folder: str
    export: Control
    last_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """The whole panel."""

    state: State
    status: StatusStrip
    setup: SetupPart
    segment: SegmentPart
    correct: CorrectPart
    export: ExportPart
    learn: LearnPart = field(default_factory=LearnPart)
    prompt: PromptPart = field(default_factory=PromptPart)
    is_awake: bool = False
    """Whether ticks are needed while the module is not in front: a round is on, or may begin by itself, or the segments
    changed and those that are locked or reviewed are to be put right."""
    is_working: bool = False
    """Whether work is being done in pieces or a prompt being answered: the sooner the next tick comes, the better."""
