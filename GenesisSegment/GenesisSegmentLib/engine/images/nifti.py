"""NIfTI-1 and NIfTI-2 files, read from their bytes.

Not through ITK, which fills the missing end of a truncated file with zeros, leaves an sform for a differing qform
without a word, and refuses harmless rounding of direction cosines. The format: https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...core.errors import GeometryError, InputError
from ...core.geometry import Geometry
from ...core.i18n import _
from .packed import LARGEST_RATIO, check_end, damage_named, fill, skip
from .refusals import check_dimensions, damaged, not_a, truncated
from .rescale import rescaled

FORMS_TOLERANCE_MM = 1.0
"""How far qform and sform may lie apart: near a half turn the rounding of the qform alone turns it by 1e-3."""
_HALF_TURN = 3 * float(np.finfo(np.float32).eps)  # as nibabel: below it the angle is lost in rounding
_GZIP_MAGIC = b"\x1f\x8b"
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_TYPES = {
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8"},
    **{256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
}
_COLOR_TYPES = (128, 2304)
_COMPLEX_TYPES = (32, 1792, 2048)


def _layout(itemsize: int, /, **fields: tuple[str, int]) -> np.dtype:
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize})


_NIFTI1 = _layout(
    348,
    size=("i4", 0),
    dim=("8i2", 40),
    datatype=("i2", 70),
    pixdim=("8f4", 76),
    vox_offset=("f4", 108),
    slope=("f4", 112),
    intercept=("f4", 116),
    units=("u1", 123),
    qform_code=("i2", 252),
    sform_code=("i2", 254),
    quatern=("3f4", 256),
    qoffset=("3f4", 268),
    srow=("(3,4)f4", 280),
    magic=("S4", 344),
)
_NIFTI2 = _layout(
    540,
    size=("i4", 0),
    magic=("S4", 4),
    datatype=("i2", 12),
    dim=("8i8", 16),
    pixdim=("8f8", 104),
    vox_offset=("i8", 168),
    slope=("f8", 176),
    intercept=("f8", 184),
    qform_code=("i4", 344),
    sform_code=("i4", 348),
    quatern=("3f8", 352),
    qoffset=("3f8", 376),
    srow=("(3,4)f8", 400),
    units=("i4", 500),
)


def read_nifti(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels [i, j, k] in the values that the header's slope and intercept give, and their grid.

    Raises:
        InputError: not a NIfTI file, truncated, damaged, not 3-D, or not of plain numbers.
        GeometryError: the header does not say how the image lies, or says it in two different ways.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        with damage_named(path):
            stream: BinaryIO = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
            header, consumed = _header(stream, path)
            shape = _shape(header, path)
            dtype = _dtype(header, path)
            geometry = Geometry(shape, _placement(header, shape))
            geometry.check()
            gap = max(int(np.nan_to_num(header["vox_offset"])), consumed) - consumed
            size = path.stat().st_size * (LARGEST_RATIO["gzip"] if zipped else 1)
            if int(np.prod(shape, dtype=object)) * dtype.itemsize > size:
                raise truncated(path)
            voxels = _voxels(stream, gap, shape, dtype, path)
            if zipped:
                check_end(stream, path)
    slope, intercept = float(header["slope"]), float(header["intercept"])
    if slope != 0 and np.isfinite([slope, intercept]).all():  # zero or NaN: no scaling is stated
        voxels = rescaled(voxels, slope, intercept)
    return voxels, geometry


def _header(stream: BinaryIO, path: Path) -> tuple[np.void, int]:
    """The header and the number of bytes read for it."""
    start = stream.read(4)
    for layout in (_NIFTI1, _NIFTI2):
        for ordered in (layout.newbyteorder("<"), layout.newbyteorder(">")):
            if start != np.array(layout.itemsize, ordered["size"]).tobytes():
                continue
            raw = start + stream.read(layout.itemsize - len(start))
            if len(raw) < layout.itemsize:
                raise truncated(path)
            header = np.frombuffer(raw, ordered)[0]
            if header["magic"][:2] != b"n+":
                raise InputError(
                    _("{file} is one half of an Analyze or NIfTI pair (.hdr and .img).").format(file=path.name),
                    _("Convert it to one .nii.gz file."),
                )
            return header, layout.itemsize
    raise not_a("NIfTI", path)


def _shape(header: np.void, path: Path) -> tuple[int, int, int]:
    count = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : count + 1]] if 1 <= count <= 7 else [0]
    if min(sizes) < 1:
        raise damaged(path, _("its header does not state the size of the image"))
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    check_dimensions(tuple(sizes), path)
    return sizes[0], sizes[1], sizes[2]


def _dtype(header: np.void, path: Path) -> np.dtype:
    code = int(header["datatype"])
    if code in _TYPES:
        order = header.dtype["datatype"].byteorder
        return np.dtype(_TYPES[code]).newbyteorder(order)
    kind = "colours" if code in _COLOR_TYPES else "complex numbers" if code in _COMPLEX_TYPES else f"type {code}"
    raise InputError(
        _("{file} holds {kind}, not one number per voxel.").format(file=path.name, kind=kind),
        _("Give the CT in Hounsfield units."),
    )


def _placement(header: np.void, shape: tuple[int, int, int]) -> np.ndarray:
    """4x4 matrix from voxel indices to RAS mm: the sform, else the qform, as nibabel and the NIfTI standard have it."""
    sform = _sform(header) if header["sform_code"] > 0 else None
    qform = _qform(header) if header["qform_code"] > 0 else None
    placement = sform if sform is not None else qform
    if placement is None:
        raise GeometryError(
            _(
                "The NIfTI header does not say how the image lies in the patient (neither qform nor sform is "
                "set), so left and right cannot be told."
            ),
            _("Convert the original images again with a tool that keeps the orientation, for example dcm2niix."),
        )
    scale = _UNITS_MM.get(int(header["units"]) & 7, 1.0)
    placement[:3] *= scale
    if sform is not None and qform is not None:
        qform[:3] *= scale
        corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])]).T
        apart = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max())
        if not apart <= FORMS_TOLERANCE_MM:
            raise GeometryError(
                _(
                    "The NIfTI header places the image in two ways (qform and sform lie {apart} mm apart), and "
                    "programs choose differently."
                ).format(apart=f"{apart:.3g}"),
                _("Keep the right one: set the other to it, or its code to 0 (for example with fslorient or nibabel)."),
            )
    return placement


def _sform(header: np.void) -> np.ndarray:
    return np.vstack([header["srow"].astype(np.float64), [0, 0, 0, 1]])


def _qform(header: np.void) -> np.ndarray:
    b, c, d = (float(q) for q in header["quatern"])
    length = b * b + c * c + d * d
    a = (1 - length) ** 0.5 if 1 - length > _HALF_TURN else 0.0
    b, c, d = (q / (a * a + length) ** 0.5 for q in (b, c, d))
    rotation = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    pixdim = header["pixdim"].astype(np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(rotation) * pixdim[1:4] * [1, 1, -1 if pixdim[0] < 0 else 1]
    matrix[:3, 3] = header["qoffset"]
    return matrix


def _voxels(stream: BinaryIO, gap: int, shape: tuple[int, int, int], dtype: np.dtype, path: Path) -> np.ndarray:
    skip(stream, gap, path)
    flat = np.empty(shape[0] * shape[1] * shape[2], dtype)
    fill(flat.view(np.uint8), stream, path)
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F")
