"""Registration of the module in 3D Slicer. What it does is in GenesisSegmentLib."""

from __future__ import annotations

import logging
import sys
from typing import Any
from unittest import SkipTest

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from GenesisSegmentLib.core.resources import resource


class GenesisSegment(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened. Nothing is computed, installed or fetched here."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = "GenesisSegment"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "SubjectHierarchy", "Terminologies", "Volumes"]
        parent.contributors = ["The GenesisSegment contributors"]
        parent.helpText = _("""
<p>Segments 25 organs and 7 kinds of lesion on CT, lets you correct the result with the Segment Editor, and exports it.
Everything runs on this computer; nothing is sent anywhere.</p>
<p><b>Not a medical device. Not for clinical use.</b> The bundled starter model is coarse. Models that can be downloaded
have licences of their own, some of which exclude commercial use; they are shown before a download.</p>
<p>To start: load a CT, press Segment. On first use the Set-up part says what has to be installed.
<a href="https://github.com/GenesisSegment/SlicerGenesisSegment">Tutorial and documentation</a>.</p>
""")
        parent.acknowledgementText = _("""
<p>Builds on 3D Slicer, MONAI, PyTorch and ONNX Runtime. The models that can be used are those of the CLIP-Driven
Universal Model (Liu et al., ICCV 2023), SuPreM (Li et al., ICLR 2024) and Models Genesis (Zhou et al., MICCAI 2019);
please cite the one that you use.</p>
""")
        # In a checkout the resources lie one folder above the place where the base class looks.
        parent.icon = qt.QIcon(str(resource("Icons/GenesisSegment.png")))
        slicer.app.connect("startupCompleted()", _register_sample_data)


def _register_sample_data() -> None:
    from GenesisSegmentLib.ui import sample_data

    sample_data.register()


class GenesisSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: loads the .ui file and passes on what Slicer tells of module and scene."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel: Any = None

    def setup(self) -> None:
        """Slicer calls it when the module is opened for the first time."""
        super().setup()
        from GenesisSegmentLib.ui import module_widget, translations

        translations.install()
        widget = slicer.util.loadUI(str(resource("UI/GenesisSegment.ui")))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = module_widget.build(self.ui, widget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_scene_about_to_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_scene_closed)
        self.addObserver(scene, scene.EndImportEvent, self._on_scene_imported)
        self.addObserver(scene, scene.NodeRemovedEvent, self._on_node_removed)

    def cleanup(self) -> None:
        """The module is unloaded or reloaded."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None

    def enter(self) -> None:
        """The module is selected."""
        self.panel.enter()

    def exit(self) -> None:
        """Another module is selected."""
        self.panel.exit()

    def onReload(self) -> None:
        """For developers: the library is loaded anew too."""
        for name in [name for name in sys.modules if name.split(".")[0] == "GenesisSegmentLib"]:
            del sys.modules[name]
        super().onReload()

    def _on_scene_about_to_close(self, _caller: Any, _event: Any) -> None:
        self.panel.scene_about_to_close()

    def _on_scene_closed(self, _caller: Any, _event: Any) -> None:
        self.panel.scene_closed()

    def _on_scene_imported(self, _caller: Any, _event: Any) -> None:
        self.panel.scene_loaded()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_removed(self, _caller: Any, _event: Any, node: Any) -> None:
        if not slicer.mrmlScene.IsClosing():
            self.panel.node_removed(node)


class GenesisSegmentLogic(ScriptedLoadableModuleLogic):
    """For scripts: segments without the panel."""

    def segment(self, volume: Any, classes: tuple[int, ...] | None = None, device: str = "auto") -> Any:
        """Segments a CT and waits for it; returns the segmentation node.

        ``volume`` is a vtkMRMLScalarVolumeNode, ``classes`` are class indices (None: all that the model offers).

        Raises:
            GenesisSegmentLib.core.errors.GenesisError: it could not be done; says why.
        """
        from GenesisSegmentLib.ui.scripting import segment

        return slicer.mrmlScene.GetNodeByID(segment(volume.GetID(), classes, device))


class GenesisSegmentTest(ScriptedLoadableModuleTest):
    """The self-test inside Slicer (see Testing/in_slicer/self_test.py). Installs and fetches nothing."""

    def setUp(self) -> None:
        """Every step begins with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """All steps, for the Reload and Test button."""
        for step in (self.test_panel, self.test_refusal, self.test_starter):
            self.setUp()
            try:
                step()
            except SkipTest as reason:
                logging.warning("GenesisSegment: %s is skipped: %s", step.__name__, reason)

    def test_panel(self) -> None:
        """The panel follows the scene."""
        from GenesisSegmentLib.ui import self_test

        self_test.panel_follows_the_scene()

    def test_refusal(self) -> None:
        """What is no CT is refused."""
        from GenesisSegmentLib.ui import self_test

        self_test.empty_volume_is_refused()

    def test_starter(self) -> None:
        """The starter segments a made-up CT, where its packages are installed."""
        from GenesisSegmentLib.ui import self_test

        missing = self_test.missing_packages()
        if missing:
            self.skipTest(f"not installed: {missing}")
        self_test.starter_segments()
