"""The stand-ins behave as the headers and documentation of CTK and Slicer say, on the real scene."""

from __future__ import annotations

import numpy as np
import pytest


def a_volume(bench, name="CT"):
    return bench.slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.int16), name=name)


@pytest.fixture
def selector(slicer_bench):
    selector = slicer_bench.slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer_bench.scene)
    yield selector
    selector.setMRMLScene(None)


# --- node selector -----------------------------------------------------------------------------------------------


def test_a_selector_is_disabled_until_it_has_a_scene(slicer_bench):
    selector = slicer_bench.slicer.qMRMLNodeComboBox()
    assert not selector.enabled
    selector.setMRMLScene(slicer_bench.scene)
    assert selector.enabled
    selector.setMRMLScene(None)


def test_a_selector_follows_nodes_that_come_and_go(slicer_bench, selector):
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    first = a_volume(slicer_bench)
    assert (selector.nodeCount(), selector.currentNode(), seen) == (1, None, [])
    selector.setCurrentNode(first)
    assert selector.currentNodeID == first.GetID()
    slicer_bench.scene.RemoveNode(first)
    assert (selector.nodeCount(), selector.currentNode()) == (0, None)
    assert seen == [first, None]


def test_setting_the_same_node_again_is_silent(slicer_bench, selector):
    node = a_volume(slicer_bench)
    selector.setCurrentNode(node)
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    selector.setCurrentNode(node)
    assert seen == []


def test_without_none_the_first_node_is_chosen(slicer_bench, selector):
    selector.noneEnabled = False
    node = a_volume(slicer_bench)
    assert selector.currentNode() is node


def test_only_the_asked_types_are_listed(slicer_bench, selector):
    a_volume(slicer_bench)
    label = slicer_bench.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer_bench.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    assert selector.nodeCount() == 2
    selector.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert selector.nodeCount() == 1
    selector.hideChildNodeTypes = []
    selector.showChildNodeTypes = False
    assert label not in selector.nodes()


def test_hidden_nodes_are_not_listed(slicer_bench, selector):
    hidden = a_volume(slicer_bench)
    hidden.SetHideFromEditors(True)
    a_volume(slicer_bench, "CT 2")
    assert selector.nodeCount() == 1


def test_attributes_filter(slicer_bench, selector):
    selector.addAttribute("vtkMRMLScalarVolumeNode", "GenesisSegment.Role", "proposal")
    node = a_volume(slicer_bench)
    assert selector.nodeCount() == 0
    node.SetAttribute("GenesisSegment.Role", "proposal")
    selector.removeAttribute("vtkMRMLScalarVolumeNode", "GenesisSegment.Role")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "GenesisSegment.Role", "proposal")
    assert selector.nodeCount() == 1


def test_a_renamed_node_shows_its_new_name(slicer_bench, selector):
    node = a_volume(slicer_bench)
    seen = []
    selector.setCurrentNode(node)
    selector.connect("currentNodeRenamed(QString)", seen.append)
    node.SetName("CT after contrast")
    assert selector.findChild("QComboBox").currentText == "CT after contrast"
    assert seen == ["CT after contrast"]


def test_two_nodes_of_one_name_stay_two(slicer_bench, selector):
    first, second = a_volume(slicer_bench), a_volume(slicer_bench)
    selector.setCurrentNode(second)
    assert selector.currentNode() is second
    assert {first, second} == set(selector.nodes())


def test_an_overloaded_signal_tells_whether_there_is_a_node(slicer_bench, selector):
    seen = []
    selector.connect("currentNodeChanged(bool)", seen.append)
    selector.setCurrentNode(a_volume(slicer_bench))
    selector.setCurrentNode(None)
    assert seen == [True, False]


# --- segments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def segmentation(slicer_bench):
    node = slicer_bench.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for name in ("liver", "spleen", "left kidney"):
        node.GetSegmentation().AddEmptySegment(name.replace(" ", "_"), name)
    return node


def test_the_segments_table_follows_the_segmentation(slicer_bench, segmentation):
    table = slicer_bench.slicer.qMRMLSegmentsTableView()
    table.setMRMLScene(slicer_bench.scene)
    table.setSegmentationNode(segmentation)
    assert table.segmentCount == 3
    segmentation.GetSegmentation().RemoveSegment("spleen")
    assert table.displayedSegmentIDs() == ("liver", "left_kidney")
    table.textFilter = "KID"
    assert table.displayedSegmentIDs() == ("left_kidney",)
    table.setSegmentationNode(None)
    assert table.segmentCount == 0


