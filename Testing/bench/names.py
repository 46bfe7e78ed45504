"""Checks every name of Slicer, CTK, qMRML and Qt that the module's sources use, without running them.

What a class or module offers comes from `slicer_names.json` (Slicer, CTK, qMRML; each entry says where it was seen),
from PySide6's introspection (Qt) and from Slicer's own libraries (VTK, MRML).
"""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .table import TABLE, lineage, signals

_PYTHONQT = set(TABLE["pythonqt"]["names"])
_TOO_NEW = set(TABLE["qt_after_5_15"]["names"])


# --- what there is -------------------------------------------------------------------------------------------------


@cache
def qt_module() -> Any:
    """The stand-in of PythonQt's `qt`."""
    from . import qt_adaptor

    return qt_adaptor.install()


def is_known_class(name: str) -> bool:
    """Whether the table or Qt has the class."""
    return name in TABLE["classes"] or (name.startswith("Q") and isinstance(getattr(qt_module(), name, None), type))


@cache
def properties(cls: str) -> frozenset[str]:
    """Qt properties of a class and its bases."""
    from .qt_adaptor import native_properties

    *known, qt_class = lineage(cls)
    listed = {each for name in known for each in TABLE["classes"][name]["properties"]}
    return frozenset(listed | set(native_properties(_qt_class(qt_class))))


@cache
def methods(cls: str) -> frozenset[str]:
    """Methods, signals and enumeration values of a class and its bases, by name."""
    *known, qt_class = lineage(cls)
    entries = [TABLE["classes"][name] for name in known]
    listed = {each for entry in entries for each in (*entry["methods"], *entry.get("enums", ()))}
    listed |= {each.split("(")[0] for each in signals(cls)}
    return frozenset(listed if qt_class == "object" else listed | set(dir(_qt_class(qt_class))) | _PYTHONQT)


def offers(cls: str, name: str) -> bool:
    """Whether an object of a class has an attribute of that name."""
    # PySide6 finds the values of enumerations (`Qt.Checked`) without listing them.
    return name in properties(cls) or name in methods(cls) or hasattr(_qt_class(lineage(cls)[-1]), name)


def has_signal(cls: str, signature: str) -> bool:
    """Whether a class or one of its bases has a signal with exactly these arguments."""
    from .qt_adaptor import has_native_signal

    normal = _normal(signature)
    return normal in signals(cls) or has_native_signal(_qt_class(lineage(cls)[-1]), normal)


def is_any_signal(signature: str) -> bool:
    """Whether any class that we know has the signal."""
    return any(has_signal(cls, signature) for cls in (*TABLE["classes"], *_qt_object_classes()))


def _normal(signature: str) -> str:
    from PySide6.QtCore import QMetaObject

    return QMetaObject.normalizedSignature(signature).data().decode()


def _qt_class(name: str) -> type:
    return object if name == "object" else _bare(getattr(qt_module(), name))


def _bare(cls: type) -> type:
    """PySide6's own class behind a stand-in such as the file dialog."""
    return next(base for base in cls.__mro__ if base.__module__.startswith("PySide6."))


@cache
def _qt_object_classes() -> tuple[str, ...]:
    from PySide6.QtCore import QObject

    found = vars(qt_module()).items()
    return tuple(name for name, value in found if isinstance(value, type) and issubclass(value, QObject))


@cache
def _mrml_names() -> frozenset[str]:
    import slicer

    return frozenset(
        name for each, value in vars(slicer).items() if each.startswith("vtk") for name in dir(value)
    )  # fmt: skip


@cache
def _vtk_names() -> frozenset[str]:
    import vtk

    return frozenset(name for each in dir(vtk) if each.startswith("vtk") for name in dir(getattr(vtk, each)))


# --- .ui files -----------------------------------------------------------------------------------------------------


def ui_widgets(path: Path) -> dict[str, str]:
    """Class of each named widget of a `.ui` file."""
    return {each.get("name", ""): each.get("class", "") for each in ElementTree.parse(path).getroot().iter("widget")}


def ui_problems(path: Path) -> list[str]:
    """Widget classes, properties, signals and slots of a `.ui` file that do not exist."""
    root, widgets, found = ElementTree.parse(path).getroot(), ui_widgets(path), []
    for element in root.iter("widget"):
        cls = element.get("class", "")
        if not is_known_class(cls):
            found.append(f"{path.name}: widget class {cls}")
            continue
        for each in element.findall("property"):
            if each.get("stdset") != "0" and each.get("name") not in properties(cls):
                found.append(f"{path.name}: property {cls}.{each.get('name')}")
    for each in root.iter("connection"):
        sender, receiver = (widgets.get(each.findtext(tag, ""), "") for tag in ("sender", "receiver"))
        signal, slot = each.findtext("signal", ""), each.findtext("slot", "")
        if not (is_known_class(sender) and has_signal(sender, signal)):
            found.append(f"{path.name}: signal {sender}.{signal}")
        if not (is_known_class(receiver) and slot.split("(")[0] in methods(receiver)):
            found.append(f"{path.name}: slot {receiver}.{slot}")
    return found


