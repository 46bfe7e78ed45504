"""Rules of Slicer's extensions that the sources can be checked for, without Slicer."""

from __future__ import annotations

import ast
import json
import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "GenesisSegment" / "GenesisSegment.py"
LIBRARY = ROOT / "GenesisSegment" / "GenesisSegmentLib"
PANEL = ROOT / "Resources" / "UI" / "GenesisSegment.ui"
INSIDE_SLICER = [MODULE, *sorted((LIBRARY / "ui").rglob("*.py")), *sorted((LIBRARY / "mrml").rglob("*.py"))]
WITHOUT_ENGINE = [*INSIDE_SLICER, *sorted((LIBRARY / "core").rglob("*.py"))]
SAID_IN_THE_PANEL = [
    *(LIBRARY / "core" / f"{name}.py" for name in ("bulk", "geometry", "resources")),
    *(LIBRARY / "engine" / f"{name}.py" for name in ("checkpoints", "open_model")),
    *(LIBRARY / "engine/networks" / f"{name}.py" for name in ("__init__", "recognise")),
    *(LIBRARY / "engine/learning" / f"{name}.py" for name in ("channels", "memory", "sampling", "state", "trainer")),
    *(file for name in ("engine/images", "engine/models", "worker") for file in sorted((LIBRARY / name).rglob("*.py"))),
]
"""Of the rooms whose errors come to the panel through the processes."""
MAY_IMPORT = {"slicer", "vtk", "qt", "ctk", "numpy", "GenesisSegmentLib", *sys.stdlib_module_names}
PIP = re.compile(r"\bpip_(?:install|ensure|uninstall)\b|-m pip\b|[\"']-m[\"'], [\"']pip[\"']|import pip\b")
SETS_UP = {"installer.py", "compat.py"}
CATALOG_KEYS = {
    *("$schema", "build_dependencies", "build_subdirectory", "category", "dicom_support_rule", "enabled"),
    *("scm_revision", "scm_type", "scm_url", "tier"),
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_at_file_scope(source: str) -> set[str]:
    """Packages that a module imports when it is imported, also inside ``if`` and ``try``."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name.split(".")[0] for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                found.add(child.module.split(".")[0])
            elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                visit(child)

    visit(ast.parse(source))
    return found


def broad_handlers(source: str) -> Iterator[int]:
    """Lines of handlers that catch everything and do not raise again."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            is_broad = any(kind is None or getattr(kind, "id", "") in ("Exception", "BaseException") for kind in kinds)
            if is_broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                yield node.lineno


def untranslated(source: str) -> Iterator[str]:
    """Texts for people that do not go through the translator: those of errors, tooltips, texts and titles."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        shown = [k.value for k in node.keywords if k.arg in ("text", "toolTip", "title", "windowTitle")]
        if name.endswith(("Error", "_error")) and name not in ("SelfTestError", "ValueError", "TypeError"):
            shown += node.args[:2]
        if name in ("setToolTip", "setText", "setWindowTitle", "QTableWidgetItem"):
            shown += node.args
        for value in shown:
            is_text = isinstance(value, ast.JoinedStr) or (
                isinstance(value, ast.Constant) and isinstance(value.value, str)
            )
            if is_text and re.search(r"[A-Za-z]{2}", _literal(value)):
                yield f"{value.lineno}: {ast.unparse(value)}"


def _literal(node: ast.expr) -> str:
    """The fixed letters of a text."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return " ".join(str(part.value) for part in parts if isinstance(part, ast.Constant))


@pytest.mark.parametrize("path", INSIDE_SLICER, ids=named)
def test_file_scope_imports_nothing_that_slicer_does_not_bring(path):
    assert imported_at_file_scope(path.read_text(encoding="utf-8")) <= MAY_IMPORT


@pytest.mark.parametrize("path", sorted({MODULE, *LIBRARY.rglob("*.py")}), ids=named)
def test_pip_is_run_by_the_set_up_alone(path):
    if path.name not in SETS_UP or path.parent.name != "ui":
        assert PIP.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", WITHOUT_ENGINE, ids=named)
def test_no_handler_swallows_everything(path):
    assert list(broad_handlers(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", INSIDE_SLICER + SAID_IN_THE_PANEL, ids=named)
def test_text_for_people_is_translated(path):
    assert list(untranslated(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (
            lambda s: imported_at_file_scope(s) - MAY_IMPORT,
            "import numpy\ntry:\n    import torch\nexcept ImportError:\n    pass",
        ),
        (PIP.findall, "slicer.util.pip_install('x')"),
        (PIP.findall, "subprocess.run([python, '-m', 'pip', 'install'])"),
        (lambda s: list(broad_handlers(s)), "try:\n    f()\nexcept Exception:\n    pass"),
        (lambda s: list(broad_handlers(s)), "try:\n    f()\nexcept:\n    pass"),
        (lambda s: list(untranslated(s)), "raise InputError('It is broken.', _('Mend it.'))"),
        (lambda s: list(untranslated(s)), "raise self._error(f'{host} is busy.')"),
        (lambda s: list(untranslated(s)), "put(button, toolTip=f'{name} is locked')"),
    ],
)
def test_breach_of_each_rule_is_found(check, source):
    assert check(source)


def test_module_file_is_registration_only():
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) <= 200


def test_panel_is_a_qmrml_widget_in_slicers_own_style():
    root = ElementTree.parse(PANEL).getroot()
    top = root.find("widget")
    assert top is not None
    assert top.get("class") == "qMRMLWidget"
    assert [p for p in root.iter("property") if p.get("name") in ("styleSheet", "font", "palette")] == []
    names = Counter(node.get("name") for kind in ("widget", "layout", "spacer") for node in root.iter(kind))
    assert [name for name, count in names.items() if count > 1] == []


def test_panel_has_no_text_that_only_looks_like_one():
    texts = [s.text or "" for p in ElementTree.parse(PANEL).getroot().iter("property") for s in p.iter("string")]
    assert [text for text in texts if text != text.strip()] == []


def test_icon_is_a_png_of_128_pixels():
    head = (ROOT / "Resources" / "Icons" / "GenesisSegment.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:]) == (128, 128)


def test_entry_for_the_index_is_what_the_extension_is():
    entry = json.loads((ROOT / "scripts" / "GenesisSegment.json").read_text(encoding="utf-8"))
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert set(entry) <= CATALOG_KEYS
    assert entry["category"] == "Segmentation"
    assert f'set(EXTENSION_DEPENDS "{" ".join(entry["build_dependencies"])}")' in cmake
    homepage = entry["scm_url"].removesuffix(".git")
    assert f'set(EXTENSION_HOMEPAGE "{homepage}")' in cmake
    assert homepage.rpartition("/")[2] == "SlicerGenesisSegment"
    assert "project(GenesisSegment)" in cmake


def test_pictures_that_the_index_fetches_are_in_the_repository():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    urls = re.findall(r'set\(EXTENSION_(?:ICONURL|SCREENSHOTURLS) "([^"]*)"\)', cmake)
    assert len(urls) == 2
    for url in " ".join(urls).split():
        assert (ROOT / url.partition("/main/")[2]).is_file(), url


def test_resources_reach_the_build_tree_and_the_package():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "copy_directory" in cmake
    assert re.search(
        r"install\(DIRECTORY Resources/\s+DESTINATION \$\{Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR\}", cmake
    )


def test_tests_inside_slicer_are_known_to_ctest():
    module = (ROOT / "GenesisSegment" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in module
    script = re.search(r"SCRIPT (\S+)", (ROOT / "Testing" / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert script is not None
    assert (ROOT / "Testing" / script[1]).is_file()
