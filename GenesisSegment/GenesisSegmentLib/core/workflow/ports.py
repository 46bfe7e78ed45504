"""What the controller needs from the scene, the worker, the set-up and the settings, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..corrections import Acceptance, AcceptedClass
from ..geometry import Box, Geometry
from ..layers import Layer
from ..pieces import Pieces
from ..protocol import Command, Partial, Refined, Result
from ..volume import Volume


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A CT of the scene as it is now.

    ``volume`` holds a copy of the voxels (i, j, k) int16 HU and the geometry IJK -> world, parent transform included.
    ``fingerprint`` changes whenever node, voxels or placement do.
    """

    node_id: str
    volume: Volume
    fingerprint: str


@dataclass(frozen=True)
class SegmentState:
    """A segment of the segmentation that is being worked on.

    ``class_index`` is 0 for a segment of the person's own that no model knows. Classes from 33 on are those that a
    person taught a model: ``taught`` is the name, by which they are known, for each segmentation numbers them itself.
    ``changed_voxels`` counts against the proposal; None where there is none or it was not counted yet.
    """

    segment_id: str
    name: str
    color: tuple[int, int, int]
    class_index: int
    is_locked: bool
    is_reviewed: bool
    is_visible: bool
    changed_voxels: int | None
    taught: str = ""


@dataclass(frozen=True)
class Guarded:
    """What became of locked and reviewed segments: names of those that were put right, and of those that are no longer
    locked or reviewed because undo changed them or because they are gone. ``can_undo``: a step of undo was saved."""

    put_back: tuple[str, ...] = ()
    unmarked: tuple[str, ...] = ()
    can_undo: bool = False


@dataclass(frozen=True)
class SceneParameters:
    """What is kept with the scene, so that a saved scene can be gone on with; as :class:`.model.Model` has it."""

    volume_id: str | None = None
    segmentation_id: str | None = None
    classes: tuple[int, ...] = ()
    paint_order: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResultText:
    """What a result says of its making; kept with the segmentation node.

    ``own`` are the names of its classes from 33 on.
    """

    model: str
    model_title: str
    model_sha256: str
    device: str
    notes: tuple[str, ...]
    own: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Reviewed:
    """The reviewed segments, each with its mask and what was proposed for it on the voxels of the CT.

    ``names`` are those of the segments. ``patient`` tells patients apart, or is "". ``model`` and ``model_sha256`` name
    what made the proposal. ``accepted`` is what :meth:`ScenePort.remember_accepted` kept last.
    """

    classes: tuple[AcceptedClass, ...]
    names: tuple[str, ...]
    patient: str
    model: str
    model_sha256: str
    accepted: str


@dataclass(frozen=True)
class ExportRequest:
    """Which formats go into ``folder``: keys of :data:`.export_formats.FORMATS`; later classes paint over earlier."""

    folder: Path
    formats: tuple[str, ...]
    paint_order: tuple[int, ...]


class Export(Protocol):
    """What is to be written, copied: whatever happens in the scene meanwhile, the files hold what was there."""

    def writing(self, report: Callable[[str, float], None]) -> Pieces[tuple[Path, ...]]:
        """Writes the files, all or none, and replaces none that is there; returns them.

        ``report`` takes what is done now, in words, and how far all of it is, 0 to 1. Given up between two pieces,
        nothing is left of it.
        """


