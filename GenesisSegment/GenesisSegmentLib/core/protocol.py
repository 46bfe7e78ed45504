"""What the worker is told and what it says: one JSON object per line with ``v``, ``id`` and ``type``.

A command carries an ``id`` of its own; every event that answers it carries the same. Each command ends in exactly one
final event: the answer that its docstring names, or :class:`Failure`. Voxels never go through the pipe: they lie in
files (:mod:`.bulk`), which messages name. Paths are absolute. What events are made of: :mod:`.reports`. A text for
people may carry the literal that it was made of, to be said in their language (:class:`.i18n.Worded`).
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from .errors import Cancelled, GenesisError
from .i18n import _
from .learning_messages import LearningCommand, LearningEvent, Stage
from .refining_messages import Refine, Refined
from .reports import DeviceInfo, ModelInfo, Package
from .segmenting_messages import (
    Estimate,
    Estimated,
    LoadVolume,
    Partial,
    Result,
    RuntimeName,
    Segment,
    Unload,
)
from .wire import MisfitError, build, from_line, to_line

VERSION = 1
HEARTBEAT_SECONDS = 2.0

FAILURE_CODES = frozenset(
    {
        *("error", "input", "geometry", "model", "resource", "output", "network", "consent", "cancelled"),
        *("holdout", "learning", "partner_lost"),
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
