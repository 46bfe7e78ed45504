"""From Accept to a model in use: the panel, the real worker with the starter, and the real learner with its trainer.

The CTs are the abdomens of two phantoms on a coarse grid: small enough for two real training steps on a processor.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch", reason="learning needs torch")
pytest.importorskip("sqlalchemy", reason="learning needs sqlalchemy")

from end_to_end import REVIEWED, Session, Truth, put_python_on_path
from round_builders import a_scan

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
PATIENCE_S = 120
LIVER = 6


@pytest.fixture
def session(slicer_bench, tmp_path, monkeypatch):
    """The module open, and two patients in the scene."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    session = Session(slicer_bench)
    for number in (0, 1):
        volume, labels = a_scan(number)
        session.add_ct(Truth(volume.voxels, volume.geometry, labels), f"CT {number}")
    return session


def accept_corrected(session, number):
    """Segments a CT, paints what is missing of the liver, ticks it as reviewed and accepts it."""
    session.choose(f"CT {number}")
    session.segment()
    session.host.click("editButton")
    session.brush("liver", a_scan(number)[1] == LIVER)
    session.host.click("editButton")
    session.tick("liver", REVIEWED)
    session.host.click("acceptButton")
    counted = f"Accepted cases: {number + 1}; corrections: {number + 1}"
    session.wait(lambda: counted in session.host.ui.learnCountsLabel.text, PATIENCE_S)


def models(session):
    """What the Segment part offers, by value."""
    return {choice.value: choice for choice in session.view.segment.models}


def test_round_from_accept_to_the_model_in_use_and_back(session):
    from GenesisSegmentLib.engine.learning.versions import VersionStore
    from GenesisSegmentLib.engine.store import CaseStore

    ui, view = session.host.ui, lambda: session.view.learn
    assert ui.learnCollapsibleButton.isHidden()
    for number in (0, 1):
        accept_corrected(session, number)
    ui.learnCollapsibleButton.collapsed = False
    assert ui.learnButton.enabled, ui.learnButton.toolTip
    seen = set()
    session.controller.changed.connect(lambda view: seen.add(view.learn.round_text))
    session.host.click("learnButton")
    assert not ui.learnButton.enabled
    session.wait(lambda: view().outcome or view().note, PATIENCE_S)
    assert "a model that is not proven better: you can try it out" in ui.outcomeLabel.text, view()
    assert any(text.startswith(("Preparing the cases", "Learning: step ")) for text in seen), seen

    versions = VersionStore.of_this_person()
    (version,) = versions.versions()
    assert (version.state, version.parent, versions.current()) == ("unproven", "starter", None)
    assert len(version.cases) == 2
    with CaseStore.open_default() as store:
        (record,) = store.rounds()
    assert (record.state, record.steps, record.version) == ("unproven", 2, version.name)

    session.wait(lambda: version.name in models(session), PATIENCE_S)
    session.wait(lambda: ui.useVersionButton.enabled, PATIENCE_S)
    assert "It is a trial" in ui.useVersionButton.toolTip
    session.host.click("useVersionButton")
    session.wait(lambda: version.title in ui.inUseLabel.text, PATIENCE_S)
    assert "It is a trial: not proven to be better." in ui.inUseLabel.text
    session.wait(lambda: session.view.segment.model == "current", PATIENCE_S)
    assert versions.current() == version
    session.segment()
    assert session.result.GetAttribute("GenesisSegment.ModelSha256") == version.sha256

    session.host.click("goBackButton")
    session.wait(lambda: "came before all versions" in ui.inUseLabel.text, PATIENCE_S)
    session.wait(lambda: session.view.segment.model == "starter", PATIENCE_S)
    assert versions.current() is None
