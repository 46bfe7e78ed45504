"""The adaptor gives PySide6 the look of PythonQt, and raises where PythonQt would."""

from __future__ import annotations

from functools import partial

import pytest


@pytest.fixture
def qt(slicer_bench):
    return slicer_bench.qt


# --- attributes --------------------------------------------------------------------------------------------------


def test_properties_are_attributes(qt):
    button = qt.QPushButton("Apply")
    button.enabled = False
    button.toolTip = "why not"
    assert (button.text, button.enabled, button.isEnabled(), button.toolTip) == ("Apply", False, False, "why not")


def test_name_is_the_object_name(qt):
    label = qt.QLabel()
    label.name = "status"
    assert (label.name, label.objectName) == ("status", "status")
    label.objectName = "other"
    assert label.name == "other"


@pytest.mark.parametrize("call", ["text", "checked", "objectName"])
def test_a_property_cannot_be_called(qt, call):
    with pytest.raises(TypeError, match="not callable"):
        getattr(qt.QCheckBox("x"), call)()


def test_counts_of_item_widgets_are_properties(qt):
    tree, table, combo = qt.QTreeWidget(), qt.QTableWidget(), qt.QComboBox()
    tree.addTopLevelItem(qt.QTreeWidgetItem(["liver"]))
    combo.addItem("CPU")
    table.rowCount = 3
    assert (tree.topLevelItemCount, table.rowCount, combo.count) == (1, 3, 1)


@pytest.mark.parametrize("name", ["txt", "isChecked_", "setTexts"])
def test_an_unknown_attribute_raises_on_reading(qt, name):
    with pytest.raises(AttributeError):
        getattr(qt.QPushButton(), name)


@pytest.mark.parametrize("name", ["txt", "isCheckd", "_private"])
def test_an_unknown_attribute_raises_on_writing(qt, name):
    with pytest.raises(AttributeError, match="no property"):
        setattr(qt.QPushButton(), name, 1)


def test_a_read_only_property_cannot_be_set(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QComboBox().count = 3


def test_a_value_of_the_wrong_type_is_refused(qt):
    with pytest.raises(AttributeError, match="does not take"):
        qt.QProgressBar().value = "many"


def test_bool_properties_take_any_truthy_value(qt):
    button = qt.QPushButton()
    button.enabled = []
    assert button.enabled is False
    button.checkable = "yes"
    assert button.checkable is True


def test_string_lists_come_back_as_tuples(slicer_bench, qt):
    selector = slicer_bench.slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)


def test_a_class_derived_in_python_keeps_its_own_attributes_and_has_the_properties(qt):
    class Row(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.organ = "liver"

        def rows(self):
            return 4

    row = Row()
    row.other = 2
    row.toolTip = "tip"
    assert (row.organ, row.other, row.rows(), row.toolTip, row.enabled) == ("liver", 2, 4, "tip", True)


def test_a_class_derived_in_python_cannot_overwrite_a_method(qt):
    class Row(qt.QWidget):
        def __init__(self):
            super().__init__()
            self.layout = qt.QVBoxLayout(self)

    with pytest.raises(AttributeError, match="'layout' is a method of QWidget"):
        Row()


def test_a_stand_in_takes_no_new_attributes(slicer_bench):
    with pytest.raises(AttributeError, match="no property"):
        slicer_bench.ctk.ctkCollapsibleButton().colapsed = True


def test_size_hints_of_nested_layouts_do_not_recurse(qt):
    window = qt.QWidget()
    inner = window
    for _ in range(15):
        layout = qt.QVBoxLayout(inner)
        inner = qt.QFrame()
        layout.addWidget(inner)
    layout = qt.QVBoxLayout(inner)
    layout.addWidget(qt.QLabel("deep"))
    assert window.sizeHint.width() > 10


def test_dynamic_properties_are_attributes(qt):
    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "volume")
    assert widget.SlicerParameterName == "volume"
    widget.SlicerParameterName = "other"
    assert widget.property("SlicerParameterName") == "other"


# --- signals -----------------------------------------------------------------------------------------------------


def test_connect_by_signature(qt):
    seen = []
    box = qt.QCheckBox()
    assert box.connect("toggled(bool)", seen.append)
    box.checked = True
    assert seen == [True]


@pytest.mark.parametrize("signature", ["clicked(bool)", "clicked()"])
def test_a_slot_gets_only_as_many_arguments_as_it_takes(qt, signature):
    seen = []
    button = qt.QPushButton()
    button.connect(signature, lambda: seen.append("none"))
    button.click()
    assert seen == ["none"]


def test_a_default_argument_of_a_slot_is_filled_by_the_signal(qt):
    # The trap of `lambda name=name: ...` on `clicked(bool)`, in PythonQt as in PySide6.
    seen = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", lambda name="liver": seen.append(name))
    button.click()
    assert seen == [False]


def test_a_partial_gets_every_argument_of_the_signal(qt):
    seen = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", partial(lambda *a: seen.append(a), "liver"))
    button.connect("clicked()", partial(lambda *a: seen.append(a), "spleen"))
    button.click()
    assert seen == [("liver", False), ("spleen",)]


def test_an_exception_in_a_slot_is_kept(qt, capfd):
    from bench import qt_adaptor

    def fail():
        raise KeyError("liver")

    button = qt.QPushButton()
    button.connect("clicked()", fail)
    button.click()
    assert [type(each) for each in qt_adaptor.slot_errors] == [KeyError]
    qt_adaptor.slot_errors.clear()
    assert "KeyError" in capfd.readouterr().err


