"""A structure that a person taught, in the panel: real MRML, the real worker with a version that knows it, stand-in Qt.

The version takes what is bright in the CT for liver and for the structure: where it lies is known without it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("nibabel")
pytest.importorskip("sqlalchemy", reason="the case store needs sqlalchemy")

from builders import rotation
from cli_builders import an_affine, blob_ct, in_blob, write_blob_model
from end_to_end import REVIEWED, Session, Truth, put_python_on_path, slicer_center
from GenesisSegmentLib.core.classes import own_structure
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.models.cache import model_digest
from GenesisSegmentLib.engine.models.catalogue import read_metadata
from GenesisSegmentLib.engine.store import CaseStore
from version_builders import a_version

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
NAME, SLUG = "Soft tissue sarcoma", "Soft_tissue_sarcoma"
SHAPE = (44, 36, 40)
AFFINE = an_affine((5.0, 5.0, 5.0), SHAPE, rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]))
GRID = Geometry(SHAPE, AFFINE)


@pytest.fixture
def session(slicer_bench, tmp_path, monkeypatch):
    """A person with version v1, which knows a structure of their own; an oblique CT under a transform is chosen."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = write_blob_model(tmp_path / "model.onnx", (NAME,))
    facts = read_metadata(path.with_suffix(".json"))
    made = a_version(facts=facts, labels=("spleen", "liver", NAME), file=path.name, sha256=model_digest(path))
    made = replace(made, licence=replace(made.licence, clinical_use=False))
    VersionStore.of_this_person().add(made, lambda place: [shutil.copy(f, place) for f in tmp_path.glob("model.*")])
    session = Session(slicer_bench)
    truth = Truth(blob_ct(SHAPE, AFFINE), GRID, np.zeros(SHAPE, np.uint8))
    session.volume = session.add_ct(truth, parent=session.add_turn())
    session.choose()
    session.controller.choose_model("v1")
    session.wait(lambda: session.view.segment.model == "v1")
    return session


def blob_center():
    return (AFFINE @ [*np.argwhere(in_blob(SHAPE, AFFINE)).mean(axis=0), 1])[:3]


def test_it_is_chosen_drawn_corrected_exported_and_accepted(session, tmp_path):
    group = session.view.segment.tree[0]
    assert [child.text for child in group.children] == [NAME]
    session.segment()
    row = next(row.segment for row in session.view.correct.rows if row.segment.taught)
    assert (row.name, row.class_index, row.taught) == (NAME, 33, NAME)
    mask = session.masks(session.volume)[row.segment_id]
    assert 0.9 < np.count_nonzero(mask) / np.count_nonzero(in_blob(SHAPE, AFFINE)) < 1.1
    assert np.linalg.norm(slicer_center(session.result, row.segment_id) - blob_center()) < 3.0
    segment = session.result.GetSegmentation().GetSegment(row.segment_id)
    structure = own_structure(33, NAME)
    assert f"99GENESIS^{structure.type.value}^{NAME}" in segment.GetTerminology()
    np.testing.assert_allclose(segment.GetColor(), np.array(structure.color) / 255, atol=1e-6)
    table = session.result.GetNodeReference("GenesisSegment.Measurements").GetTable()
    rows = {table.GetValue(n, 0).ToString(): n for n in range(table.GetNumberOfRows())}
    volume_ml = float(table.GetValueByName(rows[NAME], "Volume (ml)").ToString())
    assert volume_ml == pytest.approx(mask.sum() * GRID.voxel_ml, abs=0.01)

    session.host.click("editButton")
    more = np.roll(mask, 2, axis=0)
    session.brush(row.segment_id, more)
    session.host.click("editButton")
    session.wait(lambda: not session.view.is_working)
    corrected = mask | more
    np.testing.assert_array_equal(session.masks(session.volume)[row.segment_id], corrected)

    folder = tmp_path / "out"
    folder.mkdir()
    session.export(folder, ("seg.nrrd", "nii.gz", "nrrd", "stl", "csv"))
    for suffix in ("seg.nrrd", "nii.gz", "nrrd"):
        (file,) = (path for path in folder.glob(f"*.{suffix}") if suffix != "nrrd" or ".seg." not in path.name)
        again = read_labels(file, (SLUG,)).segmentation
        np.testing.assert_array_equal(again.mask(33), corrected, err_msg=suffix)
    (values,) = folder.glob("*.json")
    assert json.loads(values.read_text(encoding="utf-8"))["names"]["33"] == NAME
    assert {path.stem for path in folder.glob("*/*.stl")} == {"liver", SLUG}
    (measurements,) = folder.glob("*.csv")
    assert NAME in measurements.read_text(encoding="utf-8")

    session.tick(row.segment_id, REVIEWED)
    session.host.click("acceptButton")
    session.wait(lambda: "Accepted cases: 1; corrections: 1" in session.host.ui.learnCountsLabel.text)
    with CaseStore.open_default() as store:
        (record,) = store.training()
        assert (record.labels, record.models) == ((NAME,), ("v1",))
        np.testing.assert_array_equal(store.mask(record, NAME), corrected)
        np.testing.assert_array_equal(store.changed(record, NAME), corrected & ~mask)


def test_it_can_be_asked_for_alone_and_left_out(session):
    session.controller.check_classes((1, 6), False)
    session.segment()
    assert [row.segment.taught for row in session.view.correct.rows] == [NAME]
    session.controller.check_classes((6,), True)
    session.controller.check_classes((33,), False)
    session.segment()
    rows = {row.segment.segment_id: row.segment.taught for row in session.view.correct.rows}
    assert rows == {"liver": "", SLUG: NAME}, "what was not looked for stays as it was"
