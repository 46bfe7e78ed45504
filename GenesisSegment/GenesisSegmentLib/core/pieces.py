"""Work in pieces, for the thread that draws: a generator that does a few milliseconds of it at each step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
ALONE = object()
"""What a piece yields where the next one takes long and cannot be cut: nothing else is to be done beside that one."""
Pieces = Generator[Any, None, T]
"""Yields after each piece: nothing, or :data:`ALONE`; returns the result."""


def finished(work: Pieces[T]) -> T:
    """Does all that is left at once; the result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def steady(version: Callable[[], Hashable], begin: Callable[[], Pieces[T]]) -> Pieces[tuple[Hashable, T]]:
    """Work on something that others may change between pieces: it begins anew as often as that happens.

    Args:
        version: another value after each change. Asked before every piece, so that none works on what is gone.
        begin: starts the work.

    Returns:
        The version that the result belongs to, and the result.
    """
    while True:
        before, work = version(), begin()
        while version() == before:
            try:
                following = next(work)
            except StopIteration as end:
                return before, end.value
            yield following
