"""A folder of files that were fetched once: each is whole, and has its SHA-256 recorded beside it.

Layout: ``<file>``, ``<file>.json`` (the record), and while a download is unfinished ``<file>.part`` and
``<file>.part.json``. The folder may be copied to another machine as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ...core.errors import ConsentError, ModelError, NetworkError
from ...core.files import atomic_file, fsync, fsync_folder, output_errors, sha256_of
from ...core.i18n import _, together
from ...core.jobs import Job
from .offer import Consent, Offer, RemoteFile

State = Literal["bundled", "installed", "missing", "damaged", "unchecked"]
"""``damaged``: not the file that was recorded. ``unchecked``: a file lies there that was never imported."""

Accept = Callable[[Path], None]
"""Looks into a file before it is trusted for the first time; raises if it is not what it should be."""

_POLL_S = 0.2


@dataclass(frozen=True)
class Record:
    """What was trusted: written when a file is installed, compared from then on."""

    sha256: str
    size_bytes: int
    origin: str
    recorded: str


class FileCache:
    """Fetches, imports, checks and removes files in ``folder``. Safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, file: str) -> Path:
        """Where the file called ``file`` lies or would lie.

        Raises:
            ModelError: it is not a plain file name.
        """
        if Path(file).name != file or "\\" in file or file.startswith("."):
            raise ModelError(_('"{file}" is not a file name.').format(file=file), _("Use a name without folders."))
        return self.folder / file

    def record(self, file: str) -> Record | None:
        """What was recorded when the file was installed."""
        try:
            return Record(**json.loads(self._record_path(file).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def state(self, remote: RemoteFile) -> State:
        """A quick answer from presence and size."""
        path, record = self.path(remote.file), self.record(remote.file)
        if not path.is_file():
            return "missing"
        if record is None:
            return "unchecked"
        return "installed" if path.stat().st_size == record.size_bytes else "damaged"

    def verified_state(self, remote: RemoteFile) -> State:
        """The certain answer: reads the whole file and compares its SHA-256."""
        state, expected = self.state(remote), self._expected(remote)
        if state in ("missing", "damaged") or expected is None:
            return state
        return "installed" if model_digest(self.path(remote.file)) == expected else "damaged"

    def download(self, offer: Offer, consent: Consent, job: Job, accept: Accept = lambda path: None) -> Path:
        """The file of ``offer``, fetched if it is not here yet; ``consent`` is asked before the first request.

        ``job`` is planned anew, with the stages "download" and "check".

        Raises:
            ConsentError: the person did not agree; no request was made.
            NetworkError: it could not be fetched, or is not the file that was published or recorded before.
            ModelError: ``accept`` refused it.
            OutputError: it could not be stored.
            Cancelled: by the job; what has arrived is kept for the next time.
        """
        remote = offer.remote
        if self.verified_state(remote) == "installed":
            return self.path(remote.file)
        if not consent(offer):
            raise ConsentError(
                _("You did not agree to the download of {title}.").format(title=offer.title),
                _("Nothing was downloaded."),
            )
        from .download import fetch  # requests is slow to import, and seldom needed

        job.plan({"download": 0.95, "check": 0.05})
        with self._locked(remote.file, job):
            if self.verified_state(remote) == "installed":
                return self.path(remote.file)
            part = self._part(remote.file)
            fetch(remote, part, job, offer.by_hand)
            try:
                digest = model_digest(part)
                self._compare(digest, remote, offer.by_hand)
                accept(part)
            except (NetworkError, ModelError):
                self._drop(part_files(part))
                raise
            job.advance("check", 1.0)
            return self._install(part, remote, digest, remote.url or "")

    def adopt(self, remote: RemoteFile, source: Path, job: Job, accept: Accept = lambda path: None) -> Path:
        """A copy of ``source`` as the file of ``remote``, as after a download.

        Raises:
            ModelError: ``source`` is not there, not the file that was published or recorded, or refused by ``accept``.
            OutputError: it could not be stored.
        """
        if not source.is_file():
            raise ModelError(
                _("There is no file {source}.").format(source=source), _("Give the file that you downloaded.")
            )
        digest, expected = model_digest(source), self._expected(remote)
        if expected not in (None, digest):
            raise ModelError(
                _("{source} is not the {file} that is expected: its SHA-256 differs.").format(
                    source=source, file=remote.file
                ),
                _("Get the file again; if it shall replace the one recorded on this machine, remove that one first."),
            )
        accept(source)
        with self._locked(remote.file, job):
            part = self._part(remote.file)
            try:
                with output_errors(part):
                    shutil.copyfile(source, part)
                    fsync(part)
                if model_digest(part) != digest:
                    raise ModelError(
                        _("{source} changed while it was copied.").format(source=source), _("Import it again.")
                    )
                return self._install(part, remote, digest, f"imported from {source.name}")
            finally:
                self._drop(part_files(part))

    def remove(self, remote: RemoteFile) -> bool:
        """Deletes the file, its record and any unfinished download; says whether there was anything."""
        path = self.path(remote.file)
        files = [path, self._record_path(remote.file), *part_files(self._part(remote.file))]
        if not any(file.exists() for file in files):
            return False
        with self._locked(remote.file):
            self._drop(files)
        return True

    def _expected(self, remote: RemoteFile) -> str | None:
        record = self.record(remote.file)
        return remote.sha256 or (record.sha256 if record else None)

    def _compare(self, digest: str, remote: RemoteFile, by_hand: str) -> None:
        if self._expected(remote) in (None, digest):
            return
        if remote.sha256:
            what = _("What arrived is not {file}: its SHA-256 differs from the published one.").format(file=remote.file)
            raise NetworkError(
                what, together(_("Try again; if it stays so, the file at the host was changed."), by_hand)
            )
        raise NetworkError(
            _(
                "{file} at the host is not the file that was recorded on this machine before: its SHA-256 differs."
            ).format(file=remote.file),
            _("If you trust the new file, remove the model first and download it again."),
        )

    def _install(self, part: Path, remote: RemoteFile, digest: str, origin: str) -> Path:
        """Record first: a file without its record would never be trusted, a record without its file is harmless."""
        path = self.path(remote.file)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = Record(digest, part.stat().st_size, origin, now)
        with atomic_file(self._record_path(remote.file)) as temporary:
            temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
        with output_errors(path):
            part.replace(path)
            fsync_folder(path.parent)
        self._drop(part_files(part))
        return path

    @contextmanager
    def _locked(self, file: str, job: Job | None = None) -> Iterator[None]:
        """Waits for other processes that fetch the same file, as long as ``job`` is not cancelled.

        Raises:
            ModelError: without a job, where another process is at work.
        """
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f".{file}.lock")
        while not _acquired(lock, self.folder):
            if job is None:
                raise ModelError(
                    _("Another process is fetching {file}.").format(file=file), _("Wait until it is done.")
                )
            job.check()
        try:
            yield
        finally:
            lock.release()

    def _drop(self, files: Iterable[Path]) -> None:
        for file in files:
            with output_errors(file):
                file.unlink(missing_ok=True)

    def _record_path(self, file: str) -> Path:
        return self.folder / f"{self.path(file).name}.json"

    def _part(self, file: str) -> Path:
        return self.folder / f"{self.path(file).name}.part"


def _acquired(lock: FileLock, folder: Path) -> bool:
    with output_errors(folder):
        try:
            lock.acquire(timeout=_POLL_S)
        except Timeout:
            return False
    return True


def part_files(part: Path) -> tuple[Path, Path]:
    """The unfinished download and what is known about it."""
    return part, part.with_name(part.name + ".json")


def model_digest(path: Path) -> str:
    """SHA-256 of a model's file, as hexadecimal digits.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(
            _("{path} cannot be read: {reason}.").format(path=path, reason=error.strerror),
            _("Check the file and its permissions."),
        ) from error
