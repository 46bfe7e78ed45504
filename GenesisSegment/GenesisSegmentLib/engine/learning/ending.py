"""How a round is written down when it begins and ends. Light: the process that watches over rounds uses it too."""

from __future__ import annotations

from typing import Protocol

from ... import __version__
from ...core.corrections import now
from ...core.i18n import _
from ...core.rounds import RoundRecord, RoundState
from .round_folder import DECISION, ENDED, RoundFolder, RoundFolders


class RoundKeeper(Protocol):
    """The case store, as far as the end of a round needs it."""

    def save_round(self, record: RoundRecord) -> None:
        """Keeps a round, or brings what was kept of it up to date."""


def closed(folder: RoundFolder, state: RoundState, reason: str) -> RoundRecord:
    """The record of a round as far as its request tells."""
    begun = folder.begun()
    return RoundRecord(
        id=begun.id,
        state=state,
        reason=reason,
        base=begun.base,
        version="",
        started=begun.started,
        ended="" if state == "running" else now(),
        steps=0,
        cases=begun.fresh,
        settings={**begun.request.settings(), "program": __version__},
    )


def end(store: RoundKeeper, folder: RoundFolder, record: RoundRecord) -> RoundRecord:
    """Ends a round; done again after a kill, it changes nothing.

    Raises:
        OutputError: it could not be written down; the round is gone on with the next time.
    """
    store.save_round(record)
    folder.write(ENDED, {"state": record.state, "reason": record.reason, "version": record.version})
    folder.clear()
    return record


def abandon(store: RoundKeeper, folders: RoundFolders | None = None) -> RoundRecord | None:
    """Ends the interrupted round, if there is one, as cancelled; for a person who does not want it to go on.

    Raises:
        OutputError: it could not be written down.
    """
    folder = (folders or RoundFolders.of_this_person()).unfinished()
    if folder is None:
        return None
    if folder.has(DECISION):  # it was over, only not written down yet
        return None
    return end(store, folder, closed(folder, "cancelled", _("The person stopped it. The model in use stays.")))
