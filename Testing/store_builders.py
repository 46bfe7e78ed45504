"""Acceptances of many patients for the tests of the case store, each a few voxels large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acceptance_builders import MODEL, oblique, volume
from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.identity import hashed
from GenesisSegmentLib.core.outbox import StoredAcceptance
from GenesisSegmentLib.core.rounds import ClassVerdict, PairedScore, RoundRecord
from GenesisSegmentLib.core.volume import Source, Volume

SALT = bytes(range(32))
SHAPE = (5, 4, 3)


def stored(
    number: int,
    scan: int = 0,
    *,
    patient: str | None = None,
    id: str = "",
    labels: tuple[str, ...] = ("liver",),
    seed: int | None = None,
    **changes: Any,
) -> StoredAcceptance:
    """The acceptance of one scan of patient ``number``; ``seed`` decides the masks, and by default their id.

    ``patient`` is the PatientID, "" for a scan without one.
    """
    ct = volume(oblique(SHAPE), series_uid=f"1.2.{number}.{scan}", seed=1000 * number + scan)
    seed = number if seed is None else seed
    random = np.random.default_rng(seed)
    classes = tuple(AcceptedClass(label, random.random(SHAPE) < 0.4, random.random(SHAPE) < 0.4) for label in labels)
    values: dict[str, Any] = {"model": MODEL, "accepted": "2026-11-21T12:00:00+00:00", **changes}
    whole = Acceptance(id or f"{number}-{scan}-{seed}", ct, classes, **values)
    case = hashed(SALT, f"series:1.2.{number}.{scan}")
    name = f"patient {number}" if patient is None else patient
    return StoredAcceptance(whole, case, hashed(SALT, f"patient:{name}") if name else case)


def as_nifti(acceptance: Acceptance) -> Acceptance:
    """The same scan accepted again from a file that names nobody and keeps its grid as float32."""
    geometry = acceptance.volume.geometry
    rounded = Geometry(geometry.shape, geometry.ijk_to_ras.astype(np.float32).astype(np.float64))
    volume = Volume(acceptance.volume.voxels, rounded, Source(Path("ct.nii.gz"), "ct"))
    return replace(acceptance, id=f"{acceptance.id} again", volume=volume, patient="")


def a_round(name: str = "r1", **changes: Any) -> RoundRecord:
    """A round that is running, with some of its fields changed."""
    scores = (PairedScore("liver", "c", "p", "holdout", 0.8, 0.9, None, 0.7),)
    verdicts = (ClassVerdict("liver", True, 5, 0, 0.8, 0.9, 0.03, "better"),)
    started = "2026-11-21T12:00:00+00:00"
    base = RoundRecord(name, "running", "", "starter", "", started, "", 0, ("c",), scores, verdicts)
    return replace(base, **changes)


def same_masks(store, record, given: Acceptance) -> bool:
    """Whether the store gives back exactly the masks of an acceptance, and what they changed."""
    return all(
        np.array_equal(store.mask(record, c.label), c.mask)
        and np.array_equal(store.changed(record, c.label), c.mask if c.proposed is None else c.mask ^ c.proposed)
        for c in given.classes
    )


def all_bytes(folder: Path) -> bytes:
    """Everything that lies in a folder and below: names and contents."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return b"\0".join(str(p.relative_to(folder)).encode() + b"\0" + p.read_bytes() for p in files)
