"""The Slicer bench as fixtures; tests that need it are skipped, with the reason, where it cannot be brought up."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def bench_app() -> Any:
    """`slicer.app` on PySide6 and Slicer's own libraries, one for the whole process."""
    try:
        for name in ("PySide6.QtWidgets", "PySide6.QtUiTools", "slicer_core"):
            importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"the Slicer bench needs slicer-core and PySide6_Essentials: {error}")
    from bench import slicer_app

    return slicer_app.install()


@dataclass
class SlicerBench:
    """A fresh scene and fresh settings, and the way to load modules on them."""

    app: Any
    slicer: ModuleType
    qt: ModuleType
    ctk: ModuleType
    mrml: Any
    dialogs: Any
    hosts: list[Any] = field(default_factory=list)

    @property
    def scene(self) -> Any:
        """The MRML scene."""
        return self.slicer.mrmlScene

    def load(self, path: Path) -> Any:
        """Load a scripted module file, not set up yet; it is cleaned up after the test."""
        from bench.host import ModuleHost

        self.hosts.append(ModuleHost(path))
        return self.hosts[-1]

    def start(self, path: Path) -> Any:
        """Load a scripted module file, build its panel and enter it."""
        return self.load(path).start()

    @property
    def pump(self) -> Callable[[int], None]:
        """Run the event loop for some milliseconds."""
        from bench.host import pump

        return pump

    @property
    def wait_until(self) -> Callable[..., None]:
        """Run the event loop until a condition holds."""
        from bench.host import wait_until

        return wait_until


def _is_ours(name: str) -> bool:
    return name.split(".")[0] == "GenesisSegmentLib"


def _undo_reload(library: dict[str, ModuleType]) -> None:
    """Reloading the module loads the library anew; the next test must meet the classes that it imported."""
    if all(sys.modules.get(name) is module for name, module in library.items()):
        return
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    sys.modules.update(library)


@pytest.fixture
def slicer_bench(bench_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlicerBench]:
    """The bench with a fresh scene, settings and data in temporary folders, no recorded dialogs or installations.

    A test in which a slot raised fails, unless it cleared `bench.qt_adaptor.slot_errors`.
    """
    import ctk
    import qt
    import slicer

    from bench import dialogs, mrml_app, packaging_stand_in, qt_adaptor, slicer_app

    library = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    mrml = mrml_app.MrmlApp().install()
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    slicer_app.use_folder(bench_app, tmp_path / "slicer")
    slicer_app.use_scene(bench_app, mrml)
    dialogs.recorder.reset()
    packaging_stand_in.calls.clear()
    qt_adaptor.slot_errors.clear()
    bench = SlicerBench(bench_app, slicer, qt, ctk, mrml, dialogs.recorder)
    yield bench
    for host in bench.hosts:
        host.cleanup()
    bench.pump(0)
    mrml.close()
    _undo_reload(library)
    assert not qt_adaptor.slot_errors, "a slot raised; Slicer would only have printed it"


@pytest.fixture
def make_panel(slicer_bench: SlicerBench) -> Iterator[Callable[[], Any]]:
    """Makes the module's panel with a recording controller behind it (`panel_builders`)."""
    from panel_builders import PanelOnBench

    panels: list[PanelOnBench] = []

    def make() -> PanelOnBench:
        panels.append(PanelOnBench(slicer_bench))
        return panels[-1]

    yield make
    for panel in panels:
        panel.close()
