"""The one place through which text for people goes, so that Slicer can translate it."""

from __future__ import annotations

from collections.abc import Callable


def _same(text: str) -> str:
    return text


_translator: Callable[[str], str] = _same


def set_translator(translator: Callable[[str], str]) -> None:
    """Has every text translated by ``translator`` from now on; the user interface sets Slicer's."""
    global _translator
    _translator = translator


def _(text: str) -> str:
    """``text`` in the language of the person; a literal in the code, so that tools can collect it."""
    return _translator(text)
