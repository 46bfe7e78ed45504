"""The worker as seen from Slicer's main thread: commands out, events in, no call that waits.

All methods are called from one thread, which calls :meth:`WorkerClient.pump` about ten times a second.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from .bulk import read_layer, read_mask
from .errors import Cancelled, GenesisError
from .geometry import Box
from .handed_volumes import HandedVolumes, Written, volume_of
from .i18n import _, retold
from .layers import Layer
from .pieces import Pieces
from .protocol import (
    EXIT_DEVICE_LOST,
    IN_BETWEEN,
    Cancel,
    Command,
    Event,
    Failure,
    Heartbeat,
    LoadVolume,
    Partial,
    Progress,
    Refine,
    Refined,
    Result,
    Segment,
    Unload,
    new_id,
)
from .volume import Volume
from .watchdog import Limits, Watchdog
from .worker_files import WorkerFiles
from .worker_process import Ended, Launch, WorkerProcess

_MISSED_HEARTBEATS = 3


@dataclass
class _Pending:
    """A command without its final event. ``folder`` takes its result; ``missed`` counts heartbeats without it."""

    command: Command
    folder: Path | None = None
    cancelled_at: float | None = None
    missed: int = 0


class WorkerClient:
    """Starts the worker when the first command is sent, and again after it was lost.

    Every command that was sent ends in exactly one final event (see :mod:`.protocol`), whatever happens to the process.
    Volumes and results lie in a folder of this process below ``root``; volumes are told to a new process by themselves.
    Where somebody clears that folder away, it is made anew, and a volume is written again when it is sent again.
    """

    def __init__(
        self,
        launch: Launch,
        root: Path,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launch = launch
        self._limits, self._clock = limits or Limits(), clock
        self._inbox: SimpleQueue[tuple[WorkerProcess | None, Any]] = SimpleQueue()
        self._process: WorkerProcess | None = None
        self._files = WorkerFiles(root, clock, self._on_files_lost)
        self._jobs: dict[str, _Pending] = {}
        self._volumes = HandedVolumes(self._files, lambda written: self._inbox.put((None, written)))
        self._own: list[Event] = []
        self._is_closed = False
        self._watchdog, self._pumped_at = Watchdog(self._limits), clock()

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def is_busy(self) -> bool:
        """Whether a command has not ended yet."""
        return bool(self._jobs)

    def send(self, command: Command) -> str:
        """Sends a command, starting the process if need be; returns its id.

        A ``Segment`` or ``Refine`` without a folder gets one. A command on a volume that is being written waits for it.
        """
        pending = self._jobs[command.id] = _Pending(command)
        if self._is_closed:
            self._end(command.id, _cancelled(command.id))
            return command.id
        try:
            if isinstance(command, (Segment, Refine)) and not command.folder:
                pending.folder = self._files.new_folder("job")
                pending.command = dataclasses.replace(command, folder=str(pending.folder))
        except GenesisError as error:
            self._end(command.id, Failure.of(command.id, error))
            return command.id
        if isinstance(command, Unload):
            self._forget_volumes([command.volume] if command.volume else self._volumes.names)
        if not self._volumes.wait(pending.command):
            self._deliver(pending.command)
        return command.id

    def send_volume(self, volume: Volume, fingerprint: str) -> str:
        """Hands a CT over by file, written in a thread; returns the id of the :class:`.protocol.LoadVolume`.

        The voxels must not change until the command has ended. A CT that is there already is not written again.
        """
        source = volume.source
        self._files.look()
        if self._volumes.holds(fingerprint):
            command = self._volumes.again(fingerprint)
            self._jobs[command.id] = _Pending(command)
            if not self._volumes.wait(command):
                self._deliver(command)
            return command.id
        self._forget_volumes([fingerprint])
        command = LoadVolume(new_id(), "", fingerprint, source.name, source.series_uid)
        self._jobs[command.id] = _Pending(command)
        if self._is_closed:
            self._end(command.id, _cancelled(command.id))
            return command.id
        try:
            self._jobs[command.id] = _Pending(self._volumes.begin(command, volume))
        except GenesisError as error:
            self._end(command.id, Failure.of(command.id, error))
        else:
            self._make_room()
        return command.id

    def pump(self) -> list[Event]:
        """Events since the last call, each for a command that is still wanted; of progress only the latest.

        What the process says in words is in the language of the person.
        """
        now = self._clock()
        events, self._own = self._own, []
        is_empty, heartbeat = False, None
        while self._clock() - now < self._limits.pump:
            try:
                process, item = self._inbox.get_nowait()
            except Empty:
                is_empty = True
                break
            if isinstance(item, Written):
                self._on_written(item)
            elif process is self._process and isinstance(item, Heartbeat):
                self._watchdog.hear()
                heartbeat = item
            elif process is self._process:
                events.extend(self._on_item(item))
        if is_empty:
            if heartbeat is not None:  # the latest alone: older ones may be older than the commands
                self._on_heartbeat(heartbeat)
            self._watch(now)
        self._pumped_at = now
        self._files.tick()
        events.extend(self._own)
        self._own = []
        return [retold(event) for event in _coalesced(events)]

    def cancel(self, command_id: str) -> None:
        """Stops a command: asks first, then ends the process. Its final event is a :class:`Failure`, is_cancelled."""
        pending = self._jobs.get(command_id)
        if pending is None or pending.cancelled_at is not None:
            return
        if self._volumes.withdraw(pending.command):
            self._end(command_id, _cancelled(command_id))
            return
        pending.cancelled_at = self._clock()
        if self._process is not None:
            self._process.send(Cancel(new_id(), command_id))

    def layers(self, result: Result) -> tuple[Layer, ...]:
        """The label layers of a result, in memory; its files are deleted.

        Raises:
            InputError: they are gone or not complete.
        """
        layers = tuple(read_layer(Path(layer.file), result.shape, layer.classes) for layer in result.layers)
        layers = tuple(Layer(layer.labels.copy(order="F"), layer.classes) for layer in layers)
        self.release(result.id)
        return layers

    def holding(self, bits: np.ndarray) -> Pieces[str]:
        """Writes the uint8 voxels (i, j, k) that a ``Refine`` is about; returns their file. Those before are deleted.

        Raises:
            OutputError: they could not be written.
        """
        return self._files.holding(bits)

    def holds(self, name: str) -> bool:
        """Whether a CT, by its fingerprint, or a file of :meth:`holding` is still there, also for a new process."""
        self._files.look()
        return self._volumes.holds(name) or self._files.holds(name)

    def mask(self, partial: Partial | Refined) -> tuple[Box, Any]:
        """The box and the mask (i, j, k), 0 or 1, of a class that is there early or was refined; memory-mapped.

        Raises:
            InputError: the file is gone or not complete.
        """
        box = Box(partial.start, partial.stop)
        return box, read_mask(Path(partial.file), box)

    def release(self, command_id: str) -> None:
        """Deletes the files of a result that is not needed any more."""
        self._files.release(command_id)

    def stop(self) -> None:
        """Ends the process, for example before packages are installed; the next command starts a new one.

        Commands that have not ended are cancelled.
        """
        for job in tuple(self._jobs):
            self._end(job, _cancelled(job))
        self._volumes.forget_waiting()
        if self._process is not None:
            self._process.end()
            self._process = None

    def close(self) -> None:
        """Ends the process and deletes all files, in the background; commands that have not ended are forgotten."""
        process = self._process
        self._is_closed = True
        self.stop()
        self._own.clear()
        self._volumes.clear()
        self._files.close(lambda: process.end().join() if process is not None else None)

    # --- Out --------------------------------------------------------------------------------------------------------

    def _deliver(self, command: Command) -> None:
        if self._process is None:
            self._process = WorkerProcess(self._launch, self._inbox)
            self._watchdog.renew()
            for known in self._volumes.to_be_told():
                if known is not command:
                    self._process.send(dataclasses.replace(known, id=new_id()))
        self._process.send(command)

    def _on_written(self, written: Written) -> None:
        for command in self._volumes.finish(written):
            if written.error is not None:
                self._end(command.id, Failure.of(command.id, written.error))
            elif command.id in self._jobs:
                self._deliver(command)

    def _on_files_lost(self) -> None:
        """A volume that is being written fails by itself, and with it the commands that wait for it."""
        self._forget_volumes([known.fingerprint for known in self._volumes.to_be_told()])

    def _make_room(self) -> None:
        """Forgets the oldest volumes that no command works on."""
        surplus = self._volumes.surplus({volume_of(pending.command) for pending in self._jobs.values()})
        for fingerprint in surplus:
            if self._process is not None:
                self._process.send(Unload(new_id(), fingerprint))
        self._forget_volumes(surplus)

    def _forget_volumes(self, fingerprints: Iterable[str]) -> None:
        for command in self._volumes.forget(fingerprints):
            self._end(command.id, _cancelled(command.id))

    # --- In ---------------------------------------------------------------------------------------------------------

    def _on_item(self, item: Event | Ended) -> list[Event]:
        if isinstance(item, Ended):
            self._on_ended(item)
            return []
        if isinstance(item, Failure) and item.code == "protocol" and not self._watchdog.has_spoken:
            self._lose(item.code, item.what, item.remedy)
            return []
        self._watchdog.hear()
        pending = self._jobs.get(item.id)
        if pending is None:
            return []
        if isinstance(item, IN_BETWEEN):
            return [] if pending.cancelled_at is not None else [item]
        if isinstance(item, Failure) and not item.log and not item.is_cancelled:
            item = dataclasses.replace(item, log=str(self._launch.log))
        self._end(item.id, _cancelled(item.id) if pending.cancelled_at is not None else item)
        return []

    def _end(self, job: str, event: Event) -> None:
        """The final event of a command."""
        pending = self._jobs.pop(job, None)
        if pending is None:
            return
        self._own.append(event)
        if pending.folder is not None:
            if isinstance(event, (Result, Refined)):
                self._files.keep_result(job, pending.folder)
            else:
                self._files.remove(pending.folder)

    def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        waiting = self._volumes.waiting()
        for job, pending in tuple(self._jobs.items()):
            pending.missed = 0 if job in waiting or job in heartbeat.jobs else pending.missed + 1
            if pending.missed >= _MISSED_HEARTBEATS:
                what = _("{process} did not send its answer.").format(process=self._launch.name)
                is_cancelled = pending.cancelled_at is not None
                self._end(job, _cancelled(job) if is_cancelled else self._lost(job, what, _("Try again.")))

    def _watch(self, now: float) -> None:
        if self._process is None:
            return
        is_stuck = self._watchdog.is_stuck(now - self._pumped_at, self._process.cpu_seconds)
        late = [p for p in self._jobs.values() if p.cancelled_at is not None]
        if any(now - (p.cancelled_at or now) >= self._limits.cancel for p in late):
            self._kill()
            self._settle(resend=True)
        elif is_stuck:
            what = _("{process} does not answer any more; it was ended.").format(process=self._launch.name)
            if not self._watchdog.has_spoken:
                what = _("{process} did not start in time; it was ended.").format(process=self._launch.name)
            self._lose("worker_lost", what, _("Try again: it starts anew by itself. The log says more."))

    def _lose(self, code: str, what: str, remedy: str) -> None:
        self._kill()
        self._settle(resend=False, failure=(code, what, remedy))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _on_ended(self, ended: Ended) -> None:
        self._process = None
        was_idle = not self._jobs
        self._settle(ended.code == EXIT_DEVICE_LOST, ("worker_lost", ended.what, ended.remedy))
        if was_idle and ended.code not in (0, EXIT_DEVICE_LOST):
            self._own.append(self._lost("", ended.what, ended.remedy))

    def _settle(self, resend: bool, failure: tuple[str, str, str] = ("worker_lost", "", "")) -> None:
        """Ends the commands of a process that is gone; those that were not to blame go to the next one."""
        waiting = self._volumes.waiting()
        for job, pending in tuple(self._jobs.items()):
            if job in waiting:
                continue
            if pending.cancelled_at is not None:
                self._end(job, _cancelled(job))
            elif resend:
                pending.missed = 0
                self._deliver(pending.command)
            else:
                self._end(job, Failure(job, *failure, log=str(self._launch.log)))

    def _lost(self, job: str, what: str, remedy: str) -> Failure:
        return Failure(job, "worker_lost", what, remedy, str(self._launch.log))


def _cancelled(job: str) -> Failure:
    return Failure.of(job, Cancelled())


def _coalesced(events: list[Event]) -> list[Event]:
    latest = {event.id: event for event in events if isinstance(event, Progress)}
    return [event for event in events if not isinstance(event, Progress) or latest[event.id] is event]
