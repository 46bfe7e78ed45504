"""Voxels between two processes: raw files in a folder, written whole or not at all, read by memory mapping.

All files are little-endian with i fastest, then j, then k: the memory order of MRML, NRRD and NIfTI.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GeometryError, InputError, OutputError
from .files import atomic_file, output_errors
from .geometry import Box, Geometry
from .i18n import _
from .jobs import Advance
from .layers import Layer
from .leftovers import new_folder, release, sweep, touch
from .pieces import Pieces
from .volume import Source, Volume

_VOXELS, _HEADER = "voxels.i2", "volume.json"
_PLANES_AT_ONCE = 4
_SPARE_BYTES = 64 * 1024 * 1024


def _again() -> str:
    return _("Run it again; if it happens again, restart Slicer.")


class BulkStore:
    """The folders of one process below ``root``; what killed processes left is swept away in the background.

    Raises:
        OutputError: there can be no folder.
    """

    def __init__(self, root: Path) -> None:
        with output_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            self._folder, self._lock = new_folder(root)
        sweep_away(root)
        self._count = 0

    @property
    def folder(self) -> Path:
        """The folder of this process."""
        return self._folder

    def new_folder(self, kind: str) -> Path:
        """A new folder for one volume or job.

        Raises:
            OutputError: it cannot be made.
        """
        self._count += 1
        folder = self._folder / f"{kind}-{self._count}"
        with output_errors(folder):
            folder.mkdir()
        return folder

    def remove(self, folder: Path) -> None:
        """Deletes a folder, in the background; what cannot be deleted now goes with the store."""
        threading.Thread(target=shutil.rmtree, args=(folder, True), daemon=True).start()

    def keep(self) -> bool:
        """Shows that the folder is in use to whoever clears away old files; whether it is still there."""
        return touch(self._folder)

    def close(self) -> None:
        """Deletes everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
        release(self._lock)
        self._lock = None


def sweep_away(root: Path) -> None:
    """Deletes what killed processes left below ``root``, CTs among it, in the background."""
    threading.Thread(target=sweep, args=(root,), daemon=True).start()


def write_volume(folder: Path, volume: Volume, fingerprint: str) -> None:
    """Writes a CT. The header comes last: a folder with a header is complete.

    Raises:
        OutputError: the disk is full or not writable.
        InputError: the voxels are not int16.
    """
    if volume.voxels.dtype != np.int16:
        what = _("The CT holds {type} values where int16 is needed.").format(type=volume.voxels.dtype)
        raise InputError(what, _("Convert it first."))
    _require_space(folder, 2 * volume.voxels.size)
    _write_raw(folder / _VOXELS, volume.voxels, np.dtype("<i2"))
    header = {
        "version": 1,
        "fingerprint": fingerprint,
        "shape": list(volume.geometry.shape),
        "ijk_to_ras": volume.geometry.ijk_to_ras.tolist(),
    }
    with atomic_file(folder / _HEADER) as temporary:
        temporary.write_text(json.dumps(header, allow_nan=False) + "\n", encoding="utf-8")


def holds_volume(folder: Path) -> bool:
    """Whether a CT that was written is still there."""
    return (folder / _HEADER).is_file() and (folder / _VOXELS).is_file()


def read_volume(folder: Path, fingerprint: str, name: str = "", series_uid: str = "") -> Volume:
    """The CT in a folder, its voxels memory-mapped and read-only.

    Raises:
        InputError: it is missing, incomplete, damaged, or not the one with this fingerprint.
        GeometryError: its grid cannot be placed exactly.
    """
    header = _read_header(folder)
    if header.get("fingerprint") != fingerprint:
        raise InputError(_("{folder} holds another CT than was announced.").format(folder=folder), _again())
    try:
        shape = i, j, k = tuple(int(n) for n in header["shape"])
        geometry = Geometry((i, j, k), np.array(header["ijk_to_ras"], dtype=np.float64))
    except (KeyError, TypeError, ValueError, OverflowError, GeometryError) as error:
        raise InputError(_("The header of the CT in {folder} is damaged.").format(folder=folder), _again()) from error
    geometry.check()
    voxels = _read_raw(folder / _VOXELS, np.dtype("<i2"), shape)
    return Volume(voxels, geometry, Source(folder, name or folder.name, series_uid=series_uid))


