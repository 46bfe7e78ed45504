"""Brings the tables of a store up to date, in one transaction: an interrupted upgrade has changed nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import InputError
from ...core.i18n import _

if TYPE_CHECKING:
    from sqlalchemy import Connection

STEPS = Path(__file__).with_name("migrations")
_alone = threading.Lock()
"""Alembic keeps the connection of the running upgrade in a global variable."""


def is_current(connection: Connection) -> bool:
    """Whether the tables are those of this version.

    Raises:
        InputError: they are of a newer version of GenesisSegment.
    """
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(str(STEPS))
    found = set(MigrationContext.configure(connection).get_current_heads())
    known = {step.revision for step in steps.walk_revisions()}
    if not found <= known:
        raise InputError(
            _(
                "The case store was written by a newer version of GenesisSegment (its tables are at step "
                "{found}; this version knows {known})."
            ).format(found=", ".join(sorted(found - known)), known=", ".join(sorted(known))),
            _("Update GenesisSegment on this machine. Nothing was changed."),
        )
    return found == set(steps.get_heads())


def upgrade(connection: Connection, target: str = "head") -> None:
    """Runs the steps that are missing, inside the transaction of ``connection``."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(str(STEPS))

    def missing(revision: object, context: object) -> list:
        return steps._upgrade_revs(target, revision)  # type: ignore[arg-type]  # as alembic's own command does

    with _alone, EnvironmentContext(Config(), steps, fn=missing, destination_rev=target) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()
