"""What the stand-ins of C++ widgets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Property


class StandIn:
    """Marks a Python class that stands in for a C++ class: outside code may set only its Qt properties."""


def stored(kind: Any, default: Any, name: str, changed: Callable | None = None) -> dict[str, Any]:
    """A Qt property that keeps what it is given, and its setter: `{name: Property, setName: method}` for a class body.

    `changed(self, value)` runs after a change. The class body is the place, since Qt's meta object is made from it.
    """
    key = "_" + name

    def read(self):
        return self.__dict__.get(key, list(default) if isinstance(default, list) else default)

    def write(self, value):
        if isinstance(default, bool):
            value = bool(value)
        elif isinstance(default, list):
            value = list(value)
        elif isinstance(default, (str, int)) and not isinstance(value, type(default)) and not hasattr(value, "value"):
            raise AttributeError(f"property '{name}' of {type(self).__name__} does not take {value!r}")
        if value != read(self):
            self.__dict__[key] = value
            if changed is not None:
                changed(self, value)

    return {name: Property(kind, read, write), "set" + name[0].upper() + name[1:]: write}
