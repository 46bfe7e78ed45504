"""All cases as NIfTI files with a list of them, for other programs. CTs and masks keep their grids voxel for voxel.

Two layouts:

* ``monai``: one mask per reviewed class, overlaps kept; ``datalist.json`` in the form of the Medical Segmentation
  Decathlon that ``monai.data.load_decathlon_datalist`` reads, where ``label`` lists the masks of the classes in
  ``reviewed``, in the same order;
* ``nnunet``: one label map per case (nnU-Net version 2) with ``dataset.json`` and ``splits_final.json``.

A class that nobody reviewed in a case is unknown there, never background. The MONAI layout has no mask for it; in a
label map of nnU-Net each voxel that it could hold has the value ``ignore``, and ``reviewed.json`` lists the classes
that are known. The holdout is ``test`` (``imagesTs``), never among what is trained on; the validation split is
``validation`` (in nnU-Net, the one fold of ``splits_final.json``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...core.classes import class_slugs, class_table
from ...core.errors import InputError, OutputError
from ...core.files import atomic_folder
from ...core.i18n import _
from ...core.jobs import Job
from ...core.volume import Volume
from ..hosts import families

if TYPE_CHECKING:
    from .records import Record
    from .store import CaseStore

Layout = Literal["monai", "nnunet"]
_SECTIONS = {"train": "training", "validation": "validation", "holdout": "test"}
_ENDING = ".nii.gz"
_NOTE = (
    "A class that is not listed as reviewed in a case is unknown there, not background. Organs include their lesions."
)


def export_datalist(store: CaseStore, folder: Path, layout: Layout, job: Job) -> Path:
    """Writes all cases of ``store`` into the new or empty ``folder``, complete or not at all.

    Raises:
        InputError: there is no case, or a file of the store is missing or damaged.
        OutputError: ``folder`` has something in it, or cannot be written.
        Cancelled: the job was cancelled.
    """
    records: tuple[Record, ...] = (*store.training(), *store.proving("validation"), *store.proving("holdout"))
    if not records:
        raise InputError(_("There is no case to export."), _("Accept a case first."))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            _("{folder} is there already and not empty.").format(folder=folder), _("Choose a new folder.")
        )
    job.plan({"exporting": 1.0})
    write = _write_monai if layout == "monai" else _write_nnunet
    with atomic_folder(folder) as temporary:
        write(store, records, temporary, job)
    return folder


def _write_monai(store: CaseStore, records: Sequence[Record], folder: Path, job: Job) -> None:
    sections: dict[str, list[dict[str, Any]]] = {name: [] for name in _SECTIONS.values()}
    for done, record in enumerate(records, 1):
        name, volume = _name(record), store.volume(record)
        image = f"images/{name}{_ENDING}"
        _write(folder / image, volume.voxels, volume)
        files = [f"labels/{name}/{_file_name(label, n)}{_ENDING}" for n, label in enumerate(record.labels)]
        for file, label in zip(files, record.labels, strict=True):
            _write(folder / file, store.mask(record, label).astype(np.uint8), volume)
        item = {"image": image, "label": files, "reviewed": list(record.labels), "case": record.case}
        sections[_SECTIONS[record.split]].append({**item, "patient": record.patient})
        job.advance("exporting", done / len(records))
    document = {
        "name": "GenesisSegment corrections",
        "description": _NOTE,
        "modality": {"0": "CT"},
        "labels": {str(n): label for n, label in enumerate(_labels(records))},
        "numTraining": len(sections["training"]),
        "numTest": len(sections["test"]),
        **sections,
    }
    _write_json(folder / "datalist.json", document)


def _write_nnunet(store: CaseStore, records: Sequence[Record], folder: Path, job: Job) -> None:
    labels = _labels(records)
    values = {label: n for n, label in enumerate(labels, 1)}
    is_partial = any(set(record.labels) != set(labels) for record in records)
    ignore = len(labels) + 1
    for done, record in enumerate(records, 1):
        name, volume = _name(record), store.volume(record)
        part = "Ts" if record.split == "holdout" else "Tr"
        _write(folder / f"images{part}" / f"{name}_0000{_ENDING}", volume.voxels, volume)
        painted = _painted(store, record, values, ignore, volume)
        _write(folder / f"labels{part}" / f"{name}{_ENDING}", painted, volume)
        job.advance("exporting", done / len(records))
    names = {split: sorted(_name(r) for r in records if r.split == split) for split in _SECTIONS}
    dataset = {
        "name": "GenesisSegment",
        "description": _NOTE,
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **values, **({"ignore": ignore} if is_partial else {})},
        "numTraining": len(names["train"]) + len(names["validation"]),
        "file_ending": _ENDING,
    }
    reviewed = {_name(r): {"reviewed": list(r.labels), "split": r.split, "case": r.case} for r in records}
    _write_json(folder / "dataset.json", dataset)
    _write_json(folder / "splits_final.json", [{"train": names["train"], "val": names["validation"]}])
    _write_json(folder / "reviewed.json", {"note": _NOTE, "paint_order": labels, "cases": reviewed})


def _painted(store: CaseStore, record: Record, values: dict[str, int], ignore: int, volume: Volume) -> np.ndarray:
    """The label map of a case (i, j, k), later classes over earlier ones.

    Where a voxel could be of a class that nobody reviewed it gets ``ignore``: outside all reviewed classes, and in an
    organ whose lesions were not reviewed. (Structures of the person's own are taken not to lie in a reviewed organ.)
    """
    unknown = set(values) - set(record.labels)
    labels = np.full(volume.geometry.shape, ignore if unknown else 0, np.uint16 if ignore > 255 else np.uint8, "F")
    for label, value in values.items():
        if label in record.labels:
            may_be_another = any(label in _hosts(other) for other in unknown)
            labels[store.mask(record, label)] = ignore if may_be_another else value
    return labels


def _labels(records: Sequence[Record]) -> list[str]:
    """The classes that were reviewed in any case: those of the table in its order, lesions last, then own ones."""
    used = {label for record in records for label in record.labels}
    order = list(class_slugs())
    return sorted(used, key=lambda label: (order.index(label) if label in order else len(order), label))


def _hosts(label: str) -> tuple[str, ...]:
    """The organs that a lesion is part of; none for what is no lesion of the table."""
    table = class_table()
    return tuple(
        table[host].slug
        for hosts, lesions in families().items()
        if label in (table[lesion].slug for lesion in lesions)
        for host in hosts
    )


def _name(record: Record) -> str:
    return f"case_{record.case[:16]}"


def _file_name(label: str, number: int) -> str:
    """A label as a file name; a number keeps apart what differs in other signs alone."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in label)
    return plain if plain == label else f"{plain}_{number}"


def _write(path: Path, values: np.ndarray, volume: Volume) -> None:
    from ..export.images import write_nifti

    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, values, volume.geometry)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
