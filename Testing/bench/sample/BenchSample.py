"""A module of the usual shape, for the bench's own tests."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class BenchSample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Bench sample")
        slicer.app.connect("startupCompleted()", self.register_sample_data)
        self.registered = False

    def register_sample_data(self):
        self.registered = True


class BenchSampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/BenchSample.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = BenchSampleLogic()
        self.ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.on_volume)
        self.ui.applyButton.connect("clicked(bool)", self.on_apply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.on_close)
        self.timer = qt.QTimer()
        self.timer.setInterval(1)
        self.timer.connect("timeout()", lambda: self.log.append("tick"))

    def enter(self):
        self.log.append("enter")

    def exit(self):
        self.log.append("exit")

    def cleanup(self):
        self.log.append("cleanup")
        self.timer.stop()
        self.removeObservers()

    def on_close(self, _caller, _event):
        self.log.append("close")

    def on_volume(self, node):
        self.ui.applyButton.enabled = node is not None
        self.ui.applyButton.toolTip = "" if node else _("Choose a volume first.")
        self.ui.statusLabel.text = node.GetName() if node else ""

    def on_apply(self):
        if slicer.util.confirmOkCancelDisplay("Go on?"):
            self.logic.apply(self.ui.volumeSelector.currentNode())
            self.ui.progressBar.value = 100


class BenchSampleLogic(ScriptedLoadableModuleLogic):
    def apply(self, volume):
        array = slicer.util.arrayFromVolume(volume)
        array += 1
        slicer.util.arrayFromVolumeModified(volume)
        self.getParameterNode().SetNodeReferenceID("volume", volume.GetID())


class BenchSampleTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.done = vtk.vtkVersion.GetVTKVersion()
