"""Accept and Learn in the whole module: real scene, real files, and processes that only pretend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core.home import outbox_folder, store_folder
from GenesisSegmentLib.core.identity import local_salt
from GenesisSegmentLib.core.outbox import Outbox
from module_builders import PATIENCE_S, ROOT, a_ct, result_of, segment, start

__all__ = ["start"]


def outbox() -> Outbox:
    return Outbox(outbox_folder(), local_salt(store_folder()))


def view(host):
    return host.widget.panel.controller.view


def review(bench, host, *segment_ids):
    for segment_id in segment_ids:
        host.widget.panel.controller.set_reviewed(segment_id, True)
    bench.pump(0)


def accept(bench, host):
    host.click("acceptButton")
    bench.wait_until(lambda: view(host).status.kind != "busy", PATIENCE_S)
    bench.pump(0)


def segment_ids(host):
    return [row.segment.segment_id for row in view(host).correct.rows]


def test_what_was_accepted_is_a_file_before_the_button_comes_back(slicer_bench, start):
    from GenesisSegmentLib.mrml.reading import read_mask
    from GenesisSegmentLib.mrml.volumes import placement

    ct = a_ct(slicer_bench)
    host = start(learner=("--on", "ingest=busy"))
    segment(slicer_bench, host)
    assert not host.ui.acceptButton.enabled
    kidney, *_others = segment_ids(host)
    review(slicer_bench, host, kidney)
    accept(slicer_bench, host)
    assert host.ui.acceptButton.enabled
    assert "Accepted and safe on disk" in host.ui.statusLabel.text
    (path,) = outbox().pending()
    kept = outbox().read(path).acceptance
    grid, node = placement(ct).geometry, result_of(slicer_bench, host)
    assert [c.label for c in kept.classes] == [kidney]
    assert np.array_equal(kept.classes[0].mask, read_mask(node, kidney, grid))
    assert kept.classes[0].mask.any()
    assert kept.volume.geometry.matches(grid, 1e-6)
    assert np.array_equal(kept.volume.voxels, np.transpose(slicer_bench.slicer.util.arrayFromVolume(ct)))
    assert kept.model == "starter"


def test_learning_from_accept_to_the_new_model(slicer_bench, start):
    a_ct(slicer_bench)
    host = start(learner=("--steps", "3", "--pause", "0.05"))
    assert host.ui.learnCollapsibleButton.isHidden()
    segment(slicer_bench, host)
    review(slicer_bench, host, *segment_ids(host)[:2])
    accept(slicer_bench, host)
    slicer_bench.wait_until(lambda: "Accepted cases: 1; corrections: 1" in host.ui.learnCountsLabel.text, PATIENCE_S)
    assert outbox().pending() == ()
    host.ui.learnCollapsibleButton.collapsed = False
    host.click("learnButton")
    slicer_bench.wait_until(lambda: view(host).learn.rows, PATIENCE_S)
    slicer_bench.pump(0)
    assert host.ui.scoresTable.item(0, 0).text() == "Liver"
    assert "better model" in host.ui.outcomeLabel.text
    assert host.ui.openReportButton.enabled
    slicer_bench.wait_until(lambda: "Starter, round 1" in host.ui.inUseLabel.text, PATIENCE_S)
    host.click("goBackButton")
    slicer_bench.wait_until(lambda: "came before all versions" in host.ui.inUseLabel.text, PATIENCE_S)


def test_a_round_can_be_paused_and_stopped(slicer_bench, start):
    a_ct(slicer_bench)
    host = start(learner=("--steps", "5000", "--pause", "0.01"))
    segment(slicer_bench, host)
    review(slicer_bench, host, segment_ids(host)[0])
    accept(slicer_bench, host)
    slicer_bench.wait_until(lambda: view(host).learn.learn.is_enabled, PATIENCE_S)
    host.ui.learnCollapsibleButton.collapsed = False
    host.click("learnButton")
    slicer_bench.wait_until(lambda: host.ui.roundProgressBar.value > 0, PATIENCE_S)
    host.click("pauseLearningButton")
    slicer_bench.wait_until(lambda: host.ui.pauseLearningButton.text == "Go on", PATIENCE_S)
    slicer_bench.wait_until(lambda: host.ui.pauseLearningButton.enabled, PATIENCE_S)
    host.click("pauseLearningButton")
    slicer_bench.wait_until(lambda: host.ui.pauseLearningButton.text == "Pause", PATIENCE_S)
    host.exit()
    assert host.widget.panel._timer.active  # the round is followed all the same
    host.enter()
    host.click("stopLearningButton")
    slicer_bench.wait_until(lambda: "was stopped" in host.ui.outcomeLabel.text, PATIENCE_S)


def test_a_learner_that_dies_loses_nothing_that_was_accepted(slicer_bench, start):
    a_ct(slicer_bench)
    host = start(learner=("--on", "ingest=exit:1"))
    segment(slicer_bench, host)
    review(slicer_bench, host, segment_ids(host)[0])
    accept(slicer_bench, host)
    assert "Accepted and safe on disk" in host.ui.statusLabel.text
    slicer_bench.wait_until(lambda: "The last words of the worker" in host.ui.learnNoteLabel.text, PATIENCE_S)
    assert "not yet taken into the case store: 1." in host.ui.learnNoteLabel.text
    assert host.ui.learnNoteLabel.text.startswith("The learning process ended unexpectedly")
    assert len(outbox().pending()) == 1


def test_full_disk_is_said_and_the_ticks_stay(slicer_bench, start, monkeypatch):
    a_ct(slicer_bench)
    host = start()
    segment(slicer_bench, host)
    review(slicer_bench, host, segment_ids(host)[0])
    outbox_folder().parent.mkdir(parents=True, exist_ok=True)
    outbox_folder().write_bytes(b"a file is in the way")
    accept(slicer_bench, host)
    assert host.ui.statusLabel.text.startswith("Nothing was accepted; the reviewed ticks stay.")
    assert view(host).correct.rows[0].segment.is_reviewed
    outbox_folder().unlink()
    accept(slicer_bench, host)
    assert "Accepted and safe on disk" in host.ui.statusLabel.text


KILLED = """
import os, sys
from pathlib import Path
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path[:0] = [{library!r}, {testing!r}]
from bench import mrml_app, slicer_app
app = slicer_app.install()
mrml = mrml_app.MrmlApp().install()
slicer_app.use_folder(app, Path({folder!r}) / "slicer")
slicer_app.use_scene(app, mrml)
import slicer
from types import SimpleNamespace
from bench.host import ModuleHost, pump, wait_until
from module_builders import MODULE, a_ct, segment
from GenesisSegmentLib.core import setup_plan
real = setup_plan.check
setup_plan.check = lambda road: real(road, lambda name: "99.0", int(200e9))
setup_plan._ranges = lambda: dict.fromkeys((n.name for n in setup_plan._NEEDED), "")
bench = SimpleNamespace(slicer=slicer, pump=pump, wait_until=wait_until)
a_ct(bench)
host = ModuleHost(MODULE).start()
segment(bench, host)
controller = host.widget.panel.controller
for row in controller.view.correct.rows:
    controller.set_reviewed(row.segment.segment_id, True)
    controller.accept()
    wait_until(lambda: controller.view.status.kind != "busy", 60)
    print("kept" if "safe on disk" in controller.view.status.text else controller.view.status.text, flush=True)
    if "--wait" in sys.argv:
        break
print("waiting", flush=True)
pump(60000)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_slicer_is_killed_and_what_was_accepted_is_there(slicer_bench, start, tmp_path):
    host = start(learner=("--on", "ingest=busy"))  # provides PythonSlicer
    host.cleanup()
    source = KILLED.format(
        library=str(ROOT / "GenesisSegment"), testing=str(ROOT / "Testing"), folder=str(tmp_path / "killed")
    )
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as slicer:
        assert slicer.stdout is not None
        promised = 0
        for line in slicer.stdout:
            promised += line == "kept\n"
            if promised == 2:
                break
        slicer.send_signal(signal.SIGKILL)
        assert slicer.wait() == -signal.SIGKILL
        promised += sum(line == "kept\n" for line in slicer.stdout)
    pending = outbox().pending()
    assert len(pending) >= promised >= 2
    for path in pending:
        assert all(c.mask.shape == (18, 15, 12) for c in outbox().read(path).acceptance.classes)
    assert isinstance(Path(pending[0]), Path)
