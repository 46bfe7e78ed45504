"""The files that go between Slicer and a worker: volumes, what prompts are about, results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .bulk import BulkStore, writing_mask
from .pieces import Pieces

_KEEP_S = 600.0


class WorkerFiles:
    """Folders in a store of this process, which is made when the first is needed, and anew where somebody cleared it.

    ``on_lost`` is called where it was: everything in it is gone.
    """

    def __init__(self, root: Path, clock: Callable[[], float], on_lost: Callable[[], None]) -> None:
        self._root, self._clock, self._on_lost = root, clock, on_lost
        self._store: BulkStore | None = None
        self._kept_at = clock()
        self._results: dict[str, Path] = {}
        self._held: Path | None = None

    def new_folder(self, kind: str) -> Path:
        """A new folder for one volume or job.

        Raises:
            OutputError: it cannot be made.
        """
        self.look()
        if self._store is None:
            self._store = BulkStore(self._root)
        return self._store.new_folder(kind)

    def look(self) -> None:
        """Keeps the files from looking old, and finds out whether they are still there."""
        self._kept_at = self._clock()
        if self._store is None or self._store.keep():
            return
        lost, self._store, self._held = self._store, None, None
        self._results.clear()
        self._on_lost()
        lost.close()

    def tick(self) -> None:
        """Looks after them now and then."""
        if self._clock() - self._kept_at >= _KEEP_S:
            self.look()

    def holding(self, bits: np.ndarray) -> Pieces[str]:
        """Writes the uint8 voxels (i, j, k) that a ``Refine`` is about; returns their file. Those before are deleted.

        Raises:
            OutputError: they could not be written.
        """
        folder = self.new_folder("segment")
        yield from writing_mask(folder / "bits", bits)
        if self._held is not None:
            self.remove(self._held)
        self._held = folder
        return str(folder / "bits")

    def holds(self, file: str) -> bool:
        """Whether that is the file of :meth:`holding`, and still there."""
        return self._held is not None and Path(file).parent == self._held and Path(file).is_file()

    def keep_result(self, command_id: str, folder: Path) -> None:
        """Keeps the files of a result until :meth:`release`."""
        self._results[command_id] = folder

    def release(self, command_id: str) -> None:
        """Deletes the files of a result that is not needed any more."""
        folder = self._results.pop(command_id, None)
        if folder is not None:
            self.remove(folder)

    def remove(self, folder: Path) -> None:
        """Deletes a folder, in the background."""
        if self._store is not None:
            self._store.remove(folder)

    def close(self, before: Callable[[], None]) -> None:
        """Deletes everything in the background, after something else was done there; nothing is kept from now on."""
        store, self._store, self._held = self._store, None, None
        self._results.clear()
        if store is not None:
            threading.Thread(target=_clean_up, args=(before, store), daemon=False).start()


def _clean_up(before: Callable[[], None], store: BulkStore) -> None:
    before()
    store.close()
