"""The CTs that a client handed to its worker: in files, known by fingerprint, and written in a thread."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from .bulk import holds_volume, write_volume
from .errors import GenesisError
from .protocol import Command, LoadVolume, new_id
from .volume import Volume
from .worker_files import WorkerFiles

_KEPT = 2


@dataclass
class _Handed:
    """A CT in the folder of ``command``; ``waiting`` are the commands that need it and wait until it is written."""

    command: LoadVolume
    waiting: list[Command]
    is_written: bool = False

    @property
    def is_there(self) -> bool:
        """Whether it is being written, or its files are still there."""
        return not self.is_written or holds_volume(Path(self.command.folder))


@dataclass(frozen=True)
class Written:
    """The files of a CT are there, or could not be written."""

    fingerprint: str
    error: GenesisError | None


class HandedVolumes:
    """Forgets nothing by itself: the client says when, and ends the commands that waited."""

    def __init__(self, files: WorkerFiles, on_written: Callable[[Written], None]) -> None:
        """``on_written`` is called in another thread."""
        self._files, self._on_written = files, on_written
        self._handed: dict[str, _Handed] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The fingerprints."""
        return tuple(self._handed)

    def holds(self, fingerprint: str) -> bool:
        """Whether a CT is being written, or is there."""
        handed = self._handed.get(fingerprint)
        return handed is not None and handed.is_there

    def again(self, fingerprint: str) -> LoadVolume:
        """Another command for a CT that is held."""
        return dataclasses.replace(self._handed[fingerprint].command, id=new_id())

    def begin(self, command: LoadVolume, volume: Volume) -> LoadVolume:
        """Begins to write a CT, for which the command waits; the command with the folder.

        Raises:
            OutputError: there can be none.
        """
        folder = self._files.new_folder("volume")
        command = dataclasses.replace(command, folder=str(folder))
        self._handed[command.fingerprint] = _Handed(command, [command])
        threading.Thread(target=self._write, args=(folder, volume, command.fingerprint), daemon=True).start()
        return command

    def finish(self, written: Written) -> list[Command]:
        """The commands that waited for it. Where it could not be written, it is forgotten."""
        handed = self._handed.get(written.fingerprint)
        if handed is None:
            return []
        handed.is_written = True
        waited, handed.waiting = handed.waiting, []
        if written.error is not None:
            del self._handed[written.fingerprint]
        return waited

    def wait(self, command: Command) -> bool:
        """Whether the CT of a command is being written: the command waits, then."""
        handed = self._handed.get(volume_of(command))
        if handed is None or handed.is_written:
            return False
        handed.waiting.append(command)
        return True

    def withdraw(self, command: Command) -> bool:
        """Whether a command waited; it does no more. The one that has a CT written is not taken away from it."""
        for handed in self._handed.values():
            if command in handed.waiting and command is not handed.command:
                handed.waiting.remove(command)
                return True
        return False

    def waiting(self) -> set[str]:
        """The ids of the commands that wait."""
        return {command.id for handed in self._handed.values() for command in handed.waiting}

    def to_be_told(self) -> list[LoadVolume]:
        """What a new process must be told: the CTs that are there."""
        return [handed.command for handed in self._handed.values() if handed.is_written]

    def surplus(self, used: Collection[str]) -> list[str]:
        """The oldest ones beyond the few that are kept, without those that are ``used``."""
        idle = [fingerprint for fingerprint in self._handed if fingerprint not in used]
        return idle[: max(0, len(self._handed) - _KEPT)]

    def forget(self, fingerprints: Iterable[str]) -> list[Command]:
        """Deletes CTs; the commands that waited for them."""
        gone = [self._handed.pop(fingerprint) for fingerprint in fingerprints if fingerprint in self._handed]
        for handed in gone:
            self._files.remove(Path(handed.command.folder))
        return [command for handed in gone for command in handed.waiting]

    def forget_waiting(self) -> None:
        """No command waits any more."""
        for handed in self._handed.values():
            handed.waiting.clear()

    def clear(self) -> None:
        """Forgets all CTs, whose files others delete."""
        self._handed.clear()

    def _write(self, folder: Path, volume: Volume, fingerprint: str) -> None:
        """In a thread of its own."""
        try:
            write_volume(folder, volume, fingerprint)
        except GenesisError as error:
            self._on_written(Written(fingerprint, error))
        else:
            self._on_written(Written(fingerprint, None))


def volume_of(command: Command) -> str:
    """The fingerprint of the CT that a command is about, or ""."""
    return getattr(command, "volume", "") or getattr(command, "fingerprint", "")
