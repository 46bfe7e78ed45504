"""Image files of label values on a given grid, one function per library that writes the format best."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...core.errors import OutputError
from ...core.geometry import Geometry
from ...core.i18n import _
from ..images.sitk import LPS_TO_RAS, to_sitk

GZIP_LEVEL = 6
"""On label maps the highest level takes several times longer and saves little."""
REMARK_FIELD = "GenesisSegment_Remark"
"""Our own header field in NRRD and MetaImage; in NIfTI it is the description."""


def write_image(path: Path, values: np.ndarray, geometry: Geometry, remark: str = "") -> None:
    """Writes ``values`` (i, j, k) as ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``, by the suffix of ``path``.

    A ``remark``, ASCII, stands in the header; NIfTI has room for 79 characters of it.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, values, geometry, remark)
    elif path.suffix == ".nrrd":
        write_nrrd(path, values, geometry, {REMARK_FIELD: remark} if remark else {})
    else:
        write_metaimage(path, values, geometry, remark)


def write_nifti(path: Path, values: np.ndarray, geometry: Geometry, remark: str = "") -> None:
    """Writes ``values`` (i, j, k) as NIfTI whose sform is the grid's matrix, rounded to float32 and nothing else.

    ITK would take the matrix apart and put it together again, which moves its last bits and straightens it, and it
    does not notice a full disk.
    """
    import nibabel

    image = nibabel.Nifti1Image(np.asfortranarray(values), geometry.ijk_to_ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(geometry.ijk_to_ras, code="scanner")
    image.set_qform(geometry.ijk_to_ras, code="scanner")
    image.header["descrip"] = remark[:79].encode("ascii")
    nibabel.save(image, path)


def write_nrrd(path: Path, values: np.ndarray, geometry: Geometry, fields: Mapping[str, str]) -> None:
    """Writes ``values`` as gzip-compressed NRRD with extra key-value ``fields``.

    ``values`` is (i, j, k), or (list, i, j, k) for several layers on one grid. Text beyond ASCII is written in UTF-8,
    as Slicer does.
    """
    import nrrd

    matrix = LPS_TO_RAS @ geometry.ijk_to_ras
    layered = values.ndim == 4
    header = {
        "space": "left-posterior-superior",
        "space directions": [[np.nan] * 3] * layered + matrix[:3, :3].T.tolist(),
        "kinds": ["list"] * layered + ["domain"] * 3,
        "space origin": matrix[:3, 3].tolist(),
        "encoding": "gzip",
        **{key: text.encode("ascii", "xmlcharrefreplace").decode() for key, text in fields.items()},
    }
    nrrd.write(str(path), values, header, compression_level=GZIP_LEVEL)
    if not all(text.isascii() for text in fields.values()):
        _put_characters_back(path)


def _put_characters_back(path: Path) -> None:
    """Replaces the references to characters in the header of a NRRD file, which ends with an empty line, by these."""
    other = path.with_name(f"{path.name}.utf8")
    with path.open("rb") as source, other.open("wb") as target:
        for line in iter(source.readline, b"\n"):
            target.write(re.sub(rb"&#(\d+);", lambda found: chr(int(found[1])).encode(), line))
        target.write(b"\n")
        shutil.copyfileobj(source, target)
    other.replace(path)


def write_metaimage(path: Path, values: np.ndarray, geometry: Geometry, remark: str = "") -> None:
    """Writes ``values`` (i, j, k) as compressed MetaImage.

    Raises:
        OutputError: disk full, read-only or no permission, which ITK reports as a RuntimeError.
    """
    image = to_sitk(values, geometry)
    if remark:
        image.SetMetaData(REMARK_FIELD, remark)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OutputError(
            _("{file} could not be written: {reason}.").format(file=path.name, reason=reason),
            _("Choose another folder."),
        ) from error
