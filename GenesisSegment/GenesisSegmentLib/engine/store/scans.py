"""Makes scans known by their voxels, as a new one is: an older version did not write that down."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select

from ...core.errors import InputError
from ...core.jobs import Job
from .blobs import BlobStore
from .database import reading, writing
from .entries import instant
from .patients import patient_of
from .schema import cases, marks
from .voxels import read_volume, scan_keys

_MARK = "scans known by their voxels"


def make_scans_known(engine: Engine, blobs: BlobStore, salt: bytes, job: Job) -> None:
    """Remembers for every case that is kept the hashes of its voxels: see :func:`.voxels.scan_keys`.

    It reads all CTs, once in the life of a store; interrupted, it begins anew and changes nothing twice. A CT that is
    missing or damaged is passed over: :func:`.checking.verify` tells of it, and accepting it again makes it known.

    Raises:
        Cancelled: the job was cancelled.
        OutputError: the database cannot be written.
    """
    with reading(engine) as connection:
        if connection.scalar(select(marks.c.value).where(marks.c.name == _MARK)) is not None:
            return
        kept = connection.execute(select(cases.c.ct, cases.c.patient_id).where(cases.c.deleted.is_(None))).all()
    for ct, patient in kept:
        job.check()
        try:
            keys = scan_keys(read_volume(blobs.read(ct), ""), salt)
        except InputError:
            continue
        with writing(engine) as connection:
            patient_of(connection, keys, [patient], instant())
    with writing(engine) as connection:
        if connection.scalar(select(marks.c.value).where(marks.c.name == _MARK)) is None:
            connection.execute(insert(marks).values(name=_MARK, value=instant()))
