"""Rules of Slicer's extensions that the sources can be checked for, without Slicer."""

from __future__ import annotations

import ast
import builtins
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
COMMAND_LINE_ONLY = {"benchmark", "clicking", "pretraining", "showing", "starter", "studies", "synthesis"}
"""Rooms that nothing goes into from the panel."""
SAID_IN_THE_PANEL = [
    MODULE,
    *(
        path
        for room in ("core", "engine", "mrml", "ui", "worker")
        for path in sorted((LIBRARY / room).rglob("*.py"))
        if path.relative_to(LIBRARY).parts[1] not in COMMAND_LINE_ONLY
    ),
]
"""What is said there comes to the panel, if need be through the processes."""
FOR_DEVELOPERS = {
    *(name for name in dir(builtins) if name.endswith("Error")),
    *("MisfitError", "SealError", "SelfTestError", "print", "filterwarnings", "add_argument", "arguments_of"),
}
"""Calls whose texts no person sees in the panel, apart from errors whose names begin with an underscore."""
IN_ENGLISH = ("A class that is not listed as reviewed", "The terms of this scan")
"""How sentences begin that are written into files for other programs, or are of a licence."""
SENTENCE = re.compile(r"(?=.*[a-z]{2,} .*[a-z]{2}|.*\{\}.* [a-z]{2,} .*)\S+ \S+ .*[.!?:]", re.DOTALL)
"""Three words at least, some of letters, that end as sentences do; ``{}`` stands for what is put in."""
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
    """Texts for people that do not go through the translator: those of errors, tooltips, texts, titles; sentences."""
    tree = ast.parse(source)
    yield from untranslated_sentences(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        shown = [k.value for k in node.keywords if k.arg in ("text", "toolTip", "title", "windowTitle")]
        if name.endswith(("Error", "_error")) and not _is_for_developers(name):
            shown += node.args[:2]
        if name in ("setToolTip", "setText", "setWindowTitle", "QTableWidgetItem"):
            shown += node.args
        for value in shown:
            is_text = isinstance(value, ast.JoinedStr) or (
                isinstance(value, ast.Constant) and isinstance(value.value, str)
            )
            if is_text and re.search(r"[A-Za-z]{2}", _literal(value)):
                yield f"{value.lineno}: {ast.unparse(value)}"


def untranslated_sentences(tree: ast.Module) -> Iterator[str]:
    """Sentences anywhere but in docstrings, in what is translated, and in what developers read."""
    passed: set[ast.AST] = set()
    for node in ast.walk(tree):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if name == "_" or _is_for_developers(name):
            passed |= set(ast.walk(node))
        if isinstance(node, ast.Expr):
            passed.add(node.value)
        if isinstance(node, ast.JoinedStr):
            passed |= set(node.values)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node not in passed:
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
            if SENTENCE.fullmatch(text) and not text.startswith(IN_ENGLISH):
                yield f"{node.lineno}: {ast.unparse(node)}"


def _is_for_developers(name: str) -> bool:
    return name in FOR_DEVELOPERS or (name.startswith("_") and name.endswith("Error"))


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


@pytest.mark.parametrize("path", SAID_IN_THE_PANEL, ids=named)
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
        (lambda s: list(untranslated(s)), "return f'{label} got worse on {count} patients.'"),
        (lambda s: list(untranslated(s)), "notes.append('It was left out.')"),
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