def test_selecting_segments_signals(slicer_bench, segmentation):
    table = slicer_bench.slicer.qMRMLSegmentsTableView()
    table.setSegmentationNode(segmentation)
    seen = []
    table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: seen.append(table.selectedSegmentIDs()))
    table.setSelectedSegmentIDs(["spleen", "left_kidney"])
    assert seen[-1] == ("spleen", "left_kidney")
    table.setSegmentationNode(None)


@pytest.fixture
def editor(slicer_bench):
    editor = slicer_bench.slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer_bench.scene)
    yield editor
    editor.setMRMLSegmentEditorNode(None)


def test_the_editor_writes_to_its_parameter_node(slicer_bench, editor, segmentation):
    node = slicer_bench.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    volume = a_volume(slicer_bench)
    seen = []
    editor.connect("currentSegmentIDChanged(QString)", seen.append)
    editor.setMRMLSegmentEditorNode(node)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    editor.setCurrentSegmentID("spleen")
    assert node.GetSegmentationNode() is segmentation
    assert node.GetSourceVolumeNode() is volume
    assert node.GetSelectedSegmentID() == "spleen"
    assert seen == ["spleen"]


def test_the_editor_without_a_parameter_node_does_nothing(editor, segmentation):
    editor.setSegmentationNode(segmentation)
    assert editor.segmentationNode() is None


# --- CTK ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def section(slicer_bench):
    section = slicer_bench.ctk.ctkCollapsibleButton()
    section.text = "Segment"
    layout = slicer_bench.qt.QVBoxLayout(section)
    layout.addWidget(slicer_bench.qt.QLabel("inside"))
    section.show()
    slicer_bench.pump(0)
    return section


def test_a_collapsed_section_hides_its_contents(section):
    seen = []
    section.connect("contentsCollapsed(bool)", seen.append)
    label = section.findChild("QLabel")
    section.collapsed = True
    assert (label.visible, section.checked, seen) == (False, False, [True])
    section.checked = True
    assert (label.visible, section.collapsed, seen) == (True, False, [True, False])


def test_unfolding_does_not_show_what_was_hidden(section):
    label = section.findChild("QLabel")
    label.setVisible(False)
    section.collapsed = True
    section.collapsed = False
    assert not label.visible


def test_what_is_shown_while_folded_appears_on_unfolding(section):
    label = section.findChild("QLabel")
    label.setVisible(False)
    section.collapsed = True
    label.setVisible(True)
    assert not label.visible
    section.collapsed = False
    assert label.visible


def test_a_path_line_browses_through_the_recorder(slicer_bench):
    line = slicer_bench.ctk.ctkPathLineEdit()
    seen = []
    line.connect("currentPathChanged(QString)", seen.append)
    line.filters = line.Dirs
    slicer_bench.dialogs.answers.append("/data/cases")
    line.browse()
    assert (line.currentPath, seen[-1]) == ("/data/cases", "/data/cases")
    assert slicer_bench.dialogs.shown[0].kind == "getExistingDirectory"


def test_user_data_of_a_combo_box_is_a_string_property(slicer_bench):
    combo = slicer_bench.ctk.ctkComboBox()
    combo.addItem("GPU", "cuda:0")
    combo.addItem("CPU", "cpu")
    seen = []
    combo.connect("currentUserDataAsStringChanged(QString)", seen.append)
    combo.currentUserDataAsString = "cpu"
    assert (combo.currentText, seen) == ("CPU", ["cpu"])


# --- .ui files ---------------------------------------------------------------------------------------------------

UI = """<ui version="4.0"><widget class="{cls}" name="Panel">{inside}</widget>{connections}</ui>"""


def load(bench, tmp_path, cls="qMRMLWidget", inside="", connections=""):
    path = tmp_path / "panel.ui"
    path.write_text(UI.format(cls=cls, inside=inside, connections=connections))
    return bench.slicer.util.loadUI(str(path))


def test_an_unknown_widget_class_is_refused(slicer_bench, tmp_path):
    with pytest.raises(ValueError, match="qMRMLMagicWidget"):
        load(slicer_bench, tmp_path, cls="qMRMLMagicWidget")


