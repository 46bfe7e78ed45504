"""The one place through which text for people goes, so that Slicer can translate it.

A process that does not speak to the person itself (the worker) carries its texts instead: each still knows the literal
it was made of, goes so over the pipe, and is said in the person's language on the other side (:func:`retold`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Translator = Callable[[str, str], str]
"""The translation of a text, which comes second; first comes where it stands, as Slicer's tools name it."""


class Worded(str):
    """Text that still knows the literal it was made of, where this stands, and what was put into it."""

    context: str
    template: str
    values: dict[str, Any]

    def __new__(cls, text: str, context: str = "", template: str = "", values: dict[str, Any] | None = None) -> Worded:
        """``text`` is the whole in English; ``values`` are plain or texts themselves, or lists of texts."""
        made = super().__new__(cls, text)
        made.context, made.template, made.values = context, template or text, values or {}
        return made

    def format(self, *_positional: Any, **values: Any) -> Worded:
        """As ``str.format`` with names alone."""
        values = {name: _plain(value) for name, value in values.items()}
        return Worded(_filled(self.template, values), self.context, self.template, values)


def together(*texts: str, between: str = " ") -> str:
    """Texts one after another, each of which may be carried; empty ones are left out."""
    parts = {f"text{n}": text for n, text in enumerate(texts) if text}
    whole = between.join(parts.values())
    is_carried = any(isinstance(text, Worded) for text in parts.values())
    return Worded(whole, "", between.join(f"{{{name}}}" for name in parts), parts) if is_carried else whole


def listed(texts: Iterable[str]) -> str:
    """Texts, one at least, as a person lists them: "a, b and c"."""
    *first, last = texts
    return _("{first} and {last}").format(first=together(*first, between=", "), last=last) if first else last


def _same(_context: str, text: str) -> str:
    return text


_translator: Translator = _same


def set_translator(translator: Translator = _same) -> None:
    """Has every text translated by ``translator`` from now on; the user interface sets Slicer's."""
    global _translator
    _translator = translator


def carry_texts() -> None:
    """Has every text carry its literal along from now on."""
    set_translator(lambda context, text: Worded(text, context))


def _(text: str) -> str:
    """``text`` in the language of the person; a literal in the code, so that tools can collect it."""
    return _translator(context_of(sys._getframe(1).f_code.co_filename), text)


@cache
def context_of(file: str) -> str:
    """How Slicer's tools name the texts of a file of a package: ``folder.file``."""
    path = Path(file)
    return f"{path.parent.name}.{path.stem}"


def retold(message: T) -> T:
    """The same with every text that was carried, however deep, in the language of the person.

    To be called on the thread that may call the translator.
    """
    if isinstance(message, Worded):
        return _told(message)  # type: ignore[return-value]
    if isinstance(message, tuple):
        return tuple(retold(item) for item in message)  # type: ignore[return-value]
    if dataclasses.is_dataclass(message) and not isinstance(message, type):
        old = {field.name: getattr(message, field.name) for field in dataclasses.fields(message) if field.init}
        new = {name: retold(value) for name, value in old.items()}
        changed = {name: value for name, value in new.items() if value is not old[name]}
        return dataclasses.replace(message, **changed)  # type: ignore[type-var]
    return message


def _told(text: Worded) -> str:
    """Where the translation does not fit what is to be put into it, the English text."""
    values = {
        name: [retold(v) for v in value] if isinstance(value, list) else retold(value)
        for name, value in text.values.items()
    }
    try:
        return _filled(_translator(text.context, text.template), values)
    except (LookupError, ValueError, TypeError, AttributeError):
        return str(text)


def _plain(value: Any) -> Any:
    """What a message can hold: anything but numbers and texts, such as a path, is said in words."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float)) else str(value)


def _filled(template: str, values: dict[str, Any]) -> str:
    if not values:
        return str(template)
    joined = {name: ", ".join(value) if isinstance(value, (list, tuple)) else value for name, value in values.items()}
    return str.format(template, **joined)
