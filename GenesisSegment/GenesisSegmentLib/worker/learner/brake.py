"""Stops a process with all its children where it stands, and lets it go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psutil

_MORE_S = 0.02


class Brake:
    """``is_in_the_way`` says whether somebody keeps a lock that others may need, such as that of the case store.

    A process must not stand still with such a lock: each time that the brake is pulled it gets some more milliseconds,
    until it has given it back. The locks are held for moments only.
    """

    def __init__(self, pid: int, is_in_the_way: Callable[[], bool] = lambda: False) -> None:
        self._process = psutil.Process(pid)
        self._is_in_the_way = is_in_the_way
        self._is_on = self._is_firm = False

    def pull(self) -> None:
        """Stops the processes. To be called again and again while they are to stand still."""
        if self._is_firm:
            return
        self._is_on = True
        self._stop()
        self._is_firm = not self._is_in_the_way()
        if not self._is_firm:
            self._go_on()
            time.sleep(_MORE_S)
            self._stop()

    def release(self) -> None:
        """Lets the processes go on."""
        if self._is_on:
            self._is_on = self._is_firm = False
            self._go_on()

    def end(self) -> None:
        """Ends the processes, stopped or not."""
        for process in tuple(self._tree()):
            _each(process.kill)

    def _stop(self) -> None:
        for process in self._tree():  # the parent first: it starts no more children then
            _each(process.suspend)

    def _go_on(self) -> None:
        for process in self._tree():
            _each(process.resume)

    def _tree(self) -> Iterator[psutil.Process]:
        yield self._process
        try:
            yield from self._process.children(recursive=True)
        except psutil.Error:  # it has ended
            return


def _each(action: Callable[[], None]) -> None:
    try:
        action()
    except psutil.Error:  # it has ended
        return
