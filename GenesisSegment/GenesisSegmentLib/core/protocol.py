"""What the worker is told and what it says: one JSON object per line with ``v``, ``id`` and ``type``.

A command carries an ``id`` of its own; every event that answers it carries the same. Each command ends in exactly one
final event: the answer that its docstring names, or :class:`Failure`. Voxels never go through the pipe: they lie in
files (:mod:`.bulk`), which messages name. Paths are absolute. What events are made of: :mod:`.reports`. A text for
people may carry the literal that it was made of, to be said in their language (:class:`.i18n.Worded`).
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from .errors import Cancelled, GenesisError
from .i18n import _
from .learning_messages import LearningCommand, LearningEvent, Stage
from .refining_messages import Refine, Refined
from .reports import DeviceInfo, LayerFile, MeasurementRow, ModelInfo, Package
from .wire import MisfitError, build, from_line, to_line

VERSION = 1
HEARTBEAT_SECONDS = 2.0

FAILURE_CODES = frozenset(
    {
        *("error", "input", "geometry", "model", "resource", "output", "network", "consent", "cancelled"),
        *("holdout", "learning"),
        "postprocess",  # the published clean-up fails on this prediction, as it does in its release
        "setup",  # a Python package is missing or broken
        "fault",  # unexpected
        "protocol",  # not understood
        "unknown_type",  # a command or event that this version does not know
        "worker_lost",  # the process is gone
    }
)
"""Those of :mod:`.errors`, and what has no type of its own. They stay as they are: others decide by them."""

EXIT_DONE = 0
"""The worker was told to stop, or its parent is gone."""
EXIT_FATAL = 70
"""The worker's own loop failed; the log says where."""
EXIT_DEVICE_LOST = 71
"""A GPU fell into a state that only a new process leaves; the job's error was sent before."""

Recipe = Literal["fast", "published"]
Cleaning = Literal["safe", "published"]
RuntimeName = Literal["torch", "onnx"]
Index = tuple[int, int, int]


def new_id() -> str:
    """A fresh id for a command."""
    return uuid.uuid4().hex[:12]


# --- Commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """Asks what there is. Answer: :class:`Ready`."""

    type: ClassVar[str] = "hello"
    id: str


@dataclass(frozen=True)
class LoadVolume:
    """Makes a CT in a bulk folder known under its ``fingerprint``. Answer: :class:`Done`.

    ``name`` is for people; ``series_uid`` the DICOM SeriesInstanceUID where there is one.
    """

    type: ClassVar[str] = "load_volume"
    id: str
    folder: str
    fingerprint: str
    name: str = ""
    series_uid: str = ""


@dataclass(frozen=True)
class Estimate:
    """Asks what segmenting would take. Answer: :class:`Estimated`.

    ``volume`` is a fingerprint. For a CT that is not loaded, ``shape`` and ``spacing`` in mm say enough, both in the
    order of the axes R, A, S; nothing is known then of the air around the body, so that the answer is an upper limit.
    """

    type: ClassVar[str] = "estimate"
    id: str
    volume: str
    model: str = "starter"
    classes: tuple[int, ...] | None = None
    device: str = "auto"
    runtime: RuntimeName | None = None
    recipe: Recipe = "fast"
    shape: Index | None = None
    spacing: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Segment:
    """Segments a loaded CT. Answers: :class:`Progress` and :class:`Partial` on the way, then :class:`Result`.

    ``volume`` is a fingerprint, ``folder`` an existing folder that takes the files of the result (the client gives one
    where it is empty), ``model`` a name in the catalogue or a file, ``classes`` None all that the model offers,
    ``overlap`` None the model's own.
    """

    type: ClassVar[str] = "segment"
    id: str
    volume: str
    folder: str = ""
    model: str = "starter"
    classes: tuple[int, ...] | None = None
    device: str = "auto"
    runtime: RuntimeName | None = None
    recipe: Recipe = "fast"
    postprocess: Cleaning = "safe"
    overlap: float | None = None


@dataclass(frozen=True)
class SelfTest:
    """Runs one window of a synthetic CT on a device. Answer: :class:`Tested`."""

    type: ClassVar[str] = "self_test"
    id: str
    model: str = "starter"
    device: str = "auto"
    runtime: RuntimeName | None = None


@dataclass(frozen=True)
class ListModels:
    """Asks for the catalogue and what of it is on this machine. Answer: :class:`Models`."""

    type: ClassVar[str] = "list_models"
    id: str


@dataclass(frozen=True)
class ImportModel:
    """Installs a model from a file. ``is_agreed``: the person saw its licence and agreed. Answer: :class:`Done`."""

    type: ClassVar[str] = "import_model"
    id: str
    name: str
    file: str
    is_agreed: bool = False


@dataclass(frozen=True)
class DownloadModel:
    """Fetches a model from its host. ``is_agreed``: the person saw address, size and licence. Answer: :class:`Done`."""

    type: ClassVar[str] = "download_model"
    id: str
    name: str
    is_agreed: bool = False


@dataclass(frozen=True)
class Unload:
    """Forgets a volume, or with an empty fingerprint all volumes and all warm models. Answer: :class:`Done`."""

    type: ClassVar[str] = "unload"
    id: str
    volume: str = ""


@dataclass(frozen=True)
class Cancel:
    """Stops the command with the id ``target``, which then ends in its own final event. Answer: :class:`Done`."""

    type: ClassVar[str] = "cancel"
    id: str
    target: str


@dataclass(frozen=True)
class Shutdown:
    """Cancels everything and ends the process. Answer: :class:`Done`."""

    type: ClassVar[str] = "shutdown"
    id: str