# --- Python sources ------------------------------------------------------------------------------------------------


def source_problems(source: str, file: str = "<source>", widgets: dict[str, str] | None = None) -> list[str]:
    """Names in a Python source that do not exist; `widgets` are those of the `.ui` file, by name."""
    return _Source(ast.parse(source), file, widgets or {}).problems()


class _Source:
    """One source file: first what the variables are, then whether what is asked of them exists."""

    def __init__(self, tree: ast.Module, file: str, widgets: dict[str, str]) -> None:
        self.tree, self.file, self.widgets = tree, file, widgets
        self.imported: dict[str, str] = {}
        self.relative: set[str] = set()
        self.kinds: dict[str, str | None] = {}
        self.found: list[str] = []
        self.own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}

    def problems(self) -> list[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._import(node)
        self._learn(self.tree, lambda target: isinstance(target, ast.Attribute))
        everywhere = dict(self.kinds)
        for scope in self._scopes():
            self.kinds = dict(everywhere)
            self._learn(scope, lambda target: isinstance(target, ast.Name))
            for node in _inside(scope):
                self._check(node)
        return [f"{self.file}:{each}" for each in dict.fromkeys(self.found)]

    def _scopes(self) -> Iterator[ast.AST]:
        yield self.tree
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef))

    # What things are

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for each in node.names:
                root = each.name.split(".")[0]
                self.imported[each.asname or root] = each.name if each.asname else root
        elif node.level > 0:
            self.relative |= {each.asname or each.name for each in node.names}
        elif node.module in TABLE["modules"]:
            for each in node.names:
                if not self._in_module(node.module, each.name):
                    self._say(node, f"{node.module} has no '{each.name}'")
                self.imported[each.asname or each.name] = f"{node.module}.{each.name}"

    def _learn(self, scope: ast.AST, wanted: Any) -> None:
        for node in _inside(scope) if not isinstance(scope, ast.Module) or wanted(ast.Name()) else ast.walk(scope):
            for target, value in _assignments(node):
                if wanted(target):
                    key, kind = ast.unparse(target), self.kind(value) if value is not None else None
                    # A variable that is sometimes something else is not known.
                    self.kinds[key] = kind if self.kinds.get(key, kind) == kind else None

    def path(self, node: ast.AST) -> str | None:
        """Dotted path from an imported module, such as `slicer.util.loadUI`."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id)
        if isinstance(node, ast.Attribute):
            above = self.path(node.value)
            return f"{above}.{node.attr}" if above else None
        return None

    def kind(self, node: ast.AST) -> str | None:
        """Class of an expression (or the class itself), where it is one that we know."""
        path = self.path(node)
        if path == "slicer.app":
            return "qSlicerApplication"
        if path is not None:
            name = path.split(".")[-1]
            return name if path.count(".") == 1 + path.startswith("slicer.S") and is_known_class(name) else None
        if isinstance(node, ast.Call):
            return self.kind(node.func) if self.path(node.func) not in (None, "slicer.app") else None
        if isinstance(node, ast.Attribute) and self._is_ui(node.value):
            return self.widgets.get(node.attr)
        return self.kinds.get(ast.unparse(node)) if isinstance(node, (ast.Name, ast.Attribute)) else None

    def _is_ui(self, node: ast.AST) -> bool:
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        return bool(self.widgets) and name in ("ui", "_ui")

    # Whether what is asked of them exists

    def _check(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            self._check_attribute(node)
        elif isinstance(node, ast.Call):
            self._check_call(node)

    def _check_attribute(self, node: ast.Attribute) -> None:
        path, kind = self.path(node), self.kind(node.value)
        if node.attr in _TOO_NEW:
            self._say(node, f"'{node.attr}' is not in Qt 5.15")
        if self._is_ui(node.value) and node.attr not in self.widgets:
            self._say(node, f"the .ui file has no widget '{node.attr}'")
        if kind is not None:
            self._check_member(node, kind)
        elif path is not None:
            self._check_path(node, path)
        elif self._looks_like_vtk(node) and node.attr not in _mrml_names() and node.attr not in _vtk_names():
            self._say(node, f"no class of VTK or MRML has '{node.attr}'")

    def _looks_like_vtk(self, node: ast.Attribute) -> bool:
        """Whether a capitalised name is read that is neither ours nor a constant."""
        root = node.value.id if isinstance(node.value, ast.Name) else ""
        is_ours = node.attr in self.own or node.attr.isupper() or root in self.relative
        return node.attr[:1].isupper() and isinstance(node.ctx, ast.Load) and not is_ours

    def _check_member(self, node: ast.Attribute, kind: str) -> None:
        if not offers(kind, node.attr):
            self._say(node, f"{kind} has no '{node.attr}'")
        elif isinstance(node.ctx, ast.Store) and node.attr not in properties(kind) | {"name"} and kind[0] in "Qqc":
            self._say(node, f"'{node.attr}' of {kind} is not a property and cannot be set")

    def _check_path(self, node: ast.Attribute, path: str) -> None:
        root, *names = path.split(".")
        if path.startswith("slicer.mrmlScene."):
            self._check_real(node, "vtkMRMLScene", names[1:], "slicer")
        elif (root in ("vtk", "slicer") and names[0].startswith("vtk")) or root in ("qt", "vtk"):
            self._check_real(node, "", names, root)
        elif path.rsplit(".", 1)[0] in TABLE["modules"] and not self._in_module(*path.rsplit(".", 1)):
            self._say(node, f"{path.rsplit('.', 1)[0]} has no '{node.attr}'")
        elif root == "ctk" and names[0] not in TABLE["classes"]:
            self._say(node, f"ctk has no '{names[0]}'")

    def _check_real(self, node: ast.AST, start: str, names: list[str], module: str) -> None:
        import importlib

        value: Any = qt_module() if module == "qt" else importlib.import_module(module)
        for name in [*([start] if start else []), *names]:
            if isinstance(value, type) and module == "qt":
                value = _bare(value) if any(b.__module__.startswith("PySide6.") for b in value.__mro__) else value
            if not hasattr(value, name):
                self._say(node, f"{module} has no '{'.'.join(names)}'")
                return
            value = getattr(value, name)
            if not isinstance(value, type) and not hasattr(value, "__path__") and type(value).__name__ != "module":
                return

    def _check_call(self, node: ast.Call) -> None:
        function, kind = node.func, None
        if isinstance(function, ast.Attribute):
            kind = self.kind(function.value)
            if kind is not None and function.attr in properties(kind):
                self._say(node, f"'{function.attr}' of {kind} is a property and cannot be called")
            if function.attr in ("connect", "disconnect"):
                self._check_signal(node, kind)
        if isinstance(function, ast.Name) and function.id == "put" and node.args:
            self._check_put(node)
        name = f"{kind}.{function.attr}" if kind and isinstance(function, ast.Attribute) else self.path(function)
        for each in node.keywords:
            if name in TABLE["arguments"] and each.arg is not None and each.arg not in TABLE["arguments"][name]:
                self._say(node, f"{name} takes no argument '{each.arg}'")

    def _check_signal(self, node: ast.Call, kind: str | None) -> None:
        first = node.args[0] if node.args else None
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            return
        if not (has_signal(kind, first.value) if kind else is_any_signal(first.value)):
            self._say(node, f"{kind or 'no known class'} has no signal '{first.value}'")
        if first.value.split("(")[0] in _TOO_NEW:
            self._say(node, f"signal '{first.value}' is not in Qt 5.15")

    def _check_put(self, node: ast.Call) -> None:
        kind = self.kind(node.args[0])
        for each in node.keywords:
            if kind is not None and each.arg not in properties(kind):
                self._say(node, f"{kind} has no property '{each.arg}'")

    def _in_module(self, module: str, name: str) -> bool:
        if name in TABLE["modules"][module]["names"] or f"{module}.{name}" in TABLE["modules"]:
            return True
        if module != "slicer":
            return False
        import slicer

        return name in TABLE["classes"] or (name.startswith("vtk") and hasattr(slicer, name))

    def _say(self, node: ast.AST, text: str) -> None:
        self.found.append(f"{getattr(node, 'lineno', 0)}: {text}")


def _inside(scope: ast.AST) -> Iterable[ast.AST]:
    """The nodes of a scope, without those of the functions in it (lambdas belong to it)."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _inside(child)


def _assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
                yield from zip(target.elts, values, strict=False)
            else:
                yield target, node.value
    elif isinstance(node, ast.AnnAssign):
        yield node.target, node.value
    elif isinstance(node, (ast.For, ast.comprehension)):
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        yield from ((each, None) for each in targets)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, None
