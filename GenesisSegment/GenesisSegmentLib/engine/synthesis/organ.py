"""The organ that lesions are drawn into, from a file of labels or from a plain mask, on the grid of the CT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.classes import FIRST_OWN, class_table
from ...core.errors import InputError
from ...core.geometry import Geometry
from ...core.i18n import _
from ...core.segmentation import Segmentation, bit_of, bits_type
from ..alignment import on_grid_of
from ..export.targets import suffix_of, table_path
from ..images.itk_files import read_metaimage, read_nrrd
from ..images.nifti import read_nifti
from ..labels import Labels, read_labels
from .drawing import rules_of

_READERS = {".nii.gz": read_nifti, ".nii": read_nifti, ".nrrd": read_nrrd, ".mha": read_metaimage}


@dataclass(frozen=True, eq=False)
class Organ:
    """An organ on the grid of a CT: all that the file marks, and the classes that are the organ.

    ``notes`` are sentences for the person.
    """

    name: str
    segmentation: Segmentation
    classes: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def mask(self) -> np.ndarray:
        """bool (i, j, k)."""
        return (self.segmentation.bits & bit_of(*self.classes)) != 0

    @property
    def others(self) -> np.ndarray:
        """Where other structures are, bool (i, j, k)."""
        lesions = [c for c, structure in class_table().items() if structure.is_lesion]
        return (self.segmentation.bits & ~bit_of(*self.classes, *lesions)) != 0


def read_organ(path: Path, organ: str, geometry: Geometry) -> Organ:
    """The organ of a CT on ``geometry``: a segmentation or label map as everywhere, or a mask of that organ alone.

    Raises:
        InputError: the file cannot be read, or the organ is not in it.
        GeometryError: it does not lie on the grid of the CT.
    """
    lesion = class_table()[rules_of(organ).lesion]
    suffix = suffix_of(path)
    if path.is_file() and suffix in _READERS and not table_path(path).is_file():
        labels, classes = _read_mask(path, organ, lesion.hosts)
    else:
        labels = read_labels(path)
        classes = lesion.hosts
    whole = on_grid_of(geometry, labels)
    there = tuple(c for c in classes if c in whole.present())
    if not there:
        known = (whole.structures[c].slug for c in whole.present())
        raise InputError(
            _("{file} does not mark the {organ}.").format(file=path.name, organ=organ),
            _("Give a file that marks it; this one marks: {names}.").format(names=", ".join(known) or _("nothing")),
        )
    notes = labels.notes
    if lesion.index in whole.present():
        text = _("{file} marks a {lesion} already; it stays, beside the synthetic ones.")
        notes = (*notes, text.format(file=path.name, lesion=lesion.name))
    return Organ(organ, whole, there, notes)


def _read_mask(path: Path, organ: str, hosts: tuple[int, ...]) -> tuple[Labels, tuple[int, ...]]:
    """A file with one value beside 0. Which kidney it is is not told by a mask: it is called what it was called."""
    values, geometry = _READERS[suffix_of(path)](path)
    marked = values != 0
    found = np.unique(values[marked])
    if len(found) > 1:
        raise InputError(
            _(
                "{file} holds {count} values and has no {table} beside it, so it cannot be told which is the organ."
            ).format(file=path.name, count=len(found), table=table_path(path).name),
            _('Write one, such as {"labels": {"1": "spleen", "2": "liver"}}, or give a mask of the organ alone.'),
        )
    index, own = (hosts[0], ()) if len(hosts) == 1 else (FIRST_OWN, (organ,))
    bits = np.zeros(geometry.shape, bits_type((index,)), "F")
    bits[marked] = bit_of(index)
    return Labels(Segmentation(bits, geometry, (index,), own)), (index,)
