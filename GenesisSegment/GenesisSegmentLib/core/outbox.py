"""Where accepted corrections wait for the case store: a file each, whole and on disk before :meth:`Outbox.put` returns.

Written by Slicer's own process, so the standard library and NumPy must do. A file is a zip archive of
``correction.json``, the voxels of the CT (int16, little-endian, i fastest, uncompressed), and the masks as one bit per
voxel of their box. ``correction.json`` holds the SHA-256 of every other member, the comment of the archive that of
``correction.json``.

No SeriesInstanceUID, patient, file name or description is in it: only hashes with the salt of the case store.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from .corrections import Acceptance, AcceptedClass, BoxedMask, now
from .errors import GenesisError, InputError, ResourceError
from .files import atomic_file, fsync_folder, output_errors, private_folder
from .geometry import Box, Geometry
from .i18n import _
from .identity import hashed, is_hash
from .sealed import seal, sealed
from .volume import Source, Volume
from .wire import MisfitError, build

SUFFIX, DAMAGED_SUFFIX = ".accept", ".damaged"
_FORMAT = 1
_HEADER, _VOXELS = "correction.json", "voxels.i2"
_PLANES_AT_ONCE = 4
_LARGEST_HEADER = 16 * 1024 * 1024
_PASSING = {
    *(errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES, errno.EPERM, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT),
    *(errno.ENOMEM, getattr(errno, "ESTALE", errno.EIO)),
}
"""What keeps a good file from being read for a while: a network disk that is away, another program that has it open."""
Index = tuple[int, int, int]


class NewerFormatError(InputError):
    """A newer version wrote the file: nothing is wrong with it, and it waits."""


@dataclass(frozen=True)
class StoredAcceptance:
    """An acceptance as it is kept: without anything that names the patient.

    ``case`` is the hash of "series:" and the SeriesInstanceUID, or of "content:" and the SHA-256 of grid and voxels.
    ``patient`` is the hash of "patient:" and what tells the patient apart, or the case. In ``acceptance``, ``patient``
    is the same hash or "", ``volume.source.series_uid`` is the case or "", and ``volume.source.name`` the beginning of
    the case.
    """

    acceptance: Acceptance
    case: str
    patient: str


@dataclass(frozen=True)
class _MaskHeader:
    """Where a mask lies; ``file`` is "" for an empty one."""

    file: str = ""
    start: Index = (0, 0, 0)
    stop: Index = (0, 0, 0)


@dataclass(frozen=True)
class _ClassHeader:
    """``model`` and ``model_sha256`` are missing in files of an older version."""

    label: str
    mask: _MaskHeader
    proposed: _MaskHeader | None = None
    model: str = ""
    model_sha256: str = ""


@dataclass(frozen=True)
class _Header:
    """``correction.json``; ``sha256`` of the other members by name."""

    format: int
    id: str
    accepted: str
    case: str
    patient: str
    is_dicom: bool
    has_patient: bool
    model: str
    model_sha256: str
    seconds: float
    tools: tuple[str, ...]
    version: str
    shape: Index
    ijk_to_ras: tuple[tuple[float, float, float, float], ...]
    classes: tuple[_ClassHeader, ...]
    sha256: dict[str, str] = field(default_factory=dict)


class Outbox:
    """The folder ``folder``, which is made, for this person alone, when something is put in; ``salt`` is the store's.

    Several processes may use one at a time: each file appears whole under a name of its own.
    """

    def __init__(self, folder: Path, salt: bytes) -> None:
        self._folder, self._salt = folder, salt

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    def put(self, acceptance: Acceptance) -> Path:
        """Keeps an acceptance; its file, which is on disk when this returns.

        Raises:
            OutputError: disk full, read-only or not permitted; nothing was accepted, and nothing half-written is left.
            InputError: the voxels are not int16.
        """
        with output_errors(self._folder):
            private_folder(self._folder)
        path = self._folder / f"{time.time_ns():020d}-{acceptance.id}{SUFFIX}"
        with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            seal(archive, _HEADER, asdict(self._write(_Writer(archive), acceptance)))
        return path

    def state_of(self, acceptance: Acceptance) -> str:
        """Another text whenever what is accepted of a CT is another: its classes and their masks, nothing else.

        It is salted, so that it means nothing where somebody else opens the same scene.
        """
        digest = hashlib.sha256()
        for c in sorted(acceptance.classes, key=lambda c: c.label):
            box = c.boxed.box
            place = (c.label, c.boxed.shape, (box.start, box.stop) if box else None)
            digest.update(json.dumps(place).encode("utf-8"))
            digest.update(np.packbits(c.boxed.inside.ravel(order="F")).data)
        return hashed(self._salt, f"state:{digest.hexdigest()}")

    def pending(self) -> tuple[Path, ...]:
        """The files that wait, oldest first."""
        return tuple(sorted(self._folder.glob(f"*{SUFFIX}")))

    def read(self, path: Path) -> StoredAcceptance:
        """What a file holds, every checksum compared.

        Raises:
            InputError: it is gone or damaged.
            NewerFormatError: it was written by a newer version.
            ResourceError: there is not enough memory now.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                return _read(archive)
        except _NewerError as error:
            what = _("{file} was written by a newer version of GenesisSegment.").format(file=path.name)
            raise NewerFormatError(what, _("Update GenesisSegment on this machine.")) from error
        except MemoryError as error:
            what = _("There is not enough memory to read {file}.").format(file=path.name)
            raise ResourceError(what, _("Close other programs; the correction stays where it is.")) from error
        except FileNotFoundError as error:
            what = _("The accepted correction {file} is gone.").format(file=path.name)
            raise InputError(what, _("Accept the case again if it is still open.")) from error
        except (OSError, *_DAMAGE) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                what = _("{file} cannot be read now: {why}.").format(file=path.name, why=error.strerror)
                raise ResourceError(what, _("Try again; the correction stays where it is.")) from error
            what = _("The accepted correction {file} is damaged: {why}.").format(file=path.name, why=error)
            raise InputError(what, _("Check the disk; accept the case again if it is still open.")) from error

    def discard(self, path: Path) -> None:
        """Deletes a file, because the case store has what it held. Nothing happens where it is gone.

        Raises:
            OutputError: not permitted.
        """
        with output_errors(path):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                fsync_folder(path.parent)

    def set_aside(self, path: Path) -> Path:
        """Takes a damaged file out of :meth:`pending` by another name, and keeps it; the new path.

        Raises:
            OutputError: not permitted, or it is gone.
        """
        aside, count = path.with_name(path.name + DAMAGED_SUFFIX), 1
        while aside.exists():
            aside, count = path.with_name(f"{path.name}.{count}{DAMAGED_SUFFIX}"), count + 1
        with output_errors(aside):
            path.rename(aside)
            fsync_folder(path.parent)
        return aside

    def _write(self, writer: _Writer, acceptance: Acceptance) -> _Header:
        volume = acceptance.volume
        if volume.voxels.dtype != np.int16:
            what = _("The CT holds {type} values where int16 is needed.").format(type=volume.voxels.dtype)
            raise InputError(what, _("Convert it first."))
        writer.stored(_VOXELS, _planes(volume.voxels), 2 * volume.voxels.size)
        case = self._case(volume, writer.sha256[_VOXELS])
        patient = hashed(self._salt, f"patient:{acceptance.patient}") if acceptance.patient else case
        return _Header(
            format=_FORMAT,
            id=acceptance.id,
            accepted=acceptance.accepted or now(),
            case=case,
            patient=patient,
            is_dicom=volume.source.is_dicom,
            has_patient=bool(acceptance.patient),
            model=acceptance.model,
            model_sha256=acceptance.model_sha256,
            seconds=float(acceptance.seconds),
            tools=acceptance.tools,
            version=acceptance.version,
            shape=volume.geometry.shape,
            ijk_to_ras=_rows(volume.geometry),
            classes=tuple(_write_class(writer, n, c) for n, c in enumerate(acceptance.classes, 1)),
            sha256=dict(writer.sha256),
        )

    def _case(self, volume: Volume, voxels_sha256: str) -> str:
        uid = volume.source.series_uid
        return hashed(
            self._salt, f"series:{uid}" if uid else f"content:{content_sha256(volume.geometry, voxels_sha256)}"
        )


