"""What this person has accepted so far, as Slicer's own process sees it: without a database, without a package."""

from __future__ import annotations

from pathlib import Path

from .corrections import Acceptance
from .home import DATABASE_NAME, outbox_folder, store_folder, versions_folder
from .identity import local_salt
from .outbox import Outbox


class KeptCorrections:
    """The outbox of this person. Nothing is made on disk before something is accepted."""

    @property
    def folder(self) -> Path:
        """The outbox."""
        return outbox_folder()

    def put(self, acceptance: Acceptance) -> Path:
        """Keeps an acceptance; its file, which is on disk when this returns.

        Raises:
            OutputError: it could not be written, or no salt could be made; nothing was accepted.
            InputError: the salt of the case store is damaged.
        """
        return self._outbox().put(acceptance)

    def state_of(self, acceptance: Acceptance) -> str:
        """See :meth:`.outbox.Outbox.state_of`. Raises as :meth:`put`."""
        return self._outbox().state_of(acceptance)

    def count_waiting(self) -> int:
        """How many acceptances are not in the case store yet."""
        return len(Outbox(self.folder, b"").pending())

    def has_any(self) -> bool:
        """Whether anything was ever accepted here, or a model version was made."""
        places = (store_folder() / DATABASE_NAME, versions_folder() / "v1", versions_folder() / "current.json")
        return self.count_waiting() > 0 or any(place.exists() for place in places)

    def _outbox(self) -> Outbox:
        return Outbox(self.folder, local_salt(store_folder()))
