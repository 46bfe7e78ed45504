"""PySide6 in the look of PythonQt, so that code written for Slicer's Python runs without Slicer.

What PythonQt does and PySide6 does not: a Qt property is a plain attribute (`button.text`, `button.enabled = False`,
`tree.topLevelItemCount`), `name` is the object name, `obj.connect("clicked(bool)", function)` connects by signature,
string lists come back as tuples, and file dialogs return a string. An attribute that the C++ class lacks raises, on
reading and on writing; so does a signal that it lacks.

Modelled by reading PythonQt's source (`PythonQtInstanceWrapper.cpp`, `PythonQtClassInfo.cpp`,
`PythonQtSignalReceiver.cpp` of commontk/PythonQt), never compared with a running PythonQt. It is stricter in that
connecting to an unknown signal raises, and that an exception in a slot is kept in `slot_errors`.

Only `QObject` gets the new `__getattribute__`: set on each class it crashes inside `QFile`. Every class gets
the new `__setattr__`, since the PySide6 types carry their own.
"""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import QMetaMethod, QMetaObject, QObject

from . import dialogs, table
from .standin import StandIn

QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)

_get = QObject.__getattribute__
# Once each class has the new slot, Python accepts no setter but the one of their common base.
_set = QObject.__base__.__setattr__
_VTK_POINTER = re.compile(r"\b(?:vtk\w+|qSlicer\w+)\s*\*")
# Built-in conveniences that PythonQt gives every wrapped object.
_PYTHONQT_METHODS = ("connect", "disconnect", "className", "delete", "findChild", "findChildren")


def is_native(cls: type) -> bool:
    """Whether a class stands for a C++ class (a PySide6 class or a stand-in), not for one that a module derives."""
    return cls.__module__.startswith("PySide6.") or StandIn in cls.__bases__ or cls is StandIn


def _python_attribute(cls: type, name: str) -> bool:
    """Whether a Python class in the hierarchy defines the name itself."""
    return any(
        name in base.__dict__ for base in cls.__mro__ if not base.__module__.startswith(("PySide6.", "Shiboken"))
    )


# What each PySide6 class itself declares, read once before any object exists: later, PySide6 may hand out a meta object
# that is gone. Properties by name, with their type and whether they can be written; signatures of the signals.
_own_properties: dict[type, dict[str, tuple[str, bool]]] = {}
_own_signals: dict[type, set[str]] = {}


def _read_meta_object(cls: type) -> None:
    meta = cls.staticMetaObject
    found = (meta.property(i) for i in range(meta.propertyOffset(), meta.propertyCount()))
    _own_properties[cls] = {each.name(): (each.typeName(), each.isWritable()) for each in found}
    methods = (meta.method(i) for i in range(meta.methodOffset(), meta.methodCount()))
    _own_signals[cls] = {
        each.methodSignature().data().decode() for each in methods if each.methodType() == QMetaMethod.MethodType.Signal
    }


def native_properties(cls: type) -> dict[str, tuple[str, bool]]:
    """The Qt properties of a class and its bases, apart from those that stand-ins declare."""
    found: dict[str, tuple[str, bool]] = {}
    for base in reversed(cls.__mro__):
        found.update(_own_properties.get(base, {}))
    return found


def native_property(cls: type, name: str) -> tuple[str, bool] | None:
    """Type of a Qt property and whether it can be written; None where there is none of that name."""
    return next((own[name] for base in cls.__mro__ if name in (own := _own_properties.get(base, {}))), None)


def has_native_signal(cls: type, signature: str) -> bool:
    """Whether a class of Qt, or one that is derived from it, has a signal with exactly this signature."""
    return any(signature in _own_signals.get(base, ()) for base in cls.__mro__)


def from_qt(value: Any) -> Any:
    """What PythonQt hands to Python for a value that PySide6 gives: string lists are tuples there."""
    return tuple(value) if isinstance(value, list) else value


def _getattribute(self: QObject, name: str) -> Any:
    if name.startswith("__"):
        return _get(self, name)
    cls = type(self)
    if name in _PYTHONQT_METHODS:
        if name in ("connect", "disconnect") and not isinstance(self, QObject):
            return _get(self, name)
        return types.MethodType(globals()["_" + name], self)
    if name in ("exec_", "exec") and isinstance(self, (QtWidgets.QDialog, QtWidgets.QMenu)):
        return types.MethodType(dialogs.run_modal, self)
    if _python_attribute(cls, name):
        value = _get(self, name)
        return from_qt(value) if issubclass(cls, StandIn) else value
    if not name.startswith("_") and name not in _get(self, "__dict__"):
        property_name = "objectName" if name == "name" else name
        if native_property(cls, property_name) is not None and (id(self), name) not in _reading:
            return _read_property(self, property_name)
        if name.encode() in _dynamic_names(self):
            return from_qt(_get(self, "property")(name))
    return _get(self, name)


