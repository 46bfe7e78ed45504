"""The tables of the case store, as the newest migration leaves them.

Nothing in them names a patient: scans and patients are hashes with the salt of the store. Times are UTC in ISO 8601.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

HASH = String(64)
_SPLITS = "split IN ('train', 'validation', 'holdout')"

patients = Table(
    "patients",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", HASH, nullable=False, unique=True),
    # The place in the sequence of splits; none for a patient who came with a split from another store.
    Column("ordinal", Integer, unique=True),
    Column("split", String(10), CheckConstraint(_SPLITS, "split"), nullable=False),
    Column("added", String(40), nullable=False),
    # The row that counts for this person, where two patients turned out to be one: see patients.py.
    Column("same_as", ForeignKey("patients.id")),
    sqlite_autoincrement=True,
)
"""A row is never deleted, nor its split changed: who was held out stays so, also when all scans are deleted."""

patient_aliases = Table(
    "patient_aliases",
    metadata,
    Column("hash", HASH, primary_key=True),
    Column("patient_id", ForeignKey("patients.id"), nullable=False),
)
"""Further hashes by which a patient is known: those of the scans, and of another PatientID of the same scan."""

cases = Table(
    "cases",
    metadata,
    Column("id", HASH, primary_key=True),
    Column("patient_id", ForeignKey("patients.id"), nullable=False, index=True),
    Column("ct", HASH, nullable=False, unique=True),
    Column("shape", Text, nullable=False),
    Column("spacing", Text, nullable=False),
    Column("added", String(40), nullable=False),
    Column("deleted", String(40)),
)
"""A deleted case leaves its row, so that the scan is known again."""

acceptances = Table(
    "acceptances",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(128), nullable=False, unique=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("accepted", String(40), nullable=False),
    Column("received", String(40), nullable=False),
    # Of all classes, or JSON of those that have one of their own: see entries.py.
    Column("model", Text, nullable=False),
    Column("model_sha256", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("tools", Text, nullable=False),
    Column("version", Text, nullable=False),
    # SHA-256 of what the row and its corrections say, because a database does not notice every damage.
    Column("digest", HASH, nullable=False),
    sqlite_autoincrement=True,
)
"""``number`` grows in the order of arrival and is never used twice."""

corrections = Table(
    "corrections",
    metadata,
    Column("acceptance", ForeignKey("acceptances.number"), primary_key=True),
    Column("label", Text, primary_key=True),
    Column("mask", HASH, nullable=False),
    Column("changed", HASH, nullable=False),
    Column("voxels", Integer, nullable=False),
    Column("changed_voxels", Integer, nullable=False),
)
"""One reviewed class of an acceptance. ``mask`` and ``changed`` name blobs; ``changed`` is "" without a proposal."""

deleted_acceptances = Table(
    "deleted_acceptances",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("deleted", String(40), nullable=False),
)
"""What was deleted does not come back from an outbox that still has it."""

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(128), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("started", String(40), nullable=False),
    Column("document", Text, nullable=False),
    # The number of the last acceptance that had arrived when the round began.
    Column("seen", Integer, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

marks = Table(
    "marks",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about the store itself, such as a hash that shows that folder and database belong together."""
