"""Patients with their splits, cases, acceptances with their corrections, and rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "patients",
        sa.Column("id", sa.Integer),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("ordinal", sa.Integer),
        sa.Column("split", sa.String(10), nullable=False),
        sa.Column("added", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
        sa.UniqueConstraint("hash", name="uq_patients_hash"),
        sa.UniqueConstraint("ordinal", name="uq_patients_ordinal"),
        sa.CheckConstraint("split IN ('train', 'validation', 'holdout')", name="ck_patients_split"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "patient_aliases",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("patient_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_patient_aliases"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_aliases_patient_id"),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("patient_id", sa.Integer, nullable=False),
        sa.Column("ct", sa.String(64), nullable=False),
        sa.Column("shape", sa.Text, nullable=False),
        sa.Column("spacing", sa.Text, nullable=False),
        sa.Column("added", sa.String(40), nullable=False),
        sa.Column("deleted", sa.String(40)),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.UniqueConstraint("ct", name="uq_cases_ct"),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_cases_patient_id"),
    )
    op.create_index("ix_cases_patient_id", "cases", ["patient_id"])
    op.create_table(
        "acceptances",
        sa.Column("number", sa.Integer),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("case_id", sa.String(64), nullable=False),
        sa.Column("accepted", sa.String(40), nullable=False),
        sa.Column("received", sa.String(40), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("model_sha256", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_acceptances"),
        sa.UniqueConstraint("id", name="uq_acceptances_id"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_acceptances_case_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_acceptances_case_id", "acceptances", ["case_id"])
    op.create_table(
        "corrections",
        sa.Column("acceptance", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("mask", sa.String(64), nullable=False),
        sa.Column("changed", sa.String(64), nullable=False),
        sa.Column("voxels", sa.Integer, nullable=False),
        sa.Column("changed_voxels", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("acceptance", "label", name="pk_corrections"),
        sa.ForeignKeyConstraint(["acceptance"], ["acceptances.number"], name="fk_corrections_acceptance"),
    )
    op.create_table(
        "deleted_acceptances",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("deleted", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_acceptances"),
    )
    op.create_table(
        "rounds",
        sa.Column("number", sa.Integer),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("started", sa.String(40), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_rounds"),
        sa.UniqueConstraint("id", name="uq_rounds_id"),
        sqlite_autoincrement=True,
    )
