"""Reads label files back: what GenesisSegment writes, and reference labels with a table of their values.

Forms:

* a label map (.nii.gz, .nii, .nrrd, .mha) with ``<name>.json`` beside it. The table either maps values to classes
  (``universal_model``, with ``universal_model_annotated`` for the classes that were looked for; several values may
  make up one class) or names the values (``labels``, with ``classes_computed``);
* a folder with such a ``labels.nii.gz`` and ``labels.json``;
* a folder with one mask per class, ``<class>.nii.gz``;
* a Slicer segmentation (.seg.nrrd), overlapping layers included.

A label map holds one class per voxel: where a lesion was painted over its organ, the organ has a hole, which is filled
(:mod:`GenesisSegmentLib.engine.hosts`). The other two forms keep overlaps.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.classes import FIRST_OWN, class_slugs, find_classes, structures
from ..core.errors import GeometryError, InputError
from ..core.files import safe_name
from ..core.geometry import Geometry
from ..core.i18n import _
from ..core.segmentation import BITS, MAX_CLASSES, Segmentation, bit_of, bits_type
from .export.segnrrd import COMPUTED_FIELD
from .export.targets import FOLDER_TABLE, suffix_of, table_path
from .hosts import organs_with_lesions
from .images.itk_files import read_metaimage, read_nrrd
from .images.nifti import read_nifti
from .images.sitk import geometry_from_sitk

REFERENCE_NAME = "labels.nii.gz"
_READERS = {".nii.gz": read_nifti, ".nii": read_nifti, ".nrrd": read_nrrd, ".mha": read_metaimage}


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels from a file. ``segmentation.classes`` are the classes that were looked for, marked or not.

    ``notes`` are sentences for the person, such as names that were passed over; ``others`` are these names, as slugs.
    ``is_empty_outside``: the file may cover its segments alone, and beyond its grid nothing is marked; otherwise,
    nothing is known there.
    """

    segmentation: Segmentation
    notes: tuple[str, ...] = ()
    is_empty_outside: bool = False
    others: tuple[str, ...] = ()