class ScenePort(Protocol):
    """The MRML scene. Nodes are named by their ID; every method raises :class:`GenesisError` with a remedy.

    What takes a look at every voxel comes in pieces, each a few milliseconds at most.
    """

    def copying(self, volume_id: str) -> Pieces[Snapshot]:
        """Copy of a CT. Why it cannot be used is raised at once, unless it takes a look at all voxels to know."""

    def problem(self, volume_id: str) -> str:
        """Why this volume cannot be segmented, in one or two sentences, or "". Cheap: called when one is chosen."""

    def note(self, volume_id: str) -> str:
        """What the person should know of a CT before it is segmented, for example which frame is taken, or ""."""

    def geometry(self, volume_id: str) -> Geometry:
        """Grid of a CT in the world, without looking at its voxels."""

    def is_dicom(self, volume_id: str) -> bool:
        """Whether a volume came from Slicer's DICOM database, which a DICOM SEG refers to."""

    def fingerprint(self, volume_id: str) -> str | None:
        """The fingerprint now, or None where the volume is gone."""

    def segmentation_of(self, volume_id: str) -> str | None:
        """The segmentation of ours that belongs to this volume, if any."""

    def writing_partial(
        self, snapshot: Snapshot, class_index: int, box: Box, mask: np.ndarray, taught: str = ""
    ) -> Pieces[None]:
        """Shows one finished class early, unless the CT changes meanwhile; ``mask`` (i, j, k) of the box.

        ``taught`` is the name of a class from 33 on.
        """

    def discard_partials(self, snapshot: Snapshot) -> None:
        """Takes the early classes away again, after a cancel or an error."""

    def write_result(
        self, snapshot: Snapshot, layers: Iterable[Layer], text: ResultText, measurements: list[dict]
    ) -> str:
        """The whole result in one go: segments, proposal, table. Returns the ID of the segmentation.

        Segments that are locked or reviewed, and the person's own, keep their voxels.
        """

    def segments(self, segmentation_id: str) -> tuple[SegmentState, ...]:
        """All segments, in the order of the segmentation."""

    def version(self, segmentation_id: str) -> Hashable:
        """Another value whenever segments or their voxels are others."""

    def rules(self, segmentation_id: str) -> Hashable:
        """Another value whenever segments may take other voxels of each other: by overwriting, locks, ticks."""

    def counting(self, segmentation_id: str) -> Pieces[None]:
        """Counts the changed voxels of every segment anew, for :meth:`segments` from then on."""

    def set_locked(self, segmentation_id: str, segment_id: str, is_locked: bool) -> None:
        """Locks a segment against every write."""

    def set_reviewed(self, segmentation_id: str, segment_id: str, is_reviewed: bool) -> None:
        """Marks a segment as looked at and right."""

    def guarding(self, segmentation_id: str, is_in_editor: bool) -> Pieces[Guarded]:
        """Puts back what others changed in locked and reviewed segments, and the marks that undo took away.

        Segments that are protected for the first time are remembered as they are. A change that was not made in our
        editor (``is_in_editor``) becomes a step of undo before it is put back.
        """

    def forget_guarded(self) -> None:
        """Remembers no protected segment any more."""

    def set_visible(self, segmentation_id: str, segment_id: str, is_visible: bool) -> None:
        """Shows or hides a segment."""

    def resetting(self, segmentation_id: str, segment_id: str) -> Pieces[None]:
        """Gives a segment the model's voxels back; one step of undo."""

    def add_segment(self, segmentation_id: str, class_index: int, taught: str = "") -> str:
        """Adds an empty segment: of a class, or for 0 one of the person's own; one step of undo. Returns its ID.

        ``taught`` is the name under which a model learned it, instead of a class.
        """

    def reading_surroundings(self, segmentation_id: str, segment_id: str, box: Box) -> Pieces[np.ndarray]:
        """What a prompt is about, of a box of the CT: uint8 bits of :mod:`..refining_messages` (i, j, k)."""

    def redrawing(self, segmentation_id: str, segment_id: str, box: Box, mask: np.ndarray) -> Pieces[int]:
        """Makes a segment what ``mask`` (i, j, k) says inside ``box``; one step of undo.

        Returns the number of voxels that could not be made so.
        """

    def showing_preview(self, segmentation_id: str, box: Box, mask: np.ndarray) -> Pieces[None]:
        """Shows how the segment would be inside ``box``."""

    def hide_preview(self) -> None:
        """Takes that away, wherever it is shown."""

    def show_proposal(self, segmentation_id: str, is_shown: bool) -> None:
        """Shows or hides what the model proposed, as outlines."""

    def showing_difference(self, segmentation_id: str, segment_id: str) -> Pieces[None]:
        """Shows what was added to and taken from the proposal of a segment."""

    def hide_difference(self, segmentation_id: str) -> None:
        """Takes that away."""

    def suspend_3d(self, segmentation_id: str) -> None:
        """Takes the surfaces away, which make every edit slow, until :meth:`update_3d`."""

    def is_3d_suspended(self, segmentation_id: str) -> bool:
        """Whether the surfaces were taken away, by this or an earlier session, and not made since."""

    def update_3d(self, segmentation_id: str) -> None:
        """Makes the surfaces once, and shows them."""

    def finding_overlaps(self, segmentation_id: str) -> Pieces[tuple[tuple[int, int], ...]]:
        """Pairs of classes that share voxels."""

    def preparing_export(self, segmentation_id: str, volume_id: str, request: ExportRequest) -> Pieces[Export]:
        """Copies what is to be written, as it is when nothing changed meanwhile."""

    def reading_reviewed(self, segmentation_id: str) -> Pieces[Reviewed]:
        """What was reviewed, after what others took from it was put back; anew where something changes meanwhile."""

    def remember_accepted(self, segmentation_id: str, state: str) -> None:
        """Keeps with the segmentation in which state it was accepted."""

    def load_parameters(self) -> SceneParameters:
        """What the scene kept; of nodes, those that are still there."""

    def save_parameters(self, parameters: SceneParameters) -> None:
        """Keeps it with the scene."""