def test_an_unknown_property_is_refused(slicer_bench, tmp_path):
    inside = '<property name="shine"><bool>true</bool></property>'
    with pytest.raises(ValueError, match="sets 'shine'"):
        load(slicer_bench, tmp_path, inside=inside)


def test_a_dynamic_property_is_allowed(slicer_bench, tmp_path):
    inside = '<property name="shine" stdset="0"><bool>true</bool></property>'
    assert load(slicer_bench, tmp_path, inside=inside).shine is True


@pytest.mark.parametrize(
    ("signal", "slot", "message"),
    [
        ("mrmlSceneChange(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)", "no signal"),
        ("mrmlSceneChanged(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "does not exist"),
    ],
)
def test_an_unknown_signal_or_slot_is_refused(slicer_bench, tmp_path, signal, slot, message):
    inside = '<widget class="qMRMLNodeComboBox" name="selector"/>'
    connections = (
        f"<connections><connection><sender>Panel</sender><signal>{signal}</signal>"
        f"<receiver>selector</receiver><slot>{slot}</slot></connection></connections>"
    )
    with pytest.raises((ValueError, AttributeError), match=message):
        load(slicer_bench, tmp_path, inside=inside, connections=connections)


# --- slicer ------------------------------------------------------------------------------------------------------


def test_pip_ensure_records_only_what_is_missing(slicer_bench):
    from bench import packaging_stand_in, slicer_app

    packaging = slicer_bench.slicer.packaging
    packaging.pip_ensure(["numpy", "no-such-package>=1"], requester="GenesisSegment", constraints="c.txt")
    assert packaging_stand_in.calls == [
        ("pip_ensure", {"missing": ["no-such-package>=1"], "constraints": "c.txt", "requester": "GenesisSegment"})
    ]
    packaging_stand_in.calls.clear()
    slicer_app.set_testing(slicer_bench.app, True)
    packaging.pip_ensure("no-such-package")
    assert packaging_stand_in.calls == []


def test_requirements_files_are_read_as_in_slicer(slicer_bench, tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("# why\n-c constraints.txt\n\nmonai>=1.5\nno-such; sys_platform == 'atari'\n")
    requirements = slicer_bench.slicer.packaging.load_requirements(path)
    assert [str(each) for each in requirements] == ["monai>=1.5", 'no-such; sys_platform == "atari"']
    assert slicer_bench.slicer.packaging.pip_check(requirements[1])


def test_sample_data_registrations_are_kept(slicer_bench):
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(category="Genesis", sampleName="CT", uris="https://a")
    assert SampleData.sources == [{"category": "Genesis", "sampleName": "CT", "uris": "https://a"}]


def test_render_pauses_come_in_pairs(slicer_bench):
    from bench import slicer_app

    with slicer_bench.slicer.util.RenderBlocker():
        assert slicer_app.render_pauses(slicer_bench.app) == 1
    assert slicer_app.render_pauses(slicer_bench.app) == 0


def test_volumes_and_segmentations_are_saved_and_loaded_through_slicer_util(slicer_bench, tmp_path, segmentation):
    util = slicer_bench.slicer.util
    assert util.saveNode(a_volume(slicer_bench), str(tmp_path / "ct.nrrd"))
    assert util.arrayFromVolume(util.loadVolume(str(tmp_path / "ct.nrrd"))).shape == (3, 4, 5)
    with pytest.raises(RuntimeError, match="Failed to load"):
        util.loadSegmentation(str(tmp_path / "none.seg.nrrd"))


def test_a_temporary_directory_is_inside_the_test_folder(slicer_bench, tmp_path):
    assert str(tmp_path) in slicer_bench.slicer.util.tempDirectory()


def test_torch_is_not_installed_but_the_request_is_kept(slicer_bench):
    import PyTorchUtils

    from bench import packaging_stand_in

    PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=">=2.8")
    assert packaging_stand_in.calls == [
        ("installTorch", {"askConfirmation": False, "torchVersionRequirement": ">=2.8"})
    ]


def test_undo_of_the_editor_restores_the_segment(slicer_bench, editor):
    slicer, scene = slicer_bench.slicer, slicer_bench.scene
    volume = a_volume(slicer_bench)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("liver", "liver")
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1, 1, 1] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "liver", volume)
    editor.setMRMLSegmentEditorNode(scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(segmentation)
    editor.saveStateForUndo()
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones((3, 4, 5), np.uint8), segmentation, "liver", volume)
    editor.undo()
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", volume).sum() == 1
