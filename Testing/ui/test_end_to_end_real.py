"""A real CT from the file to files, with the real worker process and the starter. Real MRML, stand-in Qt."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")

from end_to_end import LOCKED, Session, put_python_on_path, segmented, slicer_center, world_center
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.workflow.states import State

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
CASE = "totalsegmentator/ts_example_abdomen"


@pytest.fixture
def session(slicer_bench, shared_data, tmp_path, monkeypatch):
    """The module open, and the CT chosen."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    session = Session(slicer_bench)
    session.volume = session.slicer.util.loadVolume(str(shared_data / CASE / "ct.nii.gz"), {"name": "CT"})
    session.choose()
    return session


def test_real_ct_becomes_what_the_engine_gives_and_files_that_say_the_same(session, shared_data, tmp_path):
    from GenesisSegmentLib.engine.images import read_volume
    from GenesisSegmentLib.engine.labels import read_labels

    ct = read_volume(shared_data / CASE / "ct.nii.gz")
    wanted = segmented(ct)
    before = session.nodes()
    session.run_until_early()
    session.host.click("cancelButton")
    session.wait(lambda: session.state is State.READY, 10)
    assert session.nodes() == before

    seen = session.segment()
    assert seen.progress == sorted(seen.progress)
    assert len(set(seen.progress)) > 2
    slugs = {class_table()[c].slug: c for c in wanted.present()}
    masks = session.masks(session.volume)
    assert masks.keys() == slugs.keys()
    for name, index in slugs.items():
        np.testing.assert_array_equal(masks[name], wanted.mask(index), err_msg=name)
        center = slicer_center(session.result, name)
        np.testing.assert_allclose(center, world_center(wanted.mask(index), ct.geometry), atol=0.01)
    liver, spleen = (slicer_center(session.result, name) for name in ("liver", "spleen"))
    assert liver[0] > spleen[0] + 50, "the liver is on the patient's right"
    reference = read_labels(shared_data / CASE / "labels.nii.gz").segmentation.mask(slugs["liver"])
    assert 2 * (masks["liver"] & reference).sum() / (masks["liver"].sum() + reference.sum()) > 0.8

    session.tick("liver", LOCKED)
    session.host.click("editButton")
    stroke = np.zeros(masks["liver"].shape, bool)
    i, j, k = np.argwhere(masks["liver"]).mean(axis=0).astype(int)
    stroke[i - 8 : i + 8, j - 8 : j + 8, k - 4 : k + 4] = True
    session.brush("spleen", stroke)
    edited = session.masks(session.volume)
    assert all((edited[name] == masks[name]).all() for name in masks if name != "spleen")
    assert (edited["spleen"] == masks["spleen"] | stroke).all()
    session.undo()
    assert all((mask == masks[name]).all() for name, mask in session.masks(session.volume).items())

    out = tmp_path / "out"
    out.mkdir()
    session.export(out, ("seg.nrrd", "nii.gz"))
    for suffix in ("seg.nrrd", "nii.gz"):
        read = read_labels(out / f"CT.{suffix}").segmentation
        for name, index in slugs.items():
            # A label map holds one structure per voxel: later classes over earlier ones.
            later = [masks[other] for other, c in slugs.items() if c > index] if suffix == "nii.gz" else []
            left = masks[name] & ~np.any([np.zeros_like(masks[name]), *later], axis=0)
            assert read.mask(index).sum() == left.sum()
            found = world_center(read.mask(index), read.geometry)
            np.testing.assert_allclose(found, world_center(left, ct.geometry), atol=0.01)
