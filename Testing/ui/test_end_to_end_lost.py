"""What goes wrong during a real run: the process killed, the CT gone, the scene closed. Real MRML, stand-in Qt."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")

from end_to_end import Session, is_alive, kill, oblique_phantom, put_python_on_path, wait_gone
from GenesisSegmentLib.core.workflow.states import State

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")


@pytest.fixture
def running(slicer_bench, tmp_path, monkeypatch):
    """The module in the middle of a run, with an organ shown already."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    session = Session(slicer_bench)
    session.volume = session.add_ct(oblique_phantom())
    session.choose()
    session.before = session.nodes()
    session.run_until_early()
    return session


def test_killed_process_is_told_in_one_message_and_the_next_run_works(running):
    first = running.pid
    kill(first)
    running.wait(lambda: running.state is State.FAILED, 10)
    assert "segmentation process was ended" in running.message
    assert "try again" in running.message.lower()
    assert running.bench.dialogs.shown == []
    assert running.nodes() == running.before
    running.segment()
    assert running.pid != first
    assert wait_gone(first)
    assert running.masks(running.volume)["liver"].any()


def test_ct_deleted_during_a_run_ends_it(running):
    running.slicer.mrmlScene.RemoveNode(running.volume)
    running.bench.pump(0)
    assert running.state is State.NO_VOLUME
    running.bench.pump(1500)
    assert running.nodes("vtkMRMLSegmentationNode") == {}
    running.volume = running.add_ct(oblique_phantom(), "Another")
    running.choose("Another")
    running.segment()
    assert running.masks(running.volume)["liver"].any()


def test_scene_closed_during_a_run_ends_it(running):
    running.host.close_scene()
    assert running.state is State.NO_VOLUME
    running.bench.pump(1500)
    assert running.nodes("vtkMRMLSegmentationNode") == {}
    assert is_alive(running.pid), "kept warm for the next scene"


def test_voxels_changed_during_a_run_are_not_given_the_result(running):
    voxels = running.slicer.util.arrayFromVolume(running.volume)
    voxels[:] = np.flip(voxels, axis=2).copy()
    running.slicer.util.arrayFromVolumeModified(running.volume)
    running.wait(lambda: running.state is State.FAILED, 10)
    assert "changed" in running.message
    assert running.nodes("vtkMRMLSegmentationNode") == {}


def test_module_closed_during_a_run_leaves_no_process_and_no_nodes(running):
    pid = running.pid
    running.host.cleanup()
    assert wait_gone(pid)
    assert running.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
