"""Real MRML for the tests of this room; they are skipped, with the reason, where its wheel is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HAS_MRML = importlib.util.find_spec("slicer_core") is not None


class SkippedModule(pytest.Module):
    """A test module that cannot even be imported."""

    def collect(self) -> Any:
        pytest.skip("real MRML needs the slicer-core wheel", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> Any:
    return None if HAS_MRML else SkippedModule.from_parent(parent, path=module_path)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """A scene with its logics, as `slicer.mrmlScene` and `slicer.modules`."""
    from bench.mrml_app import MrmlApp

    app = MrmlApp().install()
    yield app
    app.close()


@pytest.fixture
def app(bench: Any) -> Any:
    """The bench with an empty scene."""
    bench.clear()
    return bench


@pytest.fixture
def editor(app: Any) -> Any:
    """The writer of local changes, on an editor logic of its own."""
    from GenesisSegmentLib.mrml.editing import Editor

    return Editor(app.segment_editor())


@pytest.fixture
def scene(app: Any, editor: Any) -> Any:
    """What the controller works with."""
    from mrml_builders import SceneAtOnce

    return SceneAtOnce(app.scene, editor)


@pytest.fixture
def volume(app: Any) -> Any:
    """A CT that begins at another voxel than 0 and lies under a transform."""
    from mrml_builders import add_transform, add_volume

    return add_volume(app, start=(3, -2, 5), transform=add_transform(app))


@pytest.fixture
def node(app: Any, scene: Any) -> Any:
    """A segmented patient whose CT begins at another voxel than 0 and lies under a transform."""
    from mrml_builders import add_transform, add_volume, segment

    return segment(scene, add_volume(app, start=(5, 3, -2), transform=add_transform(app)))


@pytest.fixture
def parameters(app: Any) -> Any:
    """What the person chose in the Segment Editor."""
    from GenesisSegmentLib.mrml.editing import editor_node

    return editor_node(app.scene)
