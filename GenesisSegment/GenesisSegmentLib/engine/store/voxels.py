"""CTs and masks as bytes, always the same ones for the same content: what the names of blobs are made from.

A line of JSON says what follows and on which grid; then come the voxels, i fastest: int16 little-endian for a CT, one
bit per voxel of its box for a mask. Zero times minus one is written as zero.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...core.corrections import BoxedMask
from ...core.errors import GeometryError, InputError
from ...core.geometry import Box, Geometry
from ...core.i18n import _
from ...core.identity import hashed
from ...core.outbox import content_sha256
from ...core.volume import Source, Volume

_LARGEST_HEADER = 4096


@dataclass(frozen=True)
class Content:
    """The bytes of a blob: ``header``, which ends with a line break, and ``payload``."""

    header: bytes
    payload: memoryview


def volume_content(volume: Volume) -> Content:
    """The bytes of a CT; of where it came from, nothing.

    Raises:
        InputError: the voxels are not int16.
    """
    if volume.voxels.dtype.kind != "i" or volume.voxels.dtype.itemsize != 2:
        raise InputError(
            _("The CT holds {dtype} values where int16 is needed.").format(dtype=volume.voxels.dtype),
            _("Convert it first."),
        )
    voxels = np.ascontiguousarray(volume.voxels.T, dtype="<i2")
    return Content(_header("ct", volume.geometry), voxels.reshape(-1).data.cast("B"))


def scan_keys(volume: Volume, salt: bytes) -> tuple[str, ...]:
    """Hashes by which a scan is known whatever file it came from, DICOM or another.

    One is that of grid and voxels, by which a scan without a SeriesInstanceUID is named. The other is without the grid:
    a position that lies on the border of rounding is not the same any more where a file keeps it as float32.

    Raises:
        InputError: the voxels are not int16.
    """
    voxels = hashlib.sha256(volume_content(volume).payload).hexdigest()
    shape = "x".join(str(n) for n in volume.geometry.shape)
    content = content_sha256(volume.geometry, voxels)
    return hashed(salt, f"content:{content}"), hashed(salt, f"voxels:{shape}:{voxels}")


def mask_content(mask: BoxedMask, geometry: Geometry) -> Content:
    """The bytes of a mask on the grid of its CT."""
    box = [mask.box.start, mask.box.stop] if mask.box is not None else None
    bits = np.packbits(mask.inside.ravel(order="F"), bitorder="little")
    return Content(_header("mask", geometry, box=box), bits.data.cast("B"))


def read_volume(content: bytes, name: str) -> Volume:
    """A CT, its voxels read-only, i fastest.

    Raises:
        InputError: the bytes are of something else.
    """
    header, payload = _split(content, "ct")
    with_geometry = _geometry(header)
    voxels = np.frombuffer(payload, "<i2")
    if voxels.size != prod(with_geometry.shape):
        raise _other("CT")
    voxels = voxels.reshape(with_geometry.shape, order="F")
    return Volume(voxels, with_geometry, Source(Path(), name))


def read_mask(content: bytes) -> BoxedMask:
    """A mask.

    Raises:
        InputError: the bytes are of something else.
    """
    header, payload = _split(content, "mask")
    shape = _geometry(header).shape
    if header.get("box") is None:
        return BoxedMask(shape, None, np.zeros((0, 0, 0), bool))
    try:
        start, stop = (tuple(int(n) for n in corner) for corner in header["box"])
        box = Box(start, stop)  # type: ignore[arg-type]
        bits = np.unpackbits(np.frombuffer(payload, np.uint8), count=prod(box.shape), bitorder="little")
        return BoxedMask(shape, box, bits.view(bool).reshape(box.shape, order="F"))
    except (TypeError, ValueError, GeometryError) as error:
        raise _other("mask") from error


def _header(kind: str, geometry: Geometry, **more: Any) -> bytes:
    matrix = (geometry.ijk_to_ras + 0.0).tolist()
    document = {"kind": kind, "shape": list(geometry.shape), "ijk_to_ras": matrix, **more}
    return json.dumps(document, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _split(content: bytes, kind: str) -> tuple[dict[str, Any], memoryview]:
    end = content.find(b"\n", 0, _LARGEST_HEADER)
    try:
        header = json.loads(content[:end]) if end > 0 else None
    except ValueError as error:
        raise _other(kind) from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise _other(kind)
    return header, memoryview(content)[end + 1 :]


def _geometry(header: dict[str, Any]) -> Geometry:
    try:
        i, j, k = (int(n) for n in header["shape"])
        geometry = Geometry((i, j, k), np.array(header["ijk_to_ras"], dtype=np.float64))
    except (KeyError, TypeError, ValueError) as error:
        raise _other("image") from error
    geometry.check()
    return geometry


def _other(kind: str) -> InputError:
    return InputError(
        _("A file of the case store does not hold a {kind} as it should.").format(kind=kind), _("Run: cases verify")
    )
