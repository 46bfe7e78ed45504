"""Acceptances for tests: small CTs on an oblique grid with some classes corrected."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.volume import Source, Volume

SALT = bytes(range(32))
SERIES = "1.2.826.0.1.3680043.8.498.123456789"
PATIENT = "DOE-4711"
MODEL = "starter"


def oblique(shape: tuple[int, int, int] = (7, 6, 5)) -> Geometry:
    """A grid turned about two axes, left-handed, with three different spacings."""
    a, b = np.deg2rad([17.0, -8.0])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x @ np.diag([-0.8, -0.9, 2.5])
    matrix[:3, 3] = [101.25, -33.5, -1200.125]
    return Geometry(shape, matrix)


def volume(
    geometry: Geometry | None = None,
    series_uid: str = SERIES,
    seed: int = 1,
    name: str = "CT",
    description: str = "",
    path: Path = Path(),
) -> Volume:
    """A CT of random Hounsfield units, i fastest."""
    geometry = geometry or oblique()
    values = np.random.default_rng(seed).integers(-1024, 3072, geometry.shape).astype(np.int16)
    source = Source(path, name, (path,), series_uid, description, ("a note",))
    return Volume(np.asfortranarray(values), geometry, source)


def acceptance(ct: Volume | None = None, **changes: Any) -> Acceptance:
    """Two corrected classes, one structure of the person's own, and one class that is not there."""
    ct = ct or volume()
    values: dict[str, Any] = {
        "id": "a",
        "classes": _classes(ct.geometry.shape),
        "patient": PATIENT,
        "model": MODEL,
        "model_sha256": "5" * 64,
        "seconds": 93.5,
        "tools": ("Paint", "Erase"),
        "accepted": "2026-11-21T12:00:00.000+00:00",
        "version": "0.1.0",
    }
    return Acceptance(volume=ct, **{**values, **changes})


def of_two_models(ct: Volume | None = None, **changes: Any) -> Acceptance:
    """The liver as the starter proposed it, the spleen as v3 did, and a structure that nobody proposed."""
    ct = ct or volume()
    liver, spleen, own, _gone = _classes(ct.geometry.shape)
    classes = (
        AcceptedClass("liver", liver.boxed, liver.boxed_proposed, MODEL, "5" * 64),
        AcceptedClass("spleen", spleen.boxed, spleen.boxed_proposed, "v3", "3" * 64),
        own,
    )
    return acceptance(ct, classes=classes, **changes)


def _classes(shape: tuple[int, int, int]) -> tuple[AcceptedClass, ...]:
    liver, spleen = np.zeros(shape, bool), np.zeros(shape, bool)
    liver[1:5, 2:5, 1:4], spleen[2:4, 1:3, 3:5] = True, True
    proposed = liver.copy()
    proposed[1] = False
    proposed[-1, -1, -1] = True
    return (
        AcceptedClass("liver", liver, proposed),
        AcceptedClass("spleen", spleen, spleen),
        AcceptedClass("soft tissue sarcoma", spleen & liver),
        AcceptedClass("gall_bladder", np.zeros(shape, bool), spleen),
    )


@contextmanager
def rewriting(path: Path, sealed: str | None = None) -> Iterator[dict[str, bytes]]:
    """The members of an archive, to be changed; it then states the checksum of the member ``sealed`` anew."""
    with zipfile.ZipFile(path) as archive:
        comment, members = archive.comment, {name: archive.read(name) for name in archive.namelist()}
    yield members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = hashlib.sha256(members[sealed]).hexdigest().encode() if sealed else comment
