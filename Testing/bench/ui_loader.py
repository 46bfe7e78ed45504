"""`QUiLoader` that knows the stand-ins and is strict: what Slicer would only warn about raises here.

A widget class that nobody knows, a property that the class lacks (unless marked `stdset="0"`, as Qt Designer marks
dynamic properties) and a connection to a signal or slot that does not exist each raise `ValueError`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import QObject

from . import ctk_widgets, qmrml_widgets, segment_widgets
from .standin import StandIn


def stand_ins() -> dict[str, type]:
    """Every widget class that a `.ui` file may name beside Qt's own."""
    return {**ctk_widgets.CLASSES, **qmrml_widgets.CLASSES, **segment_widgets.CLASSES}


def widget_class(name: str) -> type:
    """The class that the bench builds for a class name of a `.ui` file."""
    known = stand_ins().get(name) or getattr(QtWidgets, name, None)
    if known is None:
        raise ValueError(f"the .ui file names the widget class '{name}', for which the bench has no stand-in")
    return known


class UiLoader(QtUiTools.QUiLoader):
    """Builds a `.ui` file with the stand-ins, then makes its connections."""

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        """Called by Qt for each widget of the file."""
        if class_name in stand_ins():
            widget = stand_ins()[class_name](parent)
            widget.setObjectName(name)
            return widget
        return super().createWidget(class_name, parent, name)

    def load(self, file: QtCore.QIODevice, parent: Any = None) -> QtWidgets.QWidget:
        """Load from an open file."""
        root = ElementTree.fromstring(bytes(file.readAll().data()))
        for element in root.iter("widget"):
            _prepare(element)
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        widget = super().load(buffer, parent)
        named = {each.objectName: each for each in (widget, *widget.findChildren(QObject))}
        for element in root.iter("widget"):
            _check_properties(named[element.get("name", "")], element)
        for connection in connections if connections is not None else ():
            _connect(named, connection)
        return widget


def _prepare(element: ElementTree.Element) -> None:
    cls = widget_class(element.get("class", ""))
    for each in element.findall("property"):
        if issubclass(cls, StandIn) and each.get("name", "") in vars(cls):
            _enum_to_number(cls, each)


def _check_properties(widget: QObject, element: ElementTree.Element) -> None:
    for each in element.findall("property"):
        if each.get("stdset") != "0" and widget.metaObject().indexOfProperty(each.get("name", "")) < 0:
            raise ValueError(
                f"the .ui file sets '{each.get('name')}' on a {element.get('class')}, which has no such property"
            )


def _enum_to_number(cls: type, element: ElementTree.Element) -> None:
    """Qt cannot name the enumerations of a Python class: write their values as numbers."""
    for value in element:
        if value.tag in ("enum", "set"):
            total = 0
            for part in (value.text or "").split("|"):
                total |= int(_enum_value(cls, part.strip()))
            value.tag, value.text = "number", str(total)


def _enum_value(cls: type, text: str) -> int:
    *scope, name = text.split("::")
    owners = [cls, *(getattr(module, scope[0], None) for module in (QtCore, QtGui, QtWidgets) if scope)]
    for owner in owners:
        if hasattr(owner, name):
            value = getattr(owner, name)
            return int(getattr(value, "value", value))
    raise ValueError(f"the .ui file uses the value '{text}', which {cls.__name__} does not know")


def _connect(named: dict[str, QObject], element: ElementTree.Element) -> None:
    sender_name, signal, receiver_name, slot = (
        element.findtext(t, "") for t in ("sender", "signal", "receiver", "slot")
    )
    sender, receiver = named.get(sender_name), named.get(receiver_name)
    if sender is None or receiver is None:
        raise ValueError(f"the .ui file connects {sender_name} to {receiver_name}, but one of them does not exist")
    method, arguments = slot.rstrip(")").split("(")
    if not hasattr(receiver, method):
        raise ValueError(f"the .ui file connects to {receiver.className()}.{slot}, which does not exist")
    count = len(arguments.split(",")) if arguments else 0
    function = getattr(receiver, method)
    sender.connect(signal, lambda *args: function(*args[:count]))
