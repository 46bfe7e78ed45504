"""Patients may turn out to be one person; a round knows what it saw; folder and database know each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Adds two columns and a table. Rounds of before are taken to have seen what had arrived when they started."""
    # Not by add_column: with a reference it would make the table anew in SQLite, to which other tables refer.
    op.execute("ALTER TABLE patients ADD COLUMN same_as INTEGER REFERENCES patients (id)")
    op.add_column("rounds", sa.Column("seen", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE rounds SET seen = COALESCE("
        "(SELECT MAX(number) FROM acceptances WHERE acceptances.received <= rounds.started), 0)"
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )
