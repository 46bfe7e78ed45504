"""An acceptance from files: a CT, and labels that somebody has drawn or checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ... import __version__
from ...core.classes import FIRST_OWN, class_slugs, class_table, find_classes
from ...core.corrections import Acceptance, AcceptedClass, new_acceptance_id, now
from ...core.errors import InputError
from ...core.files import safe_name
from ...core.geometry import Geometry
from ...core.i18n import _
from ...core.identity import patient_text
from ...core.segmentation import Segmentation
from ...core.volume import Volume
from ..alignment import on_grid_of
from ..images.reading import read_volume
from ..labels import read_labels, read_named


def acceptance_from_files(
    ct: Path,
    labels: Path,
    classes: Sequence[str] = (),
    proposed: Path | None = None,
    model: str = "",
    patient: str = "",
    series: str | None = None,
) -> tuple[Acceptance, tuple[str, ...]]:
    """What the ``labels`` say of a CT, as if it had been accepted now; and notes for the person.

    ``classes`` are those that count as reviewed: by default all classes of the table that the labels were drawn for,
    marked or not. Names that the table lacks are structures of the person's own; their label map must name them.
    ``proposed`` is what ``model`` had predicted. ``patient`` is by default what the headers of a DICOM series say.

    Raises:
        InputError: a file cannot be used, or a class is not in the labels.
        GeometryError: CT and labels lie on different grids.
    """
    volume = read_volume(ct, series)
    geometry = volume.geometry
    listed, own = _split(classes)
    masks: dict[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    if listed or not own:
        found = read_labels(labels)
        notes = found.notes
        masks |= _table_masks(on_grid_of(geometry, found), listed, labels)
    if own:
        on_grid = on_grid_of(geometry, read_named(labels, own))
        masks |= {name: on_grid.mask(n) for n, name in enumerate(own, 1)}
    before = {} if proposed is None else _proposals(proposed, masks, geometry)
    acceptance = Acceptance(
        id=new_acceptance_id(),
        volume=volume,
        classes=tuple(AcceptedClass(label, mask, before.get(label)) for label, mask in masks.items()),
        patient=patient or _patient(volume),
        model=model,
        accepted=now(),
        version=__version__,
    )
    return acceptance, notes


def _split(names: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The classes of the table among the names, groups included, and the names that it lacks."""
    listed: set[int] = set()
    own = []
    for name in names:
        try:
            listed.update(find_classes([name]))
        except InputError:
            own.append(name.strip())
    return tuple(sorted(listed)), tuple(dict.fromkeys(own))


def _table_masks(found: Segmentation, listed: tuple[int, ...], path: Path) -> dict[str, np.ndarray]:
    table = class_table()
    missing = sorted(set(listed) - set(found.classes))
    if missing:
        raise InputError(
            _("{file} was not drawn for {classes}.").format(
                file=path.name, classes=", ".join(table[c].slug for c in missing)
            ),
            _("It was drawn for: {classes}.").format(
                classes=", ".join(table[c].slug for c in found.classes) or _("none of the classes")
            ),
        )
    if not found.classes:
        raise InputError(
            _("{file} holds none of the classes of the table.").format(file=path.name),
            _("Name structures of your own as its table does, with --classes."),
        )
    return {table[c].slug: found.mask(c) for c in listed or found.classes}


def _proposals(path: Path, masks: dict[str, np.ndarray], geometry: Geometry) -> dict[str, np.ndarray]:
    own = tuple(label for label in masks if label not in class_slugs())
    found = on_grid_of(geometry, read_labels(path, tuple(safe_name(label, "structure") for label in own)))
    labels = class_slugs() | {label: c for c, label in enumerate(own, FIRST_OWN)}
    return {label: found.mask(labels[label]) for label in masks if labels[label] in found.classes}


def _patient(volume: Volume) -> str:
    """What tells the patient of a DICOM series apart, or ""."""
    if not volume.source.is_dicom or not volume.source.files:
        return ""
    import pydicom

    tags = ["PatientID", "StudyInstanceUID"]
    dataset = pydicom.dcmread(volume.source.files[0], stop_before_pixels=True, specific_tags=tags)
    return patient_text(*(str(dataset.get(tag) or "") for tag in tags))