def read_labels(path: Path | str, own: tuple[str, ...] = ()) -> Labels:
    """Labels from any of the forms above. What is named like one of ``own``, slugs, are the classes from 33 on.

    Raises:
        InputError: missing, damaged, no labels, or values that no table explains.
        GeometryError: the grid cannot be placed, or masks of one folder lie on different grids.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(_("{path} does not exist.").format(path=path), _("Check the path."))
    try:
        if path.is_dir():
            labels = path / REFERENCE_NAME
            return _read_label_map(labels, own) if labels.is_file() else _read_folder(path, own)
        if suffix_of(path) == ".seg.nrrd":
            return _read_seg_nrrd(path, own)
        if suffix_of(path) in _READERS:
            return _read_label_map(path, own)
    except OSError as error:
        raise InputError(
            _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror or error),
            _("Check its permissions."),
        ) from error
    raise InputError(
        _("{file} is not a label file that can be read.").format(file=path.name),
        _("Give .seg.nrrd, {suffixes}.").format(suffixes=", ".join(_READERS)),
    )


def _read_label_map(path: Path, own: tuple[str, ...]) -> Labels:
    table_file = table_path(path)
    if not table_file.is_file():
        raise InputError(
            _("{file} has no {table} beside it, so it cannot be told which value is which class.").format(
                file=path.name, table=table_file.name
            ),
            _('Write one, such as {"labels": {"1": "spleen", "2": "liver"}}.'),
        )
    table = _json(table_file)
    values, classes, notes, others = _value_table(table, table_file, own)
    labels, geometry = _read_values(path)
    lut = np.zeros(np.iinfo(labels.dtype).max + 1, dtype=bits_type(classes))
    for value, index in values.items():
        lut[value] = bit_of(index) if index else 0
    bits = np.empty(labels.shape, dtype=lut.dtype, order="F")
    used = np.zeros(lut.shape, dtype=bool)
    for k in range(labels.shape[2]):  # by slice: an index array of the whole volume would take eight bytes a voxel
        bits[..., k] = lut[labels[..., k]]
        used[labels[..., k]] = True
    unknown = set(np.flatnonzero(used).tolist()) - set(values) - {0}
    if unknown:
        listed = ", ".join(str(v) for v in sorted(unknown))
        raise InputError(
            _("{file} holds values that {table} does not explain: {listed}.").format(
                file=path.name, table=table_file.name, listed=listed
            ),
            _("Add them."),
        )
    painted = Segmentation(bits, geometry, classes, own)
    whole, folded = organs_with_lesions(painted)
    return Labels(whole, (*notes, *folded, *_still_hidden(table, values, painted, whole)), others=others)


def read_named(path: Path | str, names: Sequence[str]) -> Labels:
    """Structures that are none of the classes, by their names in a file of any of the forms above.

    They are the classes 1, 2, ... of the result, in the order of ``names``, 32 at most.

    Raises:
        InputError: the file cannot be read, or it does not hold all of the names.
        GeometryError: the grid cannot be placed.
    """
    slugs = tuple(safe_name(name, "structure") for name in names)
    if len(set(slugs)) < len(names) or len(names) > MAX_CLASSES:
        raise InputError(
            _("{names} cannot be read at once: they are more than {most}, or two are the same name.").format(
                names=", ".join(names), most=MAX_CLASSES
            ),
            _("Name fewer of them."),
        )
    found = read_labels(path, slugs)
    whole = found.segmentation
    absent = [name for index, name in enumerate(names, FIRST_OWN) if index not in whole.classes]
    if absent:
        there = (*(whole.structures[c].slug for c in whole.classes), *found.others)
        raise InputError(
            _("{file} does not name {names}.").format(file=Path(path).name, names=", ".join(absent)),
            _("It names: {names}.").format(names=", ".join(there)),
        )
    bits = (whole.bits >> np.uint64(MAX_CLASSES)).astype(BITS)
    return Labels(replace(whole, bits=bits, classes=tuple(range(1, len(names) + 1)), own=()))


def _still_hidden(
    table: dict[str, Any], values: dict[int, int], painted: Segmentation, whole: Segmentation
) -> tuple[str, ...]:
    """Says which classes lack voxels that, by our own table, were painted over and are not under a lesion.

    ``values`` are the classes of the values of the file, by which the table counts.
    """
    lost = table.get("overlaps_lost")
    counts = lost if isinstance(lost, dict) else {}
    short = []
    for c in whole.classes:
        listed = (counts.get(str(value)) for value, index in values.items() if index == c)
        hidden = sum(count for count in listed if isinstance(count, int))
        if hidden and hidden > np.count_nonzero(whole.mask(c)) - np.count_nonzero(painted.mask(c)):
            short.append(whole.structures[c].slug)
    if not short:
        return ()
    what = _("Other classes were painted over parts of {names}: a .seg.nrrd or a folder of masks keeps them.")
    return (what.format(names=", ".join(short)),)


def _value_table(
    table: dict[str, Any], path: Path, own: tuple[str, ...]
) -> tuple[dict[int, int], tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """Class of each value (0 where it is none of ours), classes that were looked for, notes, and names passed over."""
    try:
        names = {int(value): str(name) for value, name in table.get("labels", {}).items()}
        mapped = {int(value): int(index) for value, index in table.get("universal_model", {}).items()}
        looked_for = table.get("universal_model_annotated", table.get("classes_computed"))
        looked_for = None if looked_for is None else {int(c) for c in looked_for}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            _("{file} is not a table of label values.").format(file=path.name), _('Write "labels": {"1": "spleen"}.')
        ) from error
    notes: tuple[str, ...] = ()
    if "universal_model" in table:
        values = {value: _own_number(name, own) for value, name in names.items()} | mapped
    else:
        values = {value: _index_of(name, own) for value, name in names.items()}
        notes = _passed_over(names[value] for value, index in values.items() if not index)
    others = _slugs(names[value] for value, index in values.items() if not index and value in names)
    if looked_for is not None:
        # Structures of the writer's own are known by their names: another model counts them otherwise.
        looked_for = {c for c in looked_for if c < FIRST_OWN or c not in names}
        looked_for |= {index for index in values.values() if index >= FIRST_OWN}
    classes = set(values.values()) - {0} if looked_for is None else looked_for
    if not classes <= set(structures(own)):
        raise InputError(
            _("{file} names classes that do not exist.").format(file=path.name),
            _("Classes are 1 to {most}.").format(most=MAX_CLASSES),
        )
    if not classes and not names:
        raise InputError(_("{file} names no label.").format(file=path.name), _('Write "labels": {"1": "spleen"}.'))
    stray = set(values.values()) - {0} - classes
    if stray:
        slugs = ", ".join(structures(own)[c].slug for c in sorted(stray))
        raise InputError(
            _("{file} gives values to classes that it says were not looked for: {slugs}.").format(
                file=path.name, slugs=slugs
            ),
            _("Mend it."),
        )
    return values, tuple(sorted(classes)), notes, others


def _read_folder(folder: Path, own: tuple[str, ...]) -> Labels:
    table_file = folder / FOLDER_TABLE
    unknown: list[str] = []
    geometry: Geometry | None = None
    if table_file.is_file():
        table = _json(table_file)
        files, classes, unknown = _folder_table(table, table_file, own)
        notes = _passed_over(unknown)
        geometry = None if files else _table_grid(table, table_file)
    else:
        masks = (path for path in sorted(folder.iterdir()) if suffix_of(path) in _READERS and path.name[0] != ".")
        found = {path: _index_of(path.name[: -len(suffix_of(path))], own) for path in masks}
        files = {index: path for path, index in found.items() if index}
        notes = _passed_over(path.name for path, index in found.items() if not index)
        unknown = [path.name[: -len(suffix_of(path))] for path, index in found.items() if not index]
        classes = set(files)
    if not classes and not (unknown and table_file.is_file()):
        raise InputError(
            _("There is no mask in {folder}.").format(folder=folder),
            _("Give a folder with one mask per class: spleen.nii.gz, ..."),
        )
    kind = bits_type(classes)
    bits = None if geometry is None else np.zeros(geometry.shape, dtype=kind, order="F")
    for index, path in files.items():
        mask, place = _read_values(path)
        if geometry is None or bits is None:
            geometry, bits = place, np.zeros(place.shape, dtype=kind, order="F")
        if not place.matches(geometry):
            raise GeometryError(
                _("The masks in {folder} lie on different grids ({file}).").format(folder=folder, file=path.name),
                _again(),
            )
        bits[mask != 0] |= bit_of(index)
    assert geometry is not None  # from the table or from a file
    assert bits is not None
    segmentation = Segmentation(bits, geometry, tuple(sorted(classes)), own)
    return Labels(segmentation, notes, others=_slugs(unknown))


def _table_grid(table: dict[str, Any], path: Path) -> Geometry:
    """The grid on which nothing was found."""
    if "ijk_to_ras" not in table:
        raise InputError(
            _("No class was found in {folder}, and {file} does not say on which grid.").format(
                folder=path.parent, file=path.name
            ),
            _("Segment again, or give a .seg.nrrd or a label map instead."),
        )
    try:
        geometry = Geometry(tuple(table["shape"]), np.array(table["ijk_to_ras"], dtype=np.float64))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(_("{file} does not describe a grid.").format(file=path.name), _again()) from error
    geometry.check()
    return geometry


def _folder_table(
    table: dict[str, Any], path: Path, own: tuple[str, ...]
) -> tuple[dict[int, Path], set[int], list[str]]:
    """File of each class that was found, the classes that were looked for, and names that are none of ours."""
    try:
        numbers = {int(index): int(index) for index in table["classes_computed"]}
        names = {int(index): str(name) for index, name in table.get("labels", {}).items()}
        numbers |= {c: _own_number(names[c], own) for c in numbers if c >= FIRST_OWN and c in names}
        listed = {numbers[int(c)]: path.with_name(Path(name).name) for c, name in table["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(_("{file} is not a table of masks.").format(file=path.name), _again()) from error
    unknown = [names[c] for c, index in numbers.items() if not index]
    files = {index: file for index, file in listed.items() if index}
    classes = set(numbers.values()) - {0}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise InputError(
            _("{folder} lacks {files}, which {file} names.").format(
                folder=path.parent, files=", ".join(missing), file=path.name
            ),
            _again(),
        )
    return files, classes, unknown


def _read_seg_nrrd(path: Path, own: tuple[str, ...]) -> Labels:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(_("{file} is damaged or not a NRRD file.").format(file=path.name), _again()) from error
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    if "NRRD_space" not in fields or image.GetDimension() != 3:
        raise GeometryError(
            _("{file} does not say how it lies in the patient.").format(file=path.name),
            _("Save it again from 3D Slicer."),
        )
    geometry = geometry_from_sitk(image)
    geometry.check()
    layers = sitk.GetArrayViewFromImage(image)
    layers = layers.reshape(*layers.shape[:3], -1).transpose(2, 1, 0, 3)
    bits = np.zeros(geometry.shape, dtype=bits_type(structures(own)), order="F")
    looked_for = fields.get(COMPUTED_FIELD, "").split()
    classes: set[int] = set()
    by_id: dict[str, int] = {}
    unknown = []
    ids = [text for key, text in fields.items() if key.endswith("_ID") and key.startswith("Segment")]
    for n in range(len(ids)):
        name, identity = fields.get(f"Segment{n}_Name", ""), fields.get(f"Segment{n}_ID", "")
        index = _segment_class(identity, name, own, ids, identity in looked_for)
        if not index:
            unknown.append(identity if identity in looked_for else name or identity)
            continue
        # Files of Slicer before 4.11 have one layer per segment and no label values.
        layer = int(fields.get(f"Segment{n}_Layer", n if layers.shape[3] > 1 else 0))
        value = int(fields.get(f"Segment{n}_LabelValue", 1))
        bits[layers[..., layer] == value] |= bit_of(index)
        classes.add(index)
        by_id[identity] = index
    computed = {slug: by_id.get(slug) or _index_of(slug, own) for slug in looked_for}
    classes |= set(computed.values()) - {0}
    seen = _slugs(unknown)
    unknown += [slug for slug, index in computed.items() if not index and slug not in seen]
    if not classes and not unknown:
        raise InputError(
            _("{file} holds no segment that is named like one of the classes.").format(file=path.name),
            _("Rename its segments."),
        )
    segmentation = Segmentation(bits, geometry, tuple(sorted(classes)), own)
    return Labels(segmentation, _passed_over(unknown), is_empty_outside=True, others=_slugs(unknown))


def _segment_class(identity: str, name: str, own: tuple[str, ...], ids: Container[str], is_ours: bool) -> int:
    """The class of a segment; 0 for none.

    A class and a structure of one's own may have the same name, never the same ID. So a name does not stand for a class
    whose own ID is among the ``ids`` of the file; nor where ``is_ours``: then the ID is a slug that this program wrote.
    """
    index = class_slugs().get(identity) or _own_number(identity, own) or _own_number(name, own)
    if index or is_ours:
        return index
    named = class_named(identity) or class_named(name)
    return named if named and structures()[named].slug not in ids else 0


def _index_of(name: str, own: tuple[str, ...]) -> int:
    """The class that a name stands for, structures of ``own`` first; 0 for none."""
    return _own_number(name, own) or class_named(name) or 0


def _own_number(name: str, own: tuple[str, ...]) -> int:
    """The class index of the structure of ``own`` that is called so; 0 for none, and for the slug of a class."""
    slug = safe_name(name, "structure")
    if slug in class_slugs():
        return 0
    made = {structures(own)[c].slug: c for c in range(FIRST_OWN, FIRST_OWN + len(own))}
    return FIRST_OWN + own.index(slug) if slug in own else made.get(slug, 0)


def _slugs(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(safe_name(name, "structure") for name in names))


def class_named(name: str) -> int | None:
    """The class that a name, slug or synonym stands for; None for none, for several ("lungs") and for bare numbers."""
    if name.strip().isdigit():
        return None
    try:
        found = find_classes([name])
    except InputError:
        return None
    return found[0] if len(found) == 1 else None


def _read_values(path: Path) -> tuple[np.ndarray, Geometry]:
    """Whole, non-negative label values (i, j, k) and their grid."""
    values, geometry = _READERS[suffix_of(path)](path)
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise InputError(
            _("{file} holds fractions: it is an image or a probability map, not labels.").format(file=path.name),
            _again(),
        )
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.uint16).max):
        raise InputError(
            _("{file} holds values from {least} to {most}: these are not labels.").format(
                file=path.name, least=str(values.min()), most=str(values.max())
            ),
            _again(),
        )
    return values.astype(np.uint16, copy=False), geometry


def _again() -> str:
    return _("Copy or export the file again.")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(_("{file} is not JSON.").format(file=path.name), _again()) from error
    if not isinstance(document, dict):
        raise InputError(
            _("{file} is not a table of label values.").format(file=path.name), _('Write "labels": {"1": "spleen"}.')
        )
    return document


def _passed_over(names: Iterable[str]) -> tuple[str, ...]:
    listed = sorted(names)
    return (
        (_("Passed over, as they are none of the classes: {names}.").format(names=", ".join(listed)),) if listed else ()
    )
