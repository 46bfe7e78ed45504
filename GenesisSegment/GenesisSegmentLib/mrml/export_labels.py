"""Files of voxels: label maps with their value table, and Slicer's own segmentation file.

Slicer itself writes their headers, for a single voxel, so that they hold what Slicer reads; all voxels are compressed
here, plane by plane, for Slicer does that in one go, in which nobody can do anything.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import slicer

from .. import __version__
from ..core.classes import FIRST_OWN
from ..core.errors import InputError, OutputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import Pieces
from .arrays import label_image, to_vtk
from .export_copy import SegmentsCopy, twin_of
from .reading import BitPlanes, painting
from .stored import Stored
from .tags import structure_of
from .writing import binary

Tell = Callable[[float], None]
"""Takes how far the file is, 0 to 1."""
_LEVEL = 6
_END_OF_HEADER = b"\n\n"
_NIFTI_HEADER_BYTES, _NIFTI_SIZES_AT = 352, 42
"""Of a NIfTI-1 file: what comes before the voxels, and where in it the three sizes are, as int16 (nifti1.h)."""
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def writing_label_map(copy: SegmentsCopy, folder: Path, suffix: str, order: Sequence[int], tell: Tell) -> Pieces[None]:
    """``nii.gz`` or ``nrrd`` with one value per voxel, and the table that says which value is what."""
    values, shape = copy.values(order), copy.place.geometry.shape
    labels = yield from painting(copy.images, shape, values)
    tell(0.3)
    table = yield from _value_table(copy, values, labels)
    (folder / f"{copy.stem}.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    tell(0.5)
    depth = shape[2]

    def planes() -> Iterable[bytes]:
        for k in range(depth):
            tell(0.5 + 0.5 * k / depth)
            yield labels[:, :, k].tobytes(order="F")

    target = folder / f"{copy.stem}.{suffix}"
    if suffix == "nrrd":
        yield from _compressing(target, _nrrd_header_of(copy, folder), planes())
    else:  # in a compressed NIfTI file, the header is compressed too
        yield from _compressing(target, b"", chain([_nifti_header_of(copy, folder)], planes()))


def writing_segmentation(copy: SegmentsCopy, folder: Path, tell: Tell) -> Pieces[None]:
    """``seg.nrrd``: overlaps, names, colours, tags. Holds the grid of the CT, and what lies outside of it.

    Raises:
        InputError: there is no segment at all.
    """
    if not copy.segments:
        raise InputError(_("There is no segment to write."), _("Segment the CT again."))
    box = Box.joined(
        [Box.whole(copy.place.geometry.shape), *(_box(stored) for stored in copy.images if stored.labels.size)]
    )
    images = [_shifted(stored, box) for stored in copy.images] or [Stored(np.zeros((1, 1, 1), np.uint8), (0, 0, 0), {})]
    depth = box.shape[2]

    def planes() -> Iterable[bytes]:
        for k in range(depth):
            tell(k / depth)
            values = np.zeros((len(images), *box.shape[:2]), np.uint8, order="F")
            for layer, stored in enumerate(images):
                labels, (i, j, _k) = stored.piece(k, k + 1, box.shape)
                if labels.size:
                    values[layer, i, j] = labels[..., 0]
            yield values.tobytes(order="F")

    header = _segmentation_header(copy, images, box, folder)
    yield from _compressing(folder / f"{copy.stem}.seg.nrrd", header, planes())


def store(storage: Any, node: Any, path: Path) -> None:
    """Has Slicer write a node, without compression.

    Raises:
        OutputError: it could not be written.
    """
    storage.SetUseCompression(False)
    storage.SetFileName(str(path))
    succeed(storage.WriteData(node), path)


def succeed(done: int, file: Path) -> None:
    """Refuses to go on where a writer says that it failed, or its file is not there.

    Raises:
        OutputError: it failed.
    """
    if not (done and file.is_file()):
        raise OutputError(
            _("{name} could not be written.").format(name=file.name), _("Check the disk, or choose another folder.")
        )


def _compressing(target: Path, header: bytes, blocks: Iterable[bytes]) -> Pieces[None]:
    with target.open("wb") as stream:
        stream.write(header)
        with gzip.GzipFile("", "wb", _LEVEL, stream, mtime=0) as packed:
            for block in blocks:
                packed.write(block)
                yield


def _written_by_slicer(storage: Any, node: Any, folder: Path, suffix: str) -> bytes:
    """What Slicer writes of a small node; in a folder of its own, for any name may be that of a file of the export."""
    with TemporaryDirectory(dir=folder) as place:
        file = Path(place) / f"header.{suffix}"
        store(storage, node, file)
        return file.read_bytes()


def _one_voxel_label_map(copy: SegmentsCopy, folder: Path, suffix: str) -> bytes:
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetAndObserveImageData(label_image(np.zeros((1, 1, 1), np.uint8), np.eye(4)))
    volume.SetIJKToRASMatrix(to_vtk(copy.place.geometry.ijk_to_ras))
    return _written_by_slicer(slicer.vtkMRMLVolumeArchetypeStorageNode(), volume, folder, suffix)


def _nifti_header_of(copy: SegmentsCopy, folder: Path) -> bytes:
    header = bytearray(_one_voxel_label_map(copy, folder, "nii")[:_NIFTI_HEADER_BYTES])
    struct.pack_into("=3h", header, _NIFTI_SIZES_AT, *copy.place.geometry.shape)
    return bytes(header)


def _nrrd_header_of(copy: SegmentsCopy, folder: Path) -> bytes:
    sizes = " ".join(str(n) for n in copy.place.geometry.shape)
    header = _nrrd_header(_one_voxel_label_map(copy, folder, "nrrd"))
    return _with_fields(header, {"sizes": sizes, "encoding": "gzip"})


def _nrrd_header(begin: bytes) -> bytes:
    """With the empty line at its end."""
    return begin[: begin.index(_END_OF_HEADER) + len(_END_OF_HEADER)]


def _box(stored: Stored) -> Box:
    stop = tuple(a + n for a, n in zip(stored.start, stored.labels.shape, strict=True))
    return Box(stored.start, stop)  # type: ignore[arg-type]


def _shifted(stored: Stored, box: Box) -> Stored:
    start = tuple(a - b for a, b in zip(stored.start, box.start, strict=True))
    return Stored(stored.labels, start, stored.values)  # type: ignore[arg-type]


def _segmentation_header(copy: SegmentsCopy, images: Sequence[Stored], box: Box, folder: Path) -> bytes:
    """The header that Slicer writes for the same segments with one voxel, told where the voxels really are."""
    small = slicer.vtkMRMLSegmentationNode()
    dot = label_image(np.ones((1, 1, 1), np.uint8), np.eye(4))
    for segment_id, segment in copy.segments:
        twin = twin_of(segment_id, segment)
        twin.SetLabelValue(1)
        twin.AddRepresentation(binary(), dot)
        small.GetSegmentation().AddSegment(twin, segment_id)
    written = _written_by_slicer(slicer.vtkMRMLSegmentationStorageNode(), small, folder, "seg.nrrd")
    where = {i: (layer, value) for layer, stored in enumerate(images) for i, value in stored.values.items()}
    free = next(value for value in range(1, 257) if value not in images[0].values.values())
    fields = _grid_fields(copy, len(images), box)
    for n, (segment_id, _segment) in enumerate(copy.segments):
        layer, value = where.get(segment_id, (0, free))
        fields |= {f"Segment{n}_Layer": layer, f"Segment{n}_LabelValue": value}
        fields[f"Segment{n}_Extent"] = " ".join(f"0 {size - 1}" for size in box.shape)
    return _with_fields(_nrrd_header(written), fields)


def _grid_fields(copy: SegmentsCopy, layers: int, box: Box) -> dict[str, Any]:
    matrix = _LPS @ copy.place.geometry.ijk_to_ras
    vectors = ["(" + ",".join(f"{part:.17g}" for part in matrix[:3, axis]) + ")" for axis in range(3)]
    origin = matrix @ [*box.start, 1]
    several = ["list"] if layers > 1 else []
    return {
        "dimension": 3 + len(several),
        "sizes": " ".join(str(n) for n in (*([layers] if several else []), *box.shape)),
        "space directions": " ".join([*("none" for _list in several), *vectors]),
        "kinds": " ".join([*several, "domain", "domain", "domain"]),
        "space origin": "(" + ",".join(f"{part:.17g}" for part in origin[:3]) + ")",
        "encoding": "gzip",
        # Slicer would fit the one voxel to this reference, which takes as long as all of them.
        "Segmentation_ConversionParameters": copy.looks.GetSegmentation().SerializeAllConversionParameters(),
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }


def _with_fields(header: bytes, fields: dict[str, Any]) -> bytes:
    lines = header.rstrip(b"\n").decode("utf-8").split("\n")
    return ("\n".join(_retold(line, fields) for line in lines) + "\n\n").encode("utf-8")


def _retold(line: str, fields: dict[str, Any]) -> str:
    for separator in (":=", ": "):
        key, found, _value = line.partition(separator)
        if found and key in fields:
            return f"{key}{separator}{fields[key]}"
    return line


def _value_table(copy: SegmentsCopy, values: Sequence[tuple[str, int]], labels: np.ndarray) -> Pieces[dict[str, Any]]:
    """What readers of a label map need: keys as in the files of the command line."""
    segments, classes = dict(copy.segments), {index: segment_id for segment_id, index in copy.numbers.items()}
    slugs = {index: structure_of(segments[segment_id], index).slug for index, segment_id in classes.items()}
    in_order = sorted((value, segments[segment_id]) for segment_id, value in values)
    lost = dict.fromkeys(sorted(copy.numbers.values()), 0)
    present = np.zeros(256, bool)
    planes = BitPlanes.of_images(copy.images, labels.shape, copy.numbers)
    for k0, k1 in planes.slabs(2):
        painted = labels[:, :, k0:k1]
        if painted.any():
            present |= np.bincount(painted.ravel(order="K"), minlength=256) > 0
            _count_lost(planes.bits(k0, k1), painted, lost)
        yield
    return {
        "program": f"GenesisSegment {__version__}",
        "labels": {str(v): slugs.get(v, s.GetName()) for v, s in in_order},
        "names": {str(v): s.GetName() for v, s in in_order},
        "colors": {
            str(v): "#{:02x}{:02x}{:02x}".format(*(round(part * 255) for part in s.GetColor())) for v, s in in_order
        },
        "classes_computed": [v for v, _s in in_order if v in slugs],
        "classes_found": [int(v) for v in np.flatnonzero(present) if v in slugs],
        "paint_order": [value for _id, value in values],
        "overlaps_lost": {str(c): count for c, count in lost.items() if count},
    }


def _count_lost(bits: np.ndarray, painted: np.ndarray, lost: dict[int, int]) -> None:
    """Voxels of each class that another one hides."""
    hidden = (bits != 0) & ((bits & (bits - np.uint32(1)) != 0) | (painted >= FIRST_OWN))
    if hidden.any():
        several, values = bits[hidden], painted[hidden]
        for c in lost:
            lost[c] += int(np.count_nonzero((several >> np.uint32(c - 1) & np.uint32(1)) & (values != c)))
