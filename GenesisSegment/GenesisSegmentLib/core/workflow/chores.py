"""What takes longer than a callback may: it is done in pieces, a few milliseconds of it at each tick."""

from __future__ import annotations

from collections.abc import Callable

from ..pieces import ALONE, Pieces, finished

_BUDGET_S = 0.006
"""No piece is begun later than this. Nearly all take a few milliseconds, and a callback may take 16."""
_END = object()


class Chores:
    """Work by name. What was begun first is done first, unless something is urgent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._works: dict[str, Pieces[None]] = {}
        self._patient: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """What is not done yet."""
        return frozenset(self._works)

    def begin(self, name: str, work: Pieces[None], *, is_urgent: bool = False, is_patient: bool = False) -> None:
        """Puts work at the end of the line, or at its front, in place of older work of the same name.

        Patient work takes so long that it lets all other go first, also what is begun after it.
        """
        self._works.pop(name, None)
        (self._patient.add if is_patient else self._patient.discard)(name)
        self._works = {name: work, **self._works} if is_urgent else {**self._works, name: work}

    def drop(self, name: str) -> None:
        """Forgets work, wherever it is."""
        self._works.pop(name, None)

    def finish(self, name: str) -> None:
        """Does all that is left of some work at once."""
        if work := self._works.pop(name, None):
            finished(work)

    def go_on(self) -> None:
        """Does as many pieces as there is time for.

        Raises:
            GenesisError: what a piece raises; that work is over then.
        """
        end = self._clock() + _BUDGET_S
        while self._works and self._clock() < end:
            name = next((name for name in self._works if name not in self._patient), next(iter(self._works)))
            work = self._works[name]
            found: object = _END
            try:
                found = next(work, _END)
            finally:
                if found is _END:
                    self._remove(name, work)
            if found is ALONE:
                return

    def _remove(self, name: str, work: Pieces[None]) -> None:
        """Unless its last piece began it anew."""
        if self._works.get(name) is work:
            del self._works[name]
