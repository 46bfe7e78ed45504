"""What the controller knows; :mod:`.rendering` makes a view of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..class_names import class_title
from ..classes import FIRST_OWN, all_classes
from ..errors import GenesisError
from ..prompts import Prompt
from ..protocol import Estimated, Failure, Ready, Refined
from ..refining_messages import Step as Asking
from ..reports import ModelInfo
from .learning_model import LearningModel
from .ports import SceneParameters, SegmentState, SetupReport
from .states import State, Trigger, after, is_allowed

COUNT, OVERLAPS, CHANGE, PROMPT = "count", "overlaps", "change", "prompt"
"""Work in pieces whose end others wait for."""


@dataclass(frozen=True)
class Message:
    """What the status strip says until something else happens. ``kind`` as in :class:`.view.StatusStrip`."""

    text: str
    kind: str
    log: str = ""


@dataclass(frozen=True)
class Step:
    """How far a long job is; ``fraction`` None where it cannot be told."""

    text: str
    fraction: float | None = None
    seconds_left: float | None = None
    is_cancelling: bool = False
    can_cancel: bool = True


@dataclass
class Model:
    """Everything that is shown or decided upon.

    ``classes`` is what the person wants of the class table, whatever the model offers; ``left_out`` are the names of
    those structures of their own that they do not want.
    """

    state: State = State.NO_VOLUME
    message: Message | None = None

    volume_id: str | None = None
    volume_problem: str = ""
    volume_note: str = ""
    """What to know of the CT, for example which frame of several is taken."""
    is_dicom: bool = False
    """Whether the CT came from Slicer's DICOM database."""
    handed: tuple[str, str] = ("", "")
    """ID and fingerprint of the CT that the worker got last."""
    segmentation_id: str | None = None

    setup: SetupReport | None = None
    verdicts: tuple[str, ...] = ()
    ready: Ready | None = None
    models: tuple[ModelInfo, ...] = ()
    are_models_known: bool = False
    """Whether the worker said which models are on this machine."""
    model: str = "starter"
    device: str = "auto"
    search: str = ""
    classes: frozenset[int] = field(default_factory=lambda: frozenset(all_classes()))
    left_out: frozenset[str] = frozenset()
    estimate: Estimated | Failure | None = None
    is_estimating: bool = False
    is_estimate_allowed: bool = False
    """Whether the person chose something since the module was entered: before, no process is started to estimate."""

    run: Step | None = None
    """The segmentation that is being made."""
    side_job: Step | None = None
    """Installing, testing, importing or downloading."""

    can_accept: bool = False
    """Whether there is a place for accepted corrections."""
    accepting: Step | None = None
    """The acceptance that is being written."""
    exporting: Step | None = None
    """The files that are being written."""
    learning: LearningModel = field(default_factory=LearningModel)

    rows: tuple[SegmentState, ...] = ()
    selected: str = ""
    works: frozenset[str] = frozenset()
    """What is being done in pieces, as :class:`.chores.Chores` names it."""
    is_proposal_shown: bool = False
    is_difference_shown: bool = False
    is_refresh_due: bool = False
    """Whether the segments changed and are to be looked at in a moment."""
    is_3d_suspended: bool = False
    """Whether the surfaces were taken away for the sake of corrections."""
    can_undo: bool = False
    """Whether a step of undo may be there: the editor does not tell."""
    can_redo: bool = False

    tool: str = ""
    """What prompts are drawn with, one of :data:`..strokes.TOOLS`, or ""."""
    is_adding: bool = True
    """Whether prompts add to the segment, or take away."""
    prompts: tuple[Prompt, ...] = ()
    """Those of the selected segment."""
    awaited: Asking | None = None
    """What the worker was asked about prompts."""
    offer: Refined | None = None
    """A change that is shown and waits to be taken or not."""

    is_export_shown: bool = False
    """Whether the Export part is unfolded; only then is it worth to look for overlaps."""
    overlaps: tuple[tuple[int, int], ...] = ()
    formats: tuple[str, ...] = ()
    folder: Path | None = None
    paint_order: tuple[int, ...] = ()
    last_files: tuple[str, ...] = ()

    @property
    def is_counting(self) -> bool:
        """Whether the changed voxels are being counted."""
        return COUNT in self.works

    @property
    def is_looking_for_overlaps(self) -> bool:
        """Whether it is being found out which classes share voxels."""
        return OVERLAPS in self.works

    @property
    def is_answering(self) -> bool:
        """Whether an answer to prompts, not a preview, is awaited."""
        return self.awaited is not None and self.awaited != "preview"

    @property
    def info(self) -> ModelInfo | None:
        """The chosen model, where it is known."""
        return next((info for info in self.models if info.id == self.model), None)

    @property
    def road(self) -> str:
        """The packages that the chosen model runs with: ``onnx`` or ``torch``."""
        return "onnx" if self.info is None or self.info.is_onnx else "torch"

    @property
    def offered(self) -> tuple[int, ...]:
        """The classes that the chosen model finds, by its own numbers from 33 on."""
        return self.info.drawn if self.info else ()

    @property
    def own(self) -> Mapping[int, str]:
        """The names of the classes from 33 on of the chosen model; structures of a scene have numbers of their own."""
        return dict(enumerate(self.info.own, FIRST_OWN)) if self.info else {}

    @property
    def wanted(self) -> tuple[int, ...]:
        """The classes that a run would look for."""
        own = self.own
        return tuple(c for c in self.offered if (own[c] not in self.left_out if c in own else c in self.classes))

    @property
    def is_set_up(self) -> bool:
        """Whether the packages for the chosen model are all there."""
        return self.setup is not None and not self.setup.missing and not self.setup.needs_restart

    @property
    def is_model_there(self) -> bool:
        """Whether the chosen model is on this machine, as far as is known."""
        if self.info is None:
            return False
        return self.info.state in ("bundled", "installed") or not self.are_models_known

    @property
    def is_busy(self) -> bool:
        """Whether a job is on that must end before another can begin."""
        return any(step is not None for step in (self.run, self.side_job, self.accepting, self.exporting))

    @property
    def is_correcting(self) -> bool:
        """Whether the editor is in use."""
        return self.state is State.CORRECTING

    @property
    def present(self) -> tuple[int, ...]:
        """The classes of the segmentation, ascending."""
        return tuple(sorted({row.class_index for row in self.rows if row.class_index}))

    @property
    def absent(self) -> tuple[int, ...]:
        """The classes that the segmentation lacks, of all in the table and those that the chosen model was taught."""
        taught = {row.taught for row in self.rows if row.taught}
        own = (index for index, name in self.own.items() if name not in taught)
        return (*(c for c in all_classes() if c not in self.present), *own)

    @property
    def painted(self) -> tuple[int, ...]:
        """The classes of the segmentation in the order in which they are painted; the last is on top."""
        kept = [c for c in self.paint_order if c in self.present]
        return (*kept, *(c for c in self.present if c not in kept))

    @property
    def written(self) -> tuple[str, ...]:
        """The chosen formats that this CT can be exported in."""
        return tuple(key for key in self.formats if key != "dicom" or self.is_dicom)

    @property
    def parameters(self) -> SceneParameters:
        """What is kept with the scene."""
        classes, left_out = tuple(sorted(self.classes)), tuple(sorted(self.left_out))
        return SceneParameters(self.volume_id, self.segmentation_id, classes, self.paint_order, left_out)

    def title(self, index: int) -> str:
        """What a class of the segmentation is called, in the person's language."""
        names = {row.class_index: row.name for row in self.rows}
        return class_title(index) if index < FIRST_OWN else names.get(index, "")

    def number_of(self, row: SegmentState) -> int:
        """Which class of the chosen model a segment is; 0 where it knows none of that name."""
        if not row.taught:
            return row.class_index
        return next((index for index, name in self.own.items() if name == row.taught), 0)

    def row(self, segment_id: str) -> SegmentState | None:
        """The segment of that ID, if there is one."""
        return next((row for row in self.rows if row.segment_id == segment_id), None)

    def move(self, trigger: Trigger) -> None:
        """Follows the table of states.

        Raises:
            ValueError: the trigger means nothing now.
        """
        self.state = after(self.state, trigger)

    def can(self, trigger: Trigger) -> bool:
        """Whether the table allows it now."""
        return is_allowed(self.state, trigger)

    def say(self, text: str, kind: str = "good", log: str = "") -> None:
        """Puts a sentence into the status strip."""
        self.message = Message(text, kind, log)

    def complain(self, error: GenesisError | Failure) -> None:
        """Puts what went wrong, and what to do, into the status strip."""
        log = error.log if isinstance(error, Failure) else ""
        self.say(f"{error.what} {error.remedy}".strip(), "error", log)