def content_sha256(geometry: Geometry, voxels_sha256: str) -> str:
    """What tells CTs without a SeriesInstanceUID apart: their grid to a thousandth of a millimetre, and their voxels.

    ``voxels_sha256`` is that of the voxels as int16, little-endian, i fastest.
    """
    matrix = (np.round(geometry.ijk_to_ras, 3) + 0.0).tolist()  # there is a -0.0
    return hashlib.sha256(json.dumps([list(geometry.shape), matrix, voxels_sha256]).encode("ascii")).hexdigest()


class _NewerError(GenesisError):
    """The file has a format that this version does not know."""


class _DamagedError(GenesisError):
    """The file does not hold what it should."""


_DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, MisfitError, _DamagedError, InputError),
    # What zipfile raises for archives whose directory makes no sense.
    *(ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError),
)


class _Writer:
    """Writes the members of an archive and remembers their checksums."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.sha256: dict[str, str] = {}

    def stored(self, name: str, blocks: Iterable[memoryview], size: int) -> None:
        """A member of ``size`` bytes as it is."""
        info = zipfile.ZipInfo(name)
        info.file_size = size
        self._write(info, blocks)

    def deflated(self, name: str, content: bytes) -> None:
        """A compressed member."""
        info = zipfile.ZipInfo(name)
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, len(content)
        self._write(info, [memoryview(content)])

    def _write(self, info: zipfile.ZipInfo, blocks: Iterable[memoryview]) -> None:
        digest = hashlib.sha256()
        with self._archive.open(info, "w") as stream:
            for block in blocks:
                digest.update(block)
                stream.write(block)
        self.sha256[info.filename] = digest.hexdigest()


def _planes(voxels: np.ndarray) -> Iterator[memoryview]:
    """The voxels a few planes at a time, so that another memory order takes little memory."""
    for start in range(0, voxels.shape[2], _PLANES_AT_ONCE):
        planes = voxels[:, :, start : start + _PLANES_AT_ONCE]
        yield np.ascontiguousarray(planes.T, dtype="<i2").data.cast("B")


def _rows(geometry: Geometry) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in geometry.ijk_to_ras)


def _write_class(writer: _Writer, number: int, accepted: AcceptedClass) -> _ClassHeader:
    proposed = accepted.boxed_proposed
    return _ClassHeader(
        accepted.label,
        _write_mask(writer, f"mask-{number}.bits", accepted.boxed),
        None if proposed is None else _write_mask(writer, f"proposed-{number}.bits", proposed),
        accepted.model,
        accepted.model_sha256,
    )


def _write_mask(writer: _Writer, name: str, mask: BoxedMask) -> _MaskHeader:
    if mask.box is None:
        return _MaskHeader()
    bits = np.packbits(mask.inside.ravel(order="F"), bitorder="little")
    writer.deflated(name, bits.tobytes())
    return _MaskHeader(name, mask.box.start, mask.box.stop)


def _read(archive: zipfile.ZipFile) -> StoredAcceptance:
    header = _read_header(archive)
    if sorted(archive.namelist()) != sorted([*header.sha256, _HEADER]):
        raise _DamagedError("members are missing or foreign")
    if not (is_hash(header.case) and is_hash(header.patient)):
        raise _DamagedError("case and patient are no hashes")
    geometry = Geometry(header.shape, np.array(header.ijk_to_ras, dtype=np.float64))
    geometry.check()
    raw = _read_member(archive, header, _VOXELS, 2 * prod(header.shape))
    voxels = np.frombuffer(raw, "<i2").reshape(header.shape, order="F")
    source = Source(Path(), header.case[:12], series_uid=header.case if header.is_dicom else "")
    acceptance = Acceptance(
        id=header.id,
        volume=Volume(voxels, geometry, source),
        classes=tuple(_read_class(archive, header, c) for c in header.classes),
        patient=header.patient if header.has_patient else "",
        model=header.model,
        model_sha256=header.model_sha256,
        seconds=header.seconds,
        tools=header.tools,
        accepted=header.accepted,
        version=header.version,
    )
    return StoredAcceptance(acceptance, header.case, header.patient)


def _read_header(archive: zipfile.ZipFile) -> _Header:
    document = sealed(archive, _HEADER, _LARGEST_HEADER)
    if document.get("format") != _FORMAT:
        raise _NewerError(f"format {document.get('format')}")
    return build(_Header, document)


def _read_class(archive: zipfile.ZipFile, header: _Header, c: _ClassHeader) -> AcceptedClass:
    proposed = None if c.proposed is None else _read_mask(archive, header, c.proposed)
    return AcceptedClass(c.label, _read_mask(archive, header, c.mask), proposed, c.model, c.model_sha256)


def _read_mask(archive: zipfile.ZipFile, header: _Header, mask: _MaskHeader) -> BoxedMask:
    if not mask.file:
        return BoxedMask(header.shape, None, np.zeros((0, 0, 0), bool))
    box = Box(mask.start, mask.stop)
    count = prod(box.shape)
    raw = _read_member(archive, header, mask.file, (count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=count, bitorder="little")
    return BoxedMask(header.shape, box, bits.view(bool).reshape(box.shape, order="F"))


def _read_member(archive: zipfile.ZipFile, header: _Header, name: str, size: int) -> bytes:
    """A member that must have ``size`` bytes; nothing larger is unpacked."""
    if archive.getinfo(name).file_size != size:
        raise _DamagedError(f"{name} has another size")
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != header.sha256[name]:
        raise _DamagedError(f"{name} has another checksum")
    return content
