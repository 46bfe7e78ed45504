"""The whole module on the bench: the panel, the real controller and scene, and a worker that only pretends."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core import setup_plan
from GenesisSegmentLib.core.workflow.states import State

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "GenesisSegment" / "GenesisSegment.py"
FAKE = ROOT / "Testing" / "worker" / "fake_worker.py"
FAKE_LEARNER = ROOT / "Testing" / "worker" / "fake_learner.py"
PATIENCE_S = 60


@pytest.fixture
def start(slicer_bench, tmp_path, monkeypatch):
    """Opens the module on a machine that is set up; options go to the worker that pretends."""
    real = setup_plan.check
    monkeypatch.setattr(setup_plan, "check", lambda road: real(road, lambda name: "99.0", int(200e9)))
    monkeypatch.setattr(setup_plan, "_ranges", lambda: dict.fromkeys((n.name for n in setup_plan._NEEDED), ""))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def open_module(*options, learner=()):
        program = folder / "PythonSlicer"
        command = shlex.join([sys.executable, str(FAKE), *options])
        learning = shlex.join([sys.executable, str(FAKE_LEARNER), *learner])
        program.write_text(f'#!/bin/sh\ncase "$*" in *.learner*) exec {learning};; esac\nexec {command}\n')
        program.chmod(0o755)
        return slicer_bench.start(MODULE)

    return open_module


def a_ct(bench, name="CT"):
    """A body in air on an oblique grid."""
    voxels = np.full((12, 15, 18), -1000, np.int16)
    voxels[2:-2, 2:-2, 2:-2] = 40
    angle = np.deg2rad(25)
    to_ras = np.diag((2.0, 2.0, 3.0, 1.0))
    to_ras[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return bench.slicer.util.addVolumeFromArray(voxels, ijkToRAS=to_ras, name=name)


def state(host):
    return host.widget.panel.controller.view.state


def segment(bench, host):
    """Chooses the CT and waits for its result."""
    host.choose("volumeSelector", "CT")
    host.click("segmentButton")
    bench.wait_until(lambda: state(host) is not State.PREDICTING, PATIENCE_S)
    bench.pump(0)


def result_of(bench, host):
    return bench.scene.GetNodeByID(host.widget.panel.controller.view.correct.segmentation_id)