def write_layers(folder: Path, layers: tuple[Layer, ...], advance: Advance = lambda fraction: None) -> tuple[Path, ...]:
    """Writes label layers; one file each, in their order. ``advance`` is told often on the way.

    Raises:
        OutputError: the disk is full or not writable.
    """
    _require_space(folder, sum(layer.labels.size for layer in layers))
    paths = tuple(folder / f"layer-{n}.u1" for n, _ in enumerate(layers, 1))
    for done, (path, layer) in enumerate(zip(paths, layers, strict=True)):
        _write_raw(path, layer.labels, np.dtype("u1"), _one_of(len(layers), done, advance))
    return paths


def read_layer(path: Path, shape: tuple[int, int, int], classes: tuple[int, ...]) -> Layer:
    """A label layer, memory-mapped and read-only.

    Raises:
        InputError: it is missing or not complete.
    """
    return Layer(_read_raw(path, np.dtype("u1"), shape), classes)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Writes a boolean or 0/1 mask (i, j, k) of a box.

    Raises:
        OutputError: the disk is full or not writable.
    """
    _require_space(path.parent, mask.size)
    _write_raw(path, mask, np.dtype("u1"))


def writing_mask(path: Path, mask: np.ndarray) -> Pieces[None]:
    """The same in pieces, each a few megabytes, and not forced onto the disk: it is of no use after this process.

    Raises:
        OutputError: as :func:`write_mask`.
    """
    _require_space(path.parent, mask.size)
    with output_errors(path), path.open("wb") as stream:
        for planes, _fraction in _planes(mask):
            stream.write(np.ascontiguousarray(planes.T, dtype=np.uint8).data.cast("B"))
            yield


def read_mask(path: Path, box: Box) -> np.ndarray:
    """The mask of a box as 0 and 1 (i, j, k), memory-mapped and read-only.

    Raises:
        InputError: it is missing or not complete.
    """
    return _read_raw(path, np.dtype("u1"), box.shape)


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(_("There is no complete CT in {folder}.").format(folder=folder), _again()) from error
    if not isinstance(header, dict):
        raise InputError(_("The header of the CT in {folder} is damaged.").format(folder=folder), _again())
    return header


def _require_space(folder: Path, size: int) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
        OutputError: says how much is needed and how much there is.
    """
    with output_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        what = _("{folder} has {free:,.0f} MB free; {needed:,.0f} MB are needed.")
        raise OutputError(
            what.format(folder=folder, free=free / 1e6, needed=(size + _SPARE_BYTES) / 1e6),
            _("Free some space, or choose another temporary folder in the settings."),
        )


def _write_raw(path: Path, array: np.ndarray, dtype: np.dtype, advance: Advance = lambda fraction: None) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        for planes, fraction in _planes(array):
            advance(fraction)
            # Not by numpy's own tofile, which lets no other thread run meanwhile.
            stream.write(np.ascontiguousarray(planes.T, dtype=dtype).data.cast("B"))


def _one_of(count: int, done: int, advance: Advance) -> Advance:
    """Takes the progress of one of ``count`` equal pieces, of which ``done`` are there."""
    return lambda fraction: advance((done + fraction) / count)


def _planes(array: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """The array in pieces along k, so that turning its memory order takes little memory; and the share before each."""
    for start in range(0, array.shape[2], _PLANES_AT_ONCE):
        yield array[:, :, start : start + _PLANES_AT_ONCE], start / array.shape[2]


def _read_raw(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    expected = prod(shape) * dtype.itemsize
    try:
        found = path.stat().st_size
        if min(shape) < 1 or found != expected:
            raise InputError(
                _("{path} has {found} bytes, not the {expected} of {shape} voxels.").format(
                    path=path, found=found, expected=expected, shape=str(shape)
                ),
                _again(),
            )
        return np.memmap(path, dtype=dtype, mode="r", shape=shape, order="F")
    except OSError as error:
        raise InputError(
            _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror), _again()
        ) from error