# Properties that are being read. Qt reads `sizeHint` through a virtual method, for which PySide6 first looks for an
# override in Python, under the same name: that inner look must find the method.
_reading: set[tuple[int, str]] = set()


def _read_property(obj: QObject, name: str) -> Any:
    key = (id(obj), name)
    _reading.add(key)
    try:
        return from_qt(_get(obj, "property")(name))
    finally:
        _reading.discard(key)


def _dynamic_names(obj: QObject) -> list[bytes]:
    try:
        return [bytes(each.data()) for each in _get(obj, "dynamicPropertyNames")()]
    except RuntimeError:
        return []


def _setattr(self: QObject, name: str, value: Any) -> None:
    # PySide6 keeps the signal instances that it makes as attributes of the object.
    if name.startswith("__") or isinstance(value, QtCore.SignalInstance):
        _set(self, name, value)
        return
    property_name = "objectName" if name == "name" else name
    cls = type(self)
    if isinstance(_python_value(cls, name), QtCore.Property) and issubclass(cls, StandIn):
        _set_declared(self, name, value)
    elif not _python_attribute(cls, name) and native_property(cls, property_name) is not None:
        _set_native(self, property_name, value)
    elif name.encode() in _dynamic_names(self):
        _get(self, "setProperty")(name, value)
    elif not is_native(cls) and _native_method(cls, name):
        raise AttributeError(f"'{name}' is a method of {cls.__base__.__name__} and cannot be overwritten")
    elif not is_native(cls) or (isinstance(self, StandIn) and name.startswith("_")):
        _set(self, name, value)
    else:
        raise AttributeError(f"{cls.__name__} has no property '{name}', and a Qt object takes no new attributes")


def _native_method(cls: type, name: str) -> bool:
    return any(is_native(base) and callable(base.__dict__.get(name)) for base in cls.__mro__)