class WorkerPort(Protocol):
    """The inference process (:class:`GenesisSegmentLib.core.worker_client.WorkerClient`)."""

    def send(self, command: Command) -> str:
        """Sends a command of :mod:`..protocol`, starting the process if need be; returns its id."""

    def send_volume(self, volume: Volume, fingerprint: str) -> str:
        """Hands a CT over by file, in a background thread; returns the id of the command."""

    def pump(self) -> list:
        """Events since the last call; never blocks."""

    def cancel(self, command_id: str) -> None:
        """Stops a command: asks, then ends the process."""

    def layers(self, result: Result) -> tuple[Layer, ...]:
        """The label layers of a result; its files are deleted.

        Raises:
            InputError: they are gone or not complete.
        """

    def holding(self, bits: np.ndarray) -> Pieces[str]:
        """Writes the uint8 voxels (i, j, k) that a :class:`..protocol.Refine` is about; returns their file.

        Raises:
            OutputError: they could not be written.
        """

    def holds(self, name: str) -> bool:
        """Whether a CT, by its fingerprint, or a file of :meth:`holding` is still there for the worker."""

    def mask(self, partial: Partial | Refined) -> tuple[Box, np.ndarray]:
        """The box and the mask (i, j, k), 0 or 1, of a class that is there early, or of a segment that was refined.

        Raises:
            InputError: the file is gone or not complete.
        """

    def release(self, command_id: str) -> None:
        """Deletes the files of a result that is not needed any more."""

    def stop(self) -> None:
        """Ends the process, for example before packages are installed; the next command starts a new one."""

    def close(self) -> None:
        """Ends the process."""


class CorrectionsPort(Protocol):
    """Where accepted corrections are kept (:class:`GenesisSegmentLib.core.kept.KeptCorrections`)."""

    @property
    def folder(self) -> Path:
        """The outbox."""

    def put(self, acceptance: Acceptance) -> Path:
        """Keeps an acceptance, in the thread that calls; it is on disk when this returns.

        Raises:
            GenesisError: it could not be kept, and nothing half-written is left.
        """

    def state_of(self, acceptance: Acceptance) -> str:
        """Another text whenever what is accepted of a CT is another. Raises as :meth:`put`."""

    def count_waiting(self) -> int:
        """How many acceptances the case store has not taken yet."""

    def has_any(self) -> bool:
        """Whether anything was ever accepted on this machine, or a model version was made."""


@dataclass(frozen=True)
class Package:
    """A Python package that the engine needs: how pip names it, whether it is there, and how much it downloads."""

    requirement: str
    reason: str
    installed: str | None
    is_good: bool
    download_mb: int
    licence: str


@dataclass(frozen=True)
class SetupReport:
    """What is there and what is missing, found from metadata alone: nothing is imported."""

    packages: tuple[Package, ...]
    free_disk_gb: float
    needs_restart: bool = False
    obstacles: tuple[str, ...] = ()
    """Why nothing can be installed as it is, with what to do: sentences for the person."""
    warnings: tuple[str, ...] = ()
    """What may go wrong all the same."""

    @property
    def missing(self) -> tuple[Package, ...]:
        """Packages that must be installed or replaced."""
        return tuple(p for p in self.packages if not p.is_good)


class SetupPort(Protocol):
    """Installs what the engine needs, after asking once."""

    def check(self, runtime: str) -> SetupReport:
        """What ``onnx`` (small) or ``torch`` (everything) still needs; imports and downloads nothing."""

    def install(self, runtime: str, report: Callable[[str], None]) -> SetupReport:
        """Asks, installs, checks again.

        ``report`` takes what is being done. It is called once the person agreed, before a package is touched, and
        never before.

        Raises:
            ConsentError: the person said no.
            NetworkError, ResourceError, GenesisError: with what to do.
        """

    def agree(self, title: str, text: str) -> bool:
        """Shows what is about to happen and on what terms, and asks once; whether the person agreed."""


class SettingsPort(Protocol):
    """Settings of this machine and person."""

    def get(self, key: str, default: str) -> str:
        """The kept text, or the default."""

    def set(self, key: str, value: str) -> None:
        """Keeps a text."""
