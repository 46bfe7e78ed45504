"""Every name of Slicer, CTK, qMRML and Qt that the module uses exists, as far as public sources can show it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UI = ROOT / "Resources" / "UI" / "GenesisSegment.ui"
MODULE = ROOT / "GenesisSegment"


@pytest.fixture(scope="module")
def names(bench_app):
    from bench import names

    return names


def sources() -> list[Path]:
    library = MODULE / "GenesisSegmentLib"
    return [
        MODULE / "GenesisSegment.py",
        *sorted((library / "ui").rglob("*.py")),
        *sorted((library / "mrml").rglob("*.py")),
    ]


def test_no_folder_of_the_tests_is_taken_for_a_part_of_slicer():
    # The package `slicer` of the wheel takes in every folder of that name on the path, and imports all modules in it.
    assert not (ROOT / "Testing" / "slicer").exists()


def test_the_module_has_sources_to_check():
    assert (MODULE / "GenesisSegment.py").is_file()
    assert len(sources()) > 10


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(MODULE).as_posix())
def test_the_names_in_a_source_exist(names, path):
    assert names.source_problems(path.read_text(encoding="utf-8"), path.name, names.ui_widgets(UI)) == []


@pytest.mark.parametrize("path", sorted((ROOT / "Resources" / "UI").glob("*.ui")), ids=lambda path: path.name)
def test_the_names_in_a_ui_file_exist(names, path):
    assert names.ui_problems(path) == []


def test_every_widget_with_a_shortcut_is_in_the_ui_file(names):
    import ast

    tree = ast.parse((MODULE / "GenesisSegmentLib" / "ui" / "shortcuts.py").read_text(encoding="utf-8"))
    keys = next(node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and node.target.id == "KEYS")
    assert {each.value for each in keys.keys} <= set(names.ui_widgets(UI))


# --- the stand-ins ---------------------------------------------------------------------------------------------------


def stand_ins() -> dict[str, type]:
    try:
        from bench import core_io, ctk_widgets, qmrml_widgets, scripted_module, segment_widgets, slicer_app
    except ImportError:
        return {}
    found = {**ctk_widgets.CLASSES, **qmrml_widgets.CLASSES, **segment_widgets.CLASSES}
    for cls in (
        slicer_app.qSlicerApplication,
        slicer_app.qSlicerLayoutManager,
        slicer_app.qSlicerModuleManager,
        core_io.qSlicerCoreIOManager,
        scripted_module.qSlicerScriptedLoadableModule,
        scripted_module.qSlicerScriptedLoadableModuleWidget,
        scripted_module.ScriptedLoadableModule,
        scripted_module.ScriptedLoadableModuleWidget,
        scripted_module.ScriptedLoadableModuleLogic,
        scripted_module.ScriptedLoadableModuleTest,
    ):
        found[cls.__name__] = cls
    return found


@pytest.mark.parametrize(("name", "cls"), stand_ins().items(), ids=lambda each: each if isinstance(each, str) else "")
def test_a_stand_in_offers_nothing_that_the_real_class_lacks(names, name, cls):
    assert name in names.TABLE["classes"]
    own = {each for base in cls.__mro__ if base.__module__.startswith("bench.") for each in vars(base)}
    public = {each for each in own if not each.startswith("_") and each != "staticMetaObject"}
    assert {each for each in public if not names.offers(name, each)} == set()


@pytest.mark.parametrize(("name", "cls"), stand_ins().items(), ids=lambda each: each if isinstance(each, str) else "")
def test_the_properties_and_signals_of_a_stand_in_are_those_of_the_real_class(names, name, cls):
    from PySide6.QtCore import Property, Signal

    from bench.qt_adaptor import canonical_signature

    own = [vars(base) for base in cls.__mro__ if base.__module__.startswith("bench.")]
    declared = {each for body in own for each, value in body.items() if isinstance(value, Property)}
    assert {each for each in declared if each not in names.properties(name)} == set()
    real = {canonical_signature(each).split("(")[0] for each in names.TABLE["classes"][name]["signals"]}
    base = names.TABLE["classes"].get(names.TABLE["classes"][name]["base"], {"signals": []})
    real |= {each.split("(")[0] for each in base["signals"]}
    signals = {each for body in own for each, value in body.items() if isinstance(value, Signal)}
    assert signals <= real


def test_the_functions_of_stand_in_modules_take_what_the_real_ones_take(names, bench_app):
    import inspect

    import PyTorchUtils
    import SampleData
    import slicer

    functions = {
        "slicer.packaging.pip_ensure": slicer.packaging.pip_ensure,
        "slicer.packaging.pip_install": slicer.packaging.pip_install,
        "slicer.packaging.load_requirements": slicer.packaging.load_requirements,
        "SampleDataLogic.registerCustomSampleDataSource": SampleData.SampleDataLogic.registerCustomSampleDataSource,
        "SampleDataLogic.registerCustomSampleDataCategory": SampleData.SampleDataLogic.registerCustomSampleDataCategory,
        "PyTorchUtilsLogic.installTorch": PyTorchUtils.PyTorchUtilsLogic().installTorch,
    }
    for name, function in functions.items():
        assert list(inspect.signature(function).parameters) == names.TABLE["arguments"][name], name


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_entry_of_the_table_says_where_it_was_seen(names):
    for entry in (*names.TABLE["classes"].values(), *names.TABLE["modules"].values()):
        assert ":" in entry["seen"]


def test_the_functions_of_slicer_util_in_the_table_are_in_the_library(names):
    import slicer.util

    missing = [name for name in names.TABLE["modules"]["slicer.util"]["names"] if not hasattr(slicer.util, name)]
    assert missing == []


# --- the check itself ------------------------------------------------------------------------------------------------

HEAD = "import ctk\nimport qt\nimport slicer\nimport vtk\n"
WIDGETS = {"applyButton": "QPushButton", "volumeSelector": "qMRMLNodeComboBox", "part": "ctkCollapsibleButton"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("slicer.util.loadUi('x')", "slicer.util has no 'loadUi'"),
        ("from slicer.util import loadUi", "slicer.util has no 'loadUi'"),
        ("slicer.packaging.pip_ensures([])", "slicer.packaging has no 'pip_ensures'"),
        ("slicer.packaging.pip_ensure([], constraint='x')", "takes no argument 'constraint'"),
        ("slicer.app.tempPath", "qSlicerApplication has no 'tempPath'"),
        ("slicer.app.temporaryPath()", "is a property and cannot be called"),
        ("slicer.app.connect('startupComplete()', print)", "no signal 'startupComplete()'"),
        ("slicer.mrmlScene.GetNodesByID('x')", "slicer has no 'GetNodesByID'"),
        ("slicer.vtkMRMLSegmentationNod()", "slicer has no 'vtkMRMLSegmentationNod'"),
        ("slicer.vtkMRMLSegmentEditorNode.OverwriteNothing", "has no 'vtkMRMLSegmentEditorNode.OverwriteNothing'"),
        ("slicer.modules.segmentation.logic()", "slicer.modules has no 'segmentation'"),
        ("vtk.vtkMatrix5x5()", "vtk has no 'vtkMatrix5x5'"),
        ("qt.QPushButon()", "qt has no 'QPushButon'"),
        ("qt.Qt.Chekced", "has no 'Chekced'"),
        ("ctk.ctkCollapsableButton()", "ctk has no 'ctkCollapsableButton'"),
        ("timer = qt.QTimer()\ntimer.setIntervall(1)", "QTimer has no 'setIntervall'"),
        ("timer = qt.QTimer()\ntimer.connect('timedout()', print)", "QTimer has no signal 'timedout()'"),
        ("part = ctk.ctkCollapsibleButton()\npart.colapsed = True", "ctkCollapsibleButton has no 'colapsed'"),
        ("part = ctk.ctkCollapsibleButton()\npart.setCollapsed = True", "not a property and cannot be set"),
        ("part = ctk.ctkCollapsibleButton()\npart.text()", "'text' of ctkCollapsibleButton is a property"),
        ("ui.apply.enabled", "the .ui file has no widget 'apply'"),
        ("self._ui.applyButton.enable = True", "QPushButton has no 'enable'"),
        ("put(ui.applyButton, tooltip='x')", "QPushButton has no property 'tooltip'"),
        ("ui.volumeSelector.connect('currentNodeChanged(vtkMRMLVolumeNode*)', f)", "no signal"),
        ("anything.connect('noSuchSignal(int)', print)", "no known class has no signal"),
        ("box.checkStateChanged.connect(f)", "not in Qt 5.15"),
        ("node.GetSegmentaton()", "no class of VTK or MRML has 'GetSegmentaton'"),
    ],
)
def test_a_wrong_name_is_found(names, line, problem):
    found = names.source_problems(HEAD + line, widgets=WIDGETS)
    assert len(found) == 1, found
    assert problem in found[0]


@pytest.mark.parametrize(
    "line",
    [
        "slicer.util.loadUI('x')",
        "slicer.app.temporaryPath",
        "slicer.app.style().standardIcon(qt.QStyle.SP_DialogApplyButton)",
        "slicer.app.connect('startupCompleted()', print)",
        "slicer.mrmlScene.GetNodeByID('x').GetSegmentation().GetSegmentIDs()",
        "qt.QFileDialog.getOpenFileName(None, '')",
        "timer = qt.QTimer()\ntimer.interval = 5\ntimer.connect('timeout()', print)",
        "part = ctk.ctkCollapsibleButton()\npart.collapsed = part.checked",
        "part = ctk.ctkCollapsibleButton()\npart.connect('contentsCollapsed(bool)', print)",
        "ui.volumeSelector.connect('currentNodeChanged(vtkMRMLNode*)', print)",
        "ui.volumeSelector.name = 'x'",
        "put(ui.part, collapsed=True, toolTip='x')",
        "button = qt.QPushButton()\nbutton.clicked.connect(print)",
        "x = qt.QTimer()\nx = 3\nx.anything",
        "for x in y:\n    x.anything_at_all()",
    ],
)
def test_a_right_name_passes(names, line):
    assert names.source_problems(HEAD + line, widgets=WIDGETS) == []


def test_a_ui_file_with_wrong_names_is_found(names, tmp_path):
    path = tmp_path / "panel.ui"
    path.write_text(
        '<ui version="4.0"><widget class="qMRMLWidget" name="a"><property name="shine"><bool>true</bool></property>'
        '<widget class="ctkMagic" name="b"/><widget class="QLabel" name="c"/></widget><connections><connection>'
        "<sender>a</sender><signal>sceneChanged()</signal><receiver>c</receiver><slot>setTexts(QString)</slot>"
        "</connection></connections></ui>"
    )
    assert names.ui_problems(path) == [
        "panel.ui: property qMRMLWidget.shine",
        "panel.ui: widget class ctkMagic",
        "panel.ui: signal qMRMLWidget.sceneChanged()",
        "panel.ui: slot QLabel.setTexts(QString)",
    ]
