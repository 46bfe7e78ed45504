"""NRRD and MetaImage files, read by ITK after their headers were checked for what ITK would assume in silence.

Compressed data is not left to ITK, which prints to the terminal and hands out garbage where zlib fails, and compares
no checksum of NRRD. The formats: https://teem.sourceforge.net/nrrd/format.html, https://docs.itk.org (MetaIO).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...core.errors import GeometryError, InputError
from ...core.geometry import Geometry
from ...core.i18n import _
from .detached import check_there, data_files, header_text, metaimage_fields, nrrd_fields
from .packed import LARGEST_RATIO, unpack
from .refusals import check_dimensions, damaged, not_a, truncated
from .sitk import geometry_from_sitk, voxels_from_sitk

_KNOWN_SPACES = {
    *("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"),
    *("lps", "ras", "las"),
}
_META_BYTES = {
    **{"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4},
    **{"MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
_NRRD_PACKED = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}


def read_nrrd(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [i, j, k] and grid of a NRRD file (.nrrd, or .nhdr with its data files).

    Raises:
        InputError: not a NRRD file, truncated, damaged, not 3-D, or not of plain numbers.
        GeometryError: the header does not say how the image lies.
    """
    text = header_text(path)
    if not text.startswith("NRRD"):
        raise not_a("NRRD", path)
    fields, data_start = nrrd_fields(text)
    if fields.get("dimension", "3").strip() == "3":
        space = fields.get("space", "").strip().lower()
        if space not in _KNOWN_SPACES or "space directions" not in fields or "space origin" not in fields:
            raise _unplaced("NRRD", "space, space directions and space origin")
    files = data_files(path, text)
    check_there(path, files)
    kind = _NRRD_PACKED.get(fields.get("encoding", "raw").strip().lower())
    if kind is None:
        return _read(path)
    geometry = _read_geometry(path)[1]
    return _unpacked_nrrd(path, fields, kind, files or (path,), 0 if files else data_start, geometry.shape), geometry


def _unpacked_nrrd(
    path: Path, fields: dict[str, str], kind: str, files: tuple[Path, ...], start: int, shape: tuple[int, int, int]
) -> np.ndarray:
    """Voxels [i, j, k] of compressed NRRD data, which may be cut into several files along k."""
    try:
        order = {"little": "<", "big": ">"}[fields.get("endian", "little").strip().lower()]
        dtype = np.dtype(order + _NRRD_TYPES[fields["type"].strip().lower()])
        skipped = [int(fields.get(name, fields.get(name.replace(" ", ""), 0))) for name in ("line skip", "byte skip")]
    except (KeyError, ValueError) as error:
        raise damaged(path, _("its header does not state the kind of its numbers")) from error
    count = int(np.prod(shape, dtype=object))
    if min(skipped) < 0 or count % len(files):
        raise damaged(path, _("its header contradicts its data"))
    if count * dtype.itemsize > LARGEST_RATIO[kind] * sum(file.stat().st_size for file in files):
        raise truncated(path)
    flat = np.empty(count, dtype)
    for file, part in zip(files, np.split(flat.view(np.uint8), len(files)), strict=True):
        unpack(file, _after_lines(file, start, skipped[0]), kind, skipped[1], part)
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F")


def _after_lines(file: Path, start: int, count: int) -> int:
    with file.open("rb") as stream:
        stream.seek(start)
        for _n in range(count):
            stream.readline()
        return stream.tell()


def read_metaimage(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [i, j, k] and grid of a MetaImage file (.mha, or .mhd with its data files).

    Raises:
        InputError: not a MetaImage file, truncated, damaged, not 3-D, or not of plain numbers.
        GeometryError: the header does not say how the image lies.
    """
    text = header_text(path)
    fields, data_start = metaimage_fields(text)
    if "NDims" not in fields:
        raise not_a("MetaImage", path)
    if fields["NDims"] == "3":
        for names in (
            ("ElementSpacing", "ElementSize"),
            ("TransformMatrix", "Rotation", "Orientation"),
            ("Offset", "Origin", "Position"),
        ):
            if not set(names) & set(fields):
                raise _unplaced("MetaImage", "TransformMatrix, Offset and ElementSpacing")
        files = data_files(path, text)
        check_there(path, files)
        _check_metaimage_data(path, fields, files or (path,), 0 if files else data_start)
    return _read(path)


def _check_metaimage_data(path: Path, fields: dict[str, str], files: tuple[Path, ...], start: int) -> None:
    """Refuse missing or damaged data."""
    element = _META_BYTES.get(fields.get("ElementType", ""))
    if element is None or fields.get("HeaderSize", "0") != "0":
        return
    try:
        sizes = [int(n) for n in fields["DimSize"].split()] + [int(fields.get("ElementNumberOfChannels", 1))]
    except (KeyError, ValueError) as error:
        raise damaged(path, _("its header does not state the size of the image")) from error
    expected = int(np.prod(sizes, dtype=object)) * element // len(files)
    is_packed = fields.get("CompressedData", "").lower() in ("true", "1")
    for file in files:
        if (_unpacked_size(file, start, expected) != expected) if is_packed else file.stat().st_size - start < expected:
            raise damaged(file)


def _unpacked_size(path: Path, start: int, expected: int) -> int:
    """Number of bytes in a zlib or gzip stream that begins at ``start``; -1 where it is broken or goes on too far."""
    size, unpacker = 0, zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    with path.open("rb") as stream:
        stream.seek(start)
        try:
            while not unpacker.eof and size <= expected and (chunk := stream.read(1 << 20)):
                size += len(unpacker.decompress(chunk))
        except zlib.error:
            return -1
    return size if unpacker.eof else -1


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    reader, geometry = _read_geometry(path)
    try:
        return voxels_from_sitk(reader.Execute()), geometry
    except RuntimeError as error:
        raise damaged(path) from error


def _read_geometry(path: Path) -> tuple[sitk.ImageFileReader, Geometry]:
    """A reader that has read the header of a 3-D image of plain numbers, and its grid."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        check_dimensions(reader.GetSize(), path)
        if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
            raise InputError(
                _("{file} holds {count} numbers per voxel (colours or vectors), not one.").format(
                    file=path.name, count=reader.GetNumberOfComponents()
                ),
                _("Give the CT in Hounsfield units."),
            )
        geometry = geometry_from_sitk(reader)
        geometry.check()
    except RuntimeError as error:
        raise damaged(path) from error
    return reader, geometry


def _unplaced(kind: str, fields: str) -> GeometryError:
    return GeometryError(
        _("The {kind} header does not say how the image lies in the patient ({fields} are needed).").format(
            kind=kind, fields=fields
        ),
        _("Save the image again with its orientation, for example from 3D Slicer."),
    )