Command = (
    Hello
    | LoadVolume
    | Estimate
    | Segment
    | SelfTest
    | ListModels
    | ImportModel
    | DownloadModel
    | Unload
    | Cancel
    | Shutdown
    | Refine
    | LearningCommand
)


# --- Events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """Versions, devices and packages. ``runtimes`` are those whose packages are all there: nothing to set up."""

    type: ClassVar[str] = "ready"
    id: str
    version: str
    python: str
    pid: int
    runtimes: tuple[RuntimeName, ...]
    devices: tuple[DeviceInfo, ...]
    packages: tuple[Package, ...]


@dataclass(frozen=True)
class Heartbeat:
    """Comes every two seconds. ``jobs`` are the ids that are not finished, the running one first.

    ``pid`` is that of the process that works: the one that was started may be a launcher.
    """

    type: ClassVar[str] = "heartbeat"
    id: str
    state: Literal["idle", "busy", "ending"]
    jobs: tuple[str, ...] = ()
    pid: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a command is: ``fraction`` of the whole in 0..1."""

    type: ClassVar[str] = "progress"
    id: str
    stage: str
    fraction: float
    seconds_left: float | None = None


@dataclass(frozen=True)
class Partial:
    """One class before the run ends: its mask inside the box ``start``..``stop``, raw uint8 0/1, i fastest.

    ``is_preliminary``: the mask of the result may differ.
    """

    type: ClassVar[str] = "partial"
    id: str
    index: int
    start: Index
    stop: Index
    file: str
    is_preliminary: bool = False


@dataclass(frozen=True)
class Result:
    """A finished segmentation on the grid of the volume with the fingerprint ``volume``.

    ``classes`` were looked for; each lies in exactly one layer. ``present`` were found. ``seconds`` per stage. ``own``
    are the names of the classes from 33 on.
    """

    type: ClassVar[str] = "result"
    id: str
    volume: str
    shape: Index
    layers: tuple[LayerFile, ...]
    classes: tuple[int, ...]
    present: tuple[int, ...]
    measurements: tuple[MeasurementRow, ...]
    notes: tuple[str, ...]
    device: str
    model: str
    model_title: str
    model_sha256: str
    recipe: Recipe
    postprocess: str
    windows: int
    seconds: dict[str, float] = field(default_factory=dict)
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimated:
    """What a run would take. ``seconds`` None: not known yet, and a note says so. ``device`` is where it would run."""

    type: ClassVar[str] = "estimated"
    id: str
    seconds: float | None
    host_bytes: int
    device_bytes: int
    device: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tested:
    """The self-test: whether the model works on ``device``, and ``verdicts`` in words."""

    type: ClassVar[str] = "tested"
    id: str
    is_working: bool
    device: str
    seconds: float
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Models:
    """The catalogue."""

    type: ClassVar[str] = "models"
    id: str
    models: tuple[ModelInfo, ...]


@dataclass(frozen=True)
class Done:
    """The plain answer: it was done. ``note`` may say more."""

    type: ClassVar[str] = "done"
    id: str
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """A command ended without its answer; with an empty ``id``, the worker itself failed.

    ``code`` is one of :data:`FAILURE_CODES`: it says what kind of failure it is, whatever the language of the words.
    """

    type: ClassVar[str] = "error"
    id: str
    code: str
    what: str
    remedy: str = ""
    log: str = ""
    is_cancelled: bool = False

    @classmethod
    def of(cls, job: str, error: GenesisError, log: str = "") -> Failure:
        """The event for a typed error."""
        return cls(job, error.code, error.what, error.remedy, log, isinstance(error, Cancelled))


Event = (
    Ready
    | Heartbeat
    | Progress
    | Partial
    | Result
    | Estimated
    | Tested
    | Models
    | Done
    | Failure
    | Refined
    | LearningEvent
)
Message = Command | Event
IN_BETWEEN = (Heartbeat, Progress, Partial, Stage)
"""Events that do not end the command that they belong to."""

COMMANDS: dict[str, type] = {c.type: c for c in Command.__args__}  # type: ignore[attr-defined]
EVENTS: dict[str, type] = {c.type: c for c in Event.__args__}  # type: ignore[attr-defined]
_TYPES = {**COMMANDS, **EVENTS}


def encode(message: Message) -> bytes:
    """One line of JSON."""
    return to_line({"v": VERSION, "type": message.type, **asdict(message)})


def decode(line: bytes) -> Message | None:
    """The message on a line; None where there is none. Never raises.

    A message that cannot be understood comes back as a :class:`Failure` with its id: a receiver of commands sends it
    on as the answer.
    """
    document = from_line(line)
    if document is None:
        return None
    job = document.get("id")
    job = job if isinstance(job, str) else ""
    version, name = document.get("v"), document.get("type")
    if not isinstance(version, int) or isinstance(version, bool) or version != VERSION:
        what = _("A message has protocol version {found}, but this side speaks version {own}.")
        return Failure(job, "protocol", what.format(found=_short(version), own=VERSION), _agree())
    if not isinstance(name, str) or name not in _TYPES:
        return Failure(
            job, "unknown_type", _("There is no message of type {name}.").format(name=_short(name)), _agree()
        )
    try:
        return build(_TYPES[name], document)
    except MisfitError as error:
        what = _("A message of type {name} is not valid: {reason}.").format(name=name, reason=error)
        return Failure(job, "protocol", what, _agree())


def _agree() -> str:
    return _("Install the same version of GenesisSegment on both sides, then restart Slicer.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