def _python_value(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _set_declared(obj: QObject, name: str, value: Any) -> None:
    """Set a property that a stand-in declares."""
    setter = _python_value(type(obj), name).fset
    if setter is None:
        raise AttributeError(f"property '{name}' of {type(obj).__name__} is not writable")
    setter(obj, value)


def _set_native(obj: QObject, name: str, value: Any) -> None:
    """Set a property that Qt declares."""
    type_name, is_writable = native_property(type(obj), name)
    if not is_writable:
        raise AttributeError(f"property '{name}' of {type(obj).__name__} is not writable")
    if type_name == "bool":
        value = bool(value)
    elif isinstance(value, tuple):
        value = list(value)
    if not obj.setProperty(name, value):
        raise AttributeError(f"property '{name}' of {type(obj).__name__} does not take {value!r}")


# --- signals -----------------------------------------------------------------------------------------------------


def canonical_signature(signature: str) -> str:
    """A signature as Qt compares it; pointers to VTK objects travel as Python objects on the bench."""
    text = _VTK_POINTER.sub("PyObject", signature)
    return QMetaObject.normalizedSignature(text).data().decode() if "(" in text else text


def _signal_signature(obj: QObject, signature: str) -> str:
    """The signature under which Qt knows a signal; raises where the class has none like it.

    The signals of a stand-in are those that the table of names has, as far as the stand-in emits them.
    """
    cls, wanted = type(obj), canonical_signature(signature)
    if has_native_signal(cls, wanted):
        return wanted
    is_declared = isinstance(_python_value(cls, signature.split("(")[0]), QtCore.Signal)
    normal = QMetaObject.normalizedSignature(signature).data().decode()
    if is_declared and any(normal in table.signals(base.__name__) for base in cls.__mro__):
        return wanted
    raise AttributeError(f"{cls.__name__} has no signal '{signature}'")


slot_errors: list[Exception] = []
"""Exceptions that slots raised. Qt prints and forgets them; a test should not."""


def _accepted_count(function: Callable) -> int | None:
    """How many arguments PythonQt passes on; None for all.

    It cuts the list for functions and methods written in Python alone: a `functools.partial`, a class or a method of a
    Qt object gets every argument that the signal has.
    """
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or not isinstance(function, (types.FunctionType, types.MethodType)) or code.co_flags & 4:
        return None  # 4: the function takes *args.
    return code.co_argcount - isinstance(function, types.MethodType)


def _relay(function: Callable) -> Callable:
    count = _accepted_count(function)

    def relay(*args: Any) -> None:
        try:
            function(*(from_qt(each) for each in args[:count]))
        except Exception as error:
            slot_errors.append(error)
            raise

    return relay


def _connect(self: QObject, *args: Any) -> Any:
    if not (len(args) >= 2 and isinstance(args[0], str) and "(" in args[0]):
        return _get(self, "connect")(*args)
    if args[0][0] in "12" or isinstance(args[1], QObject):
        receiver, slot = args[1], args[2] if len(args) > 2 else None
        return self.connect(args[0].lstrip("12"), getattr(receiver, str(slot).lstrip("12").split("(")[0]))
    signature, function = args[0], args[1]
    if not callable(function):
        raise TypeError(f"connect('{signature}') needs a callable, got {function!r}")
    relay = _relay(function)
    declared = _signal_signature(self, signature)
    done = QObject.connect(self, QtCore.SIGNAL(declared), relay)
    _connections(self).append((declared, function, relay))
    return bool(done)


def _disconnect(self: QObject, *args: Any) -> Any:
    if args and not (isinstance(args[0], str) and "(" in args[0]):
        return _get(self, "disconnect")(*args)
    wanted = canonical_signature(args[0]) if args else None
    function = args[1] if len(args) > 1 else None
    kept, found = [], False
    for declared, known, relay in _connections(self):
        if (wanted is None or declared == wanted) and (function is None or known == function):
            found = bool(QObject.disconnect(self, QtCore.SIGNAL(declared), relay)) or found
        else:
            kept.append((declared, known, relay))
    _connections(self)[:] = kept
    return found


def _connections(obj: QObject) -> list:
    return _get(obj, "__dict__").setdefault("_bench_connections", [])


# --- other conveniences of a PythonQt object -------------------------------------------------------------------------


def _className(self: QObject) -> str:
    return self.metaObject().className()


def _delete(self: QObject) -> None:
    shiboken6.delete(self)


def _matches(obj: QObject, kind: Any) -> bool:
    return obj.inherits(kind) if isinstance(kind, str) else isinstance(obj, kind)


def _findChildren(self: QObject, kind: Any = QObject, name: str = "") -> tuple:
    found = []
    for child in self.children():
        if _matches(child, kind) and (not name or child.objectName == name):
            found.append(child)
        found.extend(child.findChildren(kind, name))
    return tuple(found)


def _findChild(self: QObject, kind: Any = QObject, name: str = "") -> QObject | None:
    found = self.findChildren(kind, name)
    return found[0] if found else None


# --- the modules ---------------------------------------------------------------------------------------------------


def _members(module: types.ModuleType) -> list[tuple[str, Any]]:
    """Names and values of a PySide6 module, whose classes come into being when they are first asked for."""
    return [(name, getattr(module, name)) for name in dir(module)]


def _patch_classes() -> None:
    classes = {value for module in QT_MODULES for _, value in _members(module) if isinstance(value, type)}
    objects = {cls for cls in classes if issubclass(cls, QObject)}
    for cls in objects:
        _read_meta_object(cls)
    QObject.__getattribute__ = _getattribute
    for cls in objects:
        cls.__setattr__ = _setattr


def _qt_module() -> types.ModuleType:
    qt = types.ModuleType("qt", "Stand-in for PythonQt's merged Qt module.")
    for module in QT_MODULES:
        for name, value in _members(module):
            if name.startswith("Q") and not name.startswith(("QT_", "Qtc")):
                setattr(qt, name, value)
    for name, value in dialogs.replacements().items():
        setattr(qt, name, value)
    return qt


def install() -> types.ModuleType:
    """Patch PySide6 and put `qt`, `ctk` and `PythonQt` into `sys.modules`, once in a process; returns `qt`."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    _patch_classes()
    qt = sys.modules["qt"] = _qt_module()
    from . import ctk_widgets, ui_loader

    qt.QUiLoader = ui_loader.UiLoader
    sys.modules["ctk"] = ctk_widgets.module()
    python_qt = types.ModuleType("PythonQt", "Stand-in for the package of all PythonQt modules.")
    python_qt.QtCore, python_qt.QtGui, python_qt.QtUiTools = qt, qt, qt
    sys.modules["PythonQt"] = python_qt
    return qt
