"""Cases in one portable file: a zip archive with ``manifest.json`` and the blobs as they lie in the store.

Every blob is checked against its name when it is read and when it is written; the comment of the archive is the SHA-256
of the manifest. The salt is not in it: with it, hashes of patients could be undone by whoever gets the file. Between
stores with different salts a scan is known by its voxels; a patient is known by a scan that both stores have.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, Engine, delete

from ...core.errors import InputError
from ...core.files import atomic_file
from ...core.i18n import _
from ...core.identity import is_hash
from ...core.jobs import Job
from ...core.rounds import Split
from ...core.sealed import seal, sealed
from ...core.wire import MisfitError, build
from .blobs import BlobStore
from .database import reading, writing
from .entries import Entry, all_entries, find_patient, insert_entry, instant, is_known
from .patients import all_patients, person
from .records import ImportReport
from .schema import deleted_acceptances
from .voxels import read_volume, scan_keys

_FORMAT = 1
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 30


@dataclass(frozen=True)
class _Manifest:
    """``splits`` by patient; ``digests`` by acceptance."""

    format: int
    entries: tuple[Entry, ...]
    splits: dict[str, Split]
    digests: dict[str, str]


def export_archive(engine: Engine, blobs: BlobStore, path: Path, only: Sequence[str] | None, job: Job) -> Path:
    """Writes the cases ``only``, or all, into ``path``, whole or not at all.

    Patients who turned out to be one person leave as one, with the split that counts for all scans of the person.

    Raises:
        InputError: a file of the store is missing or damaged, or there is no case.
        OutputError: ``path`` cannot be written.
        Cancelled: the job was cancelled.
    """
    job.plan({"exporting": 1.0})
    with reading(engine) as connection:
        found = all_entries(connection, only)
        known = all_patients(connection)
    if not found:
        raise InputError(_("There is no case to export."), _("Accept a case first."))
    people = {patient.hash: person(known, patient.id) for patient in known.values()}
    entries = tuple(replace(entry, patient=people[entry.patient].hash) for entry, _ in found)
    needed = sorted({name for entry in entries for name in entry.blobs})
    splits = {entry.patient: people[entry.patient].split for entry in entries}
    manifest = _Manifest(_FORMAT, entries, splits, {entry.id: digest for entry, digest in found})
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for done, name in enumerate(needed, 1):
            blobs.read(name)  # raises where it is damaged
            archive.write(blobs.path(name), _member(name))
            job.advance("exporting", done / len(needed))
        seal(archive, _MANIFEST, asdict(manifest))
    return path


def import_archive(engine: Engine, blobs: BlobStore, path: Path, salt: bytes, job: Job) -> ImportReport:
    """Takes in what is not there yet: all of it, or nothing where anything is damaged.

    A patient who is new here keeps the split of the other store. A patient who is known here keeps the split of here,
    and the report says where the other store had decided otherwise. What was deleted here comes back.
    ``salt`` is that of this store.

    Raises:
        InputError: it is no such archive, damaged, or written by a newer version.
        OutputError: the store cannot be written.
        Cancelled: the job was cancelled.
    """
    job.plan({"checking": 1.0})
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive, path)
            needed = sorted({name for entry in manifest.entries for name in entry.blobs})
            for done, name in enumerate(needed, 1):
                if not is_hash(name):
                    raise InputError(
                        _("{file} names something that is no file of a case store.").format(file=path.name), _again()
                    )
                if not (blobs.has(name) and blobs.is_sound(name)):
                    with archive.open(_member(name)) as stream:
                        blobs.adopt(name, stream)
                job.advance("checking", done / len(needed))
        keys = {ct: scan_keys(read_volume(blobs.read(ct), ""), salt) for ct in {e.ct for e in manifest.entries}}
    except OSError as error:
        raise InputError(
            _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror or error),
            _("Check the path."),
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            _("{file} is damaged or no archive of a case store.").format(file=path.name), _again()
        ) from error
    with writing(engine) as connection:
        gone = [name for name in needed if not blobs.has(name)]
        if gone:
            raise InputError(_("Files of the archive were cleared away while it was read."), _("Import it again."))
        return _insert(connection, manifest, keys)


def _insert(connection: Connection, manifest: _Manifest, keys: Mapping[str, Sequence[str]]) -> ImportReport:
    added = before = 0
    cases = set()
    notes: dict[str, None] = {}
    for entry in manifest.entries:
        connection.execute(delete(deleted_acceptances).where(deleted_acceptances.c.id == entry.id))
        theirs = manifest.splits[entry.patient]
        if is_known(connection, entry.id):
            patient = find_patient(connection, entry, instant(), theirs, keys[entry.ct])
            before += 1
        else:
            patient = insert_entry(connection, entry, theirs, keys[entry.ct])
            added += 1
            cases.add(entry.case)
        if patient.split != theirs:
            what = _("Patient {patient} is {theirs} there and {ours} here; here it stays so.")
            notes[what.format(patient=patient.hash[:12], theirs=theirs, ours=patient.split)] = None
    return ImportReport(added, before, len(cases), tuple(notes))


def _manifest(archive: zipfile.ZipFile, path: Path) -> _Manifest:
    document = sealed(archive, _MANIFEST, _LARGEST_MANIFEST)
    if document.get("format") != _FORMAT:
        what = _("{file} was written by a newer version of GenesisSegment.").format(file=path.name)
        raise InputError(what, _("Update GenesisSegment on this machine."))
    manifest = build(_Manifest, document)
    names = {*manifest.splits, *(name for e in manifest.entries for name in (e.case, e.patient))}
    if not all(map(is_hash, names)):  # folders and files are named after them
        raise MisfitError("a case or patient has a name that is no hash")
    for entry in manifest.entries:
        if entry.digest != manifest.digests[entry.id] or entry.patient not in manifest.splits:
            raise MisfitError(f"acceptance {entry.id} is damaged")
    return manifest


def _again() -> str:
    return _("Copy or export the archive again.")


def _member(name: str) -> str:
    return f"blobs/{name}.z"