def test_a_bound_method_stays_connected_without_another_reference(qt):
    seen = []

    class Listener:
        def heard(self, text):
            seen.append(text)

    edit = qt.QLineEdit()
    edit.connect("textChanged(QString)", Listener().heard)
    edit.text = "hello"
    assert seen == ["hello"]


def test_an_unknown_signal_raises(qt):
    with pytest.raises(AttributeError, match=r"no signal 'clickd\(bool\)'"):
        qt.QPushButton().connect("clickd(bool)", print)
    with pytest.raises(AttributeError, match="no signal"):
        qt.QComboBox().connect("currentIndexChanged(QString)", print)


def test_disconnect_takes_away_one_slot_or_all(qt):
    seen = []

    def first():
        seen.append(1)

    def second():
        seen.append(2)

    button = qt.QPushButton()
    button.connect("clicked()", first)
    button.connect("clicked()", second)
    assert button.disconnect("clicked()", first)
    button.click()
    assert seen == [2]
    assert not button.disconnect("clicked()", first)
    assert button.disconnect("clicked()")
    button.click()
    assert seen == [2]


def test_a_bound_method_can_be_disconnected(qt):
    class Counter:
        count = 0

        def tick(self):
            self.count += 1

    counter, button = Counter(), qt.QPushButton()
    button.connect("clicked()", counter.tick)
    assert button.disconnect("clicked()", counter.tick)
    button.click()
    assert counter.count == 0


def test_signals_also_connect_as_attributes(qt):
    seen = []
    button = qt.QPushButton()
    button.clicked.connect(lambda: seen.append(1))
    button.click()
    assert seen == [1]


def test_single_shot_timer(slicer_bench, qt):
    seen = []
    qt.QTimer.singleShot(1, lambda: seen.append(1))
    slicer_bench.wait_until(lambda: seen)


def test_blocked_signals_are_silent(qt):
    seen = []
    combo = qt.QComboBox()
    combo.connect("currentIndexChanged(int)", seen.append)
    was = combo.blockSignals(True)
    combo.addItem("CPU")
    combo.blockSignals(was)
    combo.addItem("GPU")
    combo.currentIndex = 1
    assert seen == [1]


# --- objects -----------------------------------------------------------------------------------------------------


def test_children_are_found_by_class_and_by_class_name(qt):
    window = qt.QWidget()
    frame = qt.QFrame(window)
    button = qt.QPushButton(frame)
    button.name = "go"
    assert window.findChild("QAbstractButton", "go") is button
    assert window.findChild(qt.QPushButton, "go") is button
    assert window.findChild("QPushButton", "stop") is None
    assert window.findChildren("QFrame") == (frame,)


def test_class_name_and_delete(qt):
    label = qt.QLabel()
    assert label.className() == "QLabel"
    label.delete()
    with pytest.raises(RuntimeError, match="already deleted"):
        label.setText("x")


def test_enumerations_have_their_short_names(qt):
    item = qt.QTreeWidgetItem(["liver"])
    item.setCheckState(0, qt.Qt.Checked)
    assert item.checkState(0) == qt.Qt.Checked
    assert qt.QMessageBox.Ok
    assert qt.Qt.UserRole
    assert qt.QSizePolicy.Expanding is not None


def test_only_qt_names_are_in_qt(qt):
    assert not hasattr(qt, "Signal")
    assert not hasattr(qt, "Slot")
    assert not hasattr(qt, "SIGNAL")


def test_settings_live_in_the_test_folder(slicer_bench, qt, tmp_path):
    settings = qt.QSettings()
    settings.setValue("GenesisSegment/Device", "cpu")
    settings.sync()
    assert str(tmp_path) in settings.fileName()
    assert slicer_bench.app.userSettings().value("GenesisSegment/Device") == "cpu"
    assert slicer_bench.slicer.util.settingsValue("GenesisSegment/Device", "") == "cpu"


def test_settings_of_one_test_do_not_reach_the_next(slicer_bench, qt):
    assert not qt.QSettings().contains("GenesisSegment/Device")


# --- dialogs -----------------------------------------------------------------------------------------------------


def test_a_file_dialog_returns_one_string(slicer_bench, qt):
    assert qt.QFileDialog.getSaveFileName(None, "Save as", "/tmp", "NIfTI (*.nii.gz)") == ""
    slicer_bench.dialogs.answers.append("/tmp/a.nii.gz")
    assert qt.QFileDialog.getSaveFileName(None, "Save as") == "/tmp/a.nii.gz"
    assert slicer_bench.dialogs.texts("getSaveFileName") == ["Save as", "Save as"]


def test_message_helpers_of_slicer_are_recorded(slicer_bench):
    util = slicer_bench.slicer.util
    util.errorDisplay("it broke", detailedText="trace")
    assert util.confirmYesNoDisplay("sure?") is False
    slicer_bench.dialogs.answers.append(True)
    assert util.confirmYesNoDisplay("sure?") is True
    assert slicer_bench.dialogs.texts() == ["it broke", "sure?", "sure?"]
    assert slicer_bench.dialogs.shown[0].arguments["detailedText"] == "trace"


def test_in_testing_mode_slicer_shows_no_message(slicer_bench):
    from bench import slicer_app

    slicer_app.set_testing(slicer_bench.app, True)
    slicer_bench.slicer.util.errorDisplay("it broke")
    assert slicer_bench.dialogs.shown == []


def test_a_modal_dialog_does_not_block(slicer_bench, qt):
    dialog = qt.QDialog()
    dialog.windowTitle = "Set up"
    assert dialog.exec_() == 0
    slicer_bench.dialogs.answers.append(True)
    assert dialog.exec_() == 1
    assert slicer_bench.dialogs.texts("QDialog") == ["Set up", "Set up"]
