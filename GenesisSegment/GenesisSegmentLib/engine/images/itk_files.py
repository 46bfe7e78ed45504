"""NRRD and MetaImage files, read by ITK after their headers were checked for what ITK would assume in silence."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...core.errors import GeometryError, InputError
from ...core.geometry import Geometry
from .refusals import check_dimensions, damaged, not_a
from .sitk import geometry_from_sitk, voxels_from_sitk

_HEADER_LIMIT = 1 << 20
_KNOWN_SPACES = {
    *("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"),
    *("lps", "ras", "las"),
}
_META_BYTES = {
    **{"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4},
    **{"MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}


def read_nrrd(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [i, j, k] and grid of a NRRD file (.nrrd, or .nhdr with its data file).

    Raises:
        InputError: not a NRRD file, truncated, damaged, not 3-D, or not of plain numbers.
        GeometryError: the header does not say how the image lies.
    """
    header = _header_text(path).replace("\r\n", "\n").split("\n\n", 1)[0]
    if not header.startswith("NRRD"):
        raise not_a("NRRD", path)
    fields = dict(re.findall(r"^([^:#\n]+): *(.*)$", header, re.MULTILINE))
    if fields.get("dimension", "3").strip() == "3":
        space = fields.get("space", "").strip().lower()
        if space not in _KNOWN_SPACES or "space directions" not in fields or "space origin" not in fields:
            raise _unplaced("NRRD", "space, space directions and space origin")
    return _read(path)


def read_metaimage(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [i, j, k] and grid of a MetaImage file (.mha, or .mhd with its data file).

    Raises:
        InputError: not a MetaImage file, truncated, damaged, not 3-D, or not of plain numbers.
        GeometryError: the header does not say how the image lies.
    """
    text = _header_text(path)
    match = re.search(r"^ElementDataFile[ \t]*=[ \t]*(.*?)[ \t\r]*$", text, re.MULTILINE)
    if "NDims" not in text or match is None:
        raise not_a("MetaImage", path)
    fields = dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", text[: match.end()], re.MULTILINE))
    if fields.get("NDims") == "3":
        for names in (
            ("ElementSpacing", "ElementSize"),
            ("TransformMatrix", "Rotation", "Orientation"),
            ("Offset", "Origin", "Position"),
        ):
            if not set(names) & set(fields):
                raise _unplaced("MetaImage", "TransformMatrix, Offset and ElementSpacing")
        _check_metaimage_data(path, fields, data_start=match.end() + 1)
    return _read(path)


def _check_metaimage_data(path: Path, fields: dict[str, str], data_start: int) -> None:
    """Refuse missing or damaged data: ITK hands out garbage where zlib fails and prints to the terminal."""
    name = fields["ElementDataFile"]
    element = _META_BYTES.get(fields.get("ElementType", ""))
    if element is None or name == "LIST" or "%" in name or fields.get("HeaderSize", "0") != "0":
        return
    data = path if name.upper() == "LOCAL" else path.parent / name
    start = data_start if data == path else 0
    if not data.is_file():
        raise InputError(f"{path.name} belongs to a data file that is missing: {name}.", "Put both in one folder.")
    try:
        sizes = [int(n) for n in fields["DimSize"].split()] + [int(fields.get("ElementNumberOfChannels", 1))]
    except (KeyError, ValueError) as error:
        raise damaged(path, "its header does not state the size of the image") from error
    expected = int(np.prod(sizes, dtype=object)) * element
    if fields.get("CompressedData", "").lower() in ("true", "1"):
        actual = _unpacked_size(data, start)
    else:
        actual = data.stat().st_size - start
    if actual < expected:
        raise damaged(data)


def _unpacked_size(path: Path, start: int) -> int:
    """Number of bytes in a zlib or gzip stream that begins at ``start``; -1 where it is broken."""
    size, unpacker = 0, zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    with path.open("rb") as stream:
        stream.seek(start)
        try:
            while not unpacker.eof and (chunk := stream.read(1 << 20)):
                size += len(unpacker.decompress(chunk))
        except zlib.error:
            return -1
    return size if unpacker.eof else -1


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        check_dimensions(reader.GetSize(), path)
        if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
            raise InputError(
                f"{path.name} holds {reader.GetNumberOfComponents()} numbers per voxel (colours or vectors), not one.",
                "Give the CT in Hounsfield units.",
            )
        geometry = geometry_from_sitk(reader)
        geometry.check()
        return voxels_from_sitk(reader.Execute()), geometry
    except RuntimeError as error:
        raise damaged(path) from error


def _header_text(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(_HEADER_LIMIT).decode("latin-1")


def _unplaced(kind: str, fields: str) -> GeometryError:
    return GeometryError(
        f"The {kind} header does not say how the image lies in the patient ({fields} are needed).",
        "Save the image again with its orientation, for example from 3D Slicer.",
    )
