"""A copy of a CT for the worker, some planes at a time."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError
from ..core.i18n import _
from ..core.pieces import Pieces
from ..core.volume import Source, Volume
from ..core.workflow.ports import Snapshot
from .arrays import voxels
from .volumes import Fingerprints, check_node, frame_note, placement, series_uid

LOWEST, HIGHEST = -32768, 32767
_PLANE_VOXELS = 1 << 18
"""Voxels that are copied at a time, at least one plane: a millisecond or two."""


def copying(node: Any, fingerprints: Fingerprints) -> Pieces[Snapshot]:
    """The CT as int16 Hounsfield units, for the worker, which looks closer at the values, and its fingerprint.

    Raises:
        InputError, GeometryError: as :func:`.volumes.check_node`; also voxels that are not numbers.
    """
    check_node(node)
    values = voxels(node.GetImageData())
    copy = np.empty(values.shape, np.int16, order="F")
    lowest, highest, crc = np.inf, -np.inf, 0
    step = max(1, _PLANE_VOXELS // max(1, values[..., 0].size))
    for k in range(0, values.shape[2], step):
        planes = values[:, :, k : k + step]
        crc = zlib.crc32(planes.T.data, crc)
        if values.dtype == np.int16:
            copy[:, :, k : k + step] = planes
        else:
            low, high = float(planes.min()), float(planes.max())
            if not np.isfinite([low, high]).all():
                raise InputError(
                    _("{name} holds voxels that are not numbers (NaN or infinite).").format(name=node.GetName()),
                    _("Replace them, for example by -1024 outside the field of view, and try again."),
                )
            lowest, highest = min(lowest, low), max(highest, high)
            copy[:, :, k : k + step] = np.clip(np.rint(planes), LOWEST, HIGHEST)
        yield
    fingerprints.remember(node, crc)
    notes = [frame_note(node)]
    if lowest < LOWEST or (highest > HIGHEST and np.isfinite(highest)):
        notes.append(_("Values outside {low} to {high} HU were clipped.").format(low=LOWEST, high=HIGHEST))
    source = Source(
        path=Path(_file_of(node)),
        name=node.GetName(),
        series_uid=series_uid(node),
        notes=tuple(note for note in notes if note),
    )
    return Snapshot(node.GetID(), Volume(copy, placement(node).geometry, source), fingerprints.of(node))


def _file_of(node: Any) -> str:
    storage = node.GetStorageNode()
    return (storage.GetFileName() or "") if storage is not None else ""
