from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import GenesisSegmentLib
from builders import rotation
from GenesisSegmentLib.core import bulk
from GenesisSegmentLib.core.bulk import (
    BulkStore,
    read_layer,
    read_mask,
    read_volume,
    write_layers,
    write_mask,
    write_volume,
)
from GenesisSegmentLib.core.errors import GeometryError, InputError, OutputError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.layers import Layer
from GenesisSegmentLib.core.volume import Source, Volume

SHAPES = st.tuples(*[st.integers(1, 20)] * 3)


def oblique(shape):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((10.0, -20.0, 30.0)) @ np.diag([-0.7, 0.8, 2.5])
    matrix[:3, 3] = (12.125, -30.5, 400.1)
    return Geometry(shape, matrix)


def a_volume(voxels):
    return Volume(voxels, oblique(voxels.shape), Source(Path("made"), "made"))


@pytest.fixture
def written(tmp_path):
    volume = a_volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    write_volume(tmp_path, volume, "print")
    return tmp_path, volume


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays.arrays(np.int16, SHAPES), st.sampled_from("CF"), st.tuples(*[st.booleans()] * 3))
def test_oblique_volume_comes_back_voxel_for_voxel(tmp_path, voxels, order, flips):
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    volume = a_volume(np.asarray(voxels, order=order)[steps])
    write_volume(tmp_path, volume, "print")
    back = read_volume(tmp_path, "print", "a name", "1.2.3")
    assert np.array_equal(back.voxels, volume.voxels)
    assert back.geometry.shape == volume.geometry.shape
    assert np.array_equal(back.geometry.ijk_to_ras, volume.geometry.ijk_to_ras)
    assert (back.source.name, back.source.series_uid) == ("a name", "1.2.3")


def test_file_has_i_fastest(written):
    folder, volume = written
    raw = np.fromfile(folder / "voxels.i2", dtype="<i2")
    assert np.array_equal(raw, volume.voxels.ravel(order="F"))


def test_volume_is_mapped_not_read(written):
    voxels = read_volume(written[0], "print").voxels
    assert isinstance(voxels, np.memmap)
    assert not voxels.flags.writeable


def test_other_fingerprint_is_refused(written):
    with pytest.raises(InputError, match="another CT"):
        read_volume(written[0], "another")


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_file_of_another_size_is_refused(written, change):
    path = written[0] / "voxels.i2"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(InputError, match="bytes"):
        read_volume(written[0], "print")


@pytest.mark.parametrize("missing", ["voxels.i2", "volume.json"])
def test_incomplete_folder_is_refused(written, missing):
    (written[0] / missing).unlink()
    with pytest.raises(InputError):
        read_volume(written[0], "print")


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [3, 4]},
        {"shape": [3, 4, "x"]},
        {"shape": None},
        {"shape": [-3, -4, 5]},
        {"shape": [1e999, 1, 1]},
        {"ijk_to_ras": [[1, 2], [3, 4]]},
        {"ijk_to_ras": "none"},
    ],
)
def test_damaged_header_is_refused(written, change):
    path = written[0] / "volume.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError):
        read_volume(written[0], "print")


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
def test_header_that_is_no_header_is_refused(written, text):
    (written[0] / "volume.json").write_text(text)
    with pytest.raises(InputError):
        read_volume(written[0], "print")


def test_sheared_grid_is_refused(tmp_path):
    matrix = np.eye(4)
    matrix[0, 1] = 0.3
    volume = Volume(np.zeros((2, 2, 2), np.int16), Geometry((2, 2, 2), matrix), Source(Path("made"), "made"))
    write_volume(tmp_path, volume, "print")
    with pytest.raises(GeometryError, match="right angles"):
        read_volume(tmp_path, "print")


def test_voxels_that_are_not_int16_are_refused(tmp_path):
    with pytest.raises(InputError, match="int16"):
        write_volume(tmp_path, a_volume(np.zeros((2, 2, 2), np.float32)), "print")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bulk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(OutputError, match="MB are needed"):
        write_volume(tmp_path, a_volume(np.zeros((2, 2, 2), np.int16)), "print")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays.arrays(np.uint8, SHAPES), st.sampled_from("CF"))
def test_layers_come_back_voxel_for_voxel(tmp_path, labels, order):
    layers = (Layer(np.asarray(labels, order=order), (1, 2)), Layer(labels[::-1], (3,)))
    paths = write_layers(tmp_path, layers)
    for path, layer in zip(paths, layers, strict=True):
        back = read_layer(path, labels.shape, layer.classes)
        assert np.array_equal(back.labels, layer.labels)
        assert back.classes == layer.classes


def test_layer_of_another_size_is_refused(tmp_path):
    (path,) = write_layers(tmp_path, (Layer(np.zeros((2, 3, 4), np.uint8), (1,)),))
    with pytest.raises(InputError, match="bytes"):
        read_layer(path, (2, 3, 5), (1,))


def test_mask_of_a_box_comes_back(tmp_path):
    mask = np.random.default_rng(0).random((4, 3, 5)) > 0.5
    write_mask(tmp_path / "mask.u1", mask)
    assert np.array_equal(read_mask(tmp_path / "mask.u1", Box((1, 2, 3), (5, 5, 8))), mask)


def test_store_gives_every_job_a_folder_and_takes_all_away(tmp_path):
    store = BulkStore(tmp_path / "root")
    folders = {store.new_folder("job"), store.new_folder("job"), store.new_folder("volume")}
    assert len(folders) == 3
    assert all(folder.is_dir() for folder in folders)
    store.close()
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL; see test_leftovers_windows.py")
def test_folders_of_killed_processes_are_swept_and_those_of_living_ones_are_not(tmp_path):
    living = BulkStore(tmp_path)
    code = "import sys, os, pathlib, GenesisSegmentLib.core.bulk as b; s = b.BulkStore(pathlib.Path(sys.argv[1])); "
    code += "s.new_folder('job'); print(s.folder); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=environment)
    left = Path(done.stdout.strip())
    assert (left / "job-1").is_dir()
    mine = BulkStore(tmp_path)
    until = time.monotonic() + 20
    while left.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not left.exists()
    assert living.folder.is_dir()
    assert mine.folder.is_dir()
    living.close()
    mine.close()


def test_root_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="could not be written"):
        BulkStore(tmp_path / "file" / "root")
