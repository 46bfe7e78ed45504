"""The parts of `slicer` that the wheel of Slicer's libraries lacks: the application, translation, module base classes.

`slicer.util` is the wheel's own, unchanged, apart from the settings of Python's `slicer` package that it reads; its
message boxes end in `bench.dialogs.recorder`. The application is told not to be in testing mode, so that a message is
recorded rather than skipped; `app.set_testing(True)` changes that.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, QObject, Signal

from . import core_io, packaging_stand_in, qmrml_widgets, qt_adaptor, scripted_module, segment_widgets, slice_views
from .standin import StandIn

VERSION = (5, 12, 3)


class qSlicerModuleManager(StandIn, QObject):
    """Knows the loaded modules by name."""

    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._modules = {}

    def module(self, name):
        """The module of that name, or None."""
        return self._modules.get(name) or getattr(sys.modules["slicer"].modules, name.lower(), None)

    def modulesNames(self):
        """Names of all modules."""
        return tuple(self._modules)


class qSlicerLayoutManager(StandIn, QObject):
    """Three slice views, of which nothing is drawn, and no other views; the layout number is only kept."""

    layoutChanged = Signal(int)
    layout = Property(int, lambda self: self._layout, lambda self, value: self.setLayout(value))
    threeDViewCount = Property(int, lambda self: 0)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._layout = 1
        self._slices = {}

    def setLayout(self, layout):
        """Keep the number and tell."""
        if layout != self._layout:
            self._layout = layout
            self.layoutChanged.emit(layout)

    def sliceViewNames(self):
        """Names of the slice views."""
        return slice_views.NAMES

    def sliceWidget(self, name):
        """The view of that name, made when it is first asked for."""
        if name in slice_views.NAMES and name not in self._slices:
            self._slices[name] = slice_views.qMRMLSliceWidget(name)
        return self._slices.get(name)

    def threeDWidget(self, index):
        """None: there are no views."""

    def resetThreeDViews(self):
        """Nothing to reset."""

    def resetSliceViews(self):
        """Nothing to reset."""


class qSlicerApplication(StandIn, QtWidgets.QApplication):
    """`slicer.app`: one in a process."""

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    renderPaused = Signal(bool)
    urlReceived = Signal(str)

    majorVersion = Property(int, lambda self: VERSION[0])
    minorVersion = Property(int, lambda self: VERSION[1])
    revision = Property(str, lambda self: "0")
    platform = Property(str, lambda self: "bench")
    releaseType = Property(str, lambda self: "Experimental")
    slicerHome = Property(str, lambda self: str(self._folder / "home"))
    slicerSharePath = Property(str, lambda self: f"share/Slicer-{VERSION[0]}.{VERSION[1]}")
    temporaryPath = Property(str, lambda self: str(self._folder / "tmp"))
    cachePath = Property(str, lambda self: str(self._folder / "cache"))
    extensionsInstallPath = Property(str, lambda self: str(self._folder / "extensions"))
    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io/en/latest")

    def __init__(self):
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer.org")
        self.setApplicationVersion(".".join(map(str, VERSION)))
        self._folder, self._testing, self._paused = Path(), False, 0
        self._modules, self._layouts = qSlicerModuleManager(self), qSlicerLayoutManager(self)
        self._core_io = core_io.qSlicerCoreIOManager(self)
        self._application_logic = None
        # `slicer.util` shows no error message where there is no main window.
        self._main_window = QtWidgets.QMainWindow()
        self._main_window.setObjectName("qSlicerMainWindow")

    # What Slicer offers

    def mrmlScene(self):
        """The scene."""
        return sys.modules["slicer"].mrmlScene

    def applicationLogic(self):
        """The application logic, where the bring-up of MRML gave one."""
        return self._application_logic

    def coreIOManager(self):
        """Reads and writes nodes."""
        return self._core_io

    def moduleManager(self):
        """The loaded modules."""
        return self._modules

    def layoutManager(self):
        """The views."""
        return self._layouts

    def userSettings(self):
        """The person's settings; on the bench a temporary file."""
        return QtCore.QSettings()

    def settings(self):
        """As `userSettings`, deprecated in Slicer."""
        return QtCore.QSettings()

    def revisionUserSettings(self):
        """Settings of this revision; on the bench the same temporary file."""
        return QtCore.QSettings()

    def testingEnabled(self):
        """Whether Slicer was started with `--testing`."""
        return self._testing

    def startupEnvironment(self):
        """The environment without Slicer's own paths."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pauseRender(self):
        """Count, so that a test can see that pauses come in pairs."""
        self._paused += 1

    def resumeRender(self):
        """End a pause."""
        self._paused -= 1

    def setRenderPaused(self, paused):
        """Pause or resume."""
        self._paused += 1 if paused else -1

    def restart(self):
        """A real restart would end the test: only note it."""
        from .dialogs import recorder

        recorder.tell("restart", "")

    def moduleDocumentationUrl(self, name):
        """Address of a module's page."""
        return f"{self.documentationBaseUrl}/user_guide/modules/{name.lower()}.html"


def render_pauses(app: qSlicerApplication) -> int:
    """How many pauses of rendering are open: 0 where every pause was resumed."""
    return app._paused


def set_testing(app: qSlicerApplication, enabled: bool) -> None:
    """Make the application say that it runs with `--testing`."""
    app._testing = enabled


def _i18n() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n", "Translation that returns the text itself.")

    def tr(text: str) -> str:
        return text

    def translate(context: str, text: str) -> str:
        return text

    module.tr, module.translate = tr, translate
    return module


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a caller gave, out of `locals()` of the function."""
    free = ("self", "sources", "categories", "packaging_stand_in")
    return {key: value for key, value in arguments.items() if value is not None and key not in free}


def _sample_data() -> types.ModuleType:
    module = types.ModuleType("SampleData", "Stand-in that keeps what is registered.")

    sources: list[dict[str, Any]] = []
    categories: list[tuple[str, str | None]] = []

    class SampleDataLogic:
        """Keeps registrations in the module's `sources` and `categories`, which Slicer's module does not have."""

        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
            thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties=None, checksums=None,
            loadFileType=None,
        ):  # fmt: skip
            """Keep the arguments."""
            sources.append(_given(locals()))

        @staticmethod
        def registerCustomSampleDataCategory(category, title=None):
            """Keep the arguments."""
            categories.append((category, title))

    module.SampleDataLogic = SampleDataLogic
    module.sources, module.categories = sources, categories
    return module


def _torch_utils() -> types.ModuleType:
    module = types.ModuleType("PyTorchUtils", "Stand-in for the PyTorch extension: records, installs nothing.")

    class PyTorchUtilsLogic:
        """`installTorch` records its arguments in `packaging_stand_in.calls`."""

        @staticmethod
        def torchInstalled():
            """Whether torch can be imported, without importing it."""
            import importlib.util

            return importlib.util.find_spec("torch") is not None

        def installTorch(
            self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None,
            torchvisionVersionRequirement=None,
        ):  # fmt: skip
            """Record the request."""
            packaging_stand_in.calls.append(("installTorch", _given(locals())))

    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    return module


def install() -> qSlicerApplication:
    """Put the application, the module base classes and the helpers into `slicer`, once in a process."""
    existing = QtWidgets.QApplication.instance()
    if isinstance(existing, qSlicerApplication):
        return existing
    import slicer
    import slicer.util

    qt_adaptor.install()
    app = qSlicerApplication()
    slicer.app = app
    slicer.modules = types.SimpleNamespace()
    for name, cls in {**qmrml_widgets.CLASSES, **segment_widgets.CLASSES}.items():
        setattr(slicer, name, cls)
    submodules = {"i18n": _i18n(), "packaging": packaging_stand_in.module()}
    for name, module in submodules.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    slicer.ScriptedLoadableModule = scripted_module
    sys.modules["slicer.ScriptedLoadableModule"] = scripted_module
    sys.modules["SampleData"], sys.modules["PyTorchUtils"] = _sample_data(), _torch_utils()
    slicer.qSlicerScriptedLoadableModule = scripted_module.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = scripted_module.qSlicerScriptedLoadableModuleWidget
    return app


def use_folder(app: qSlicerApplication, folder: Path) -> None:
    """Keep settings, temporary files and caches of the application in a folder."""
    app._folder = folder
    for name in ("home", "tmp", "cache", "extensions"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
        QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(folder / "settings"))


def use_scene(app: qSlicerApplication, mrml: Any) -> None:
    """Take over a scene that `bench.mrml_app` brought up, and forget the last test's state."""
    app._application_logic = mrml.application_logic
    app._paused, app._testing = 0, False
    for each in (app, app._modules, app._layouts):
        each.disconnect()  # what the last test's module had connected
    app._modules._modules.clear()
    app._layouts._layout = 1
    app._layouts._slices.clear()
    sample_data = sys.modules["SampleData"]
    sample_data.sources.clear()
    sample_data.categories.clear()
    app.mrmlSceneChanged.emit(mrml.scene)
