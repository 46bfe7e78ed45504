"""What comes after the network: measuring, packing and writing stop soon after a cancel; nothing stays half-written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from GenesisSegmentLib.core import layers
from GenesisSegmentLib.core.bulk import read_layer, write_layers
from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.layers import Layer, pack_layers, unpack_layers
from GenesisSegmentLib.core.protocol import decode, encode
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.inference.spec import RunResult
from GenesisSegmentLib.engine.measure import measure
from GenesisSegmentLib.worker import segmenting
from GenesisSegmentLib.worker.segmenting import segmented
from worker.conftest import segment
from worker.fake_worker import OFFERED, fake_segmentation


class Stop:
    """Is told of progress and cancels after some steps."""

    def __init__(self, steps: int) -> None:
        self.left, self.seen = steps, []

    def __call__(self, fraction: float) -> None:
        self.seen.append(fraction)
        self.left -= 1
        if self.left == 0:
            raise Cancelled


def stopped(call) -> None:
    with pytest.raises(Cancelled):
        call()


def test_measuring_can_be_stopped_after_each_class(volume):
    found, stop = fake_segmentation(volume.geometry), Stop(2)
    stopped(lambda: measure(found, volume, stop))
    assert stop.seen == [pytest.approx(1 / len(OFFERED)), pytest.approx(2 / len(OFFERED))]


def test_packing_can_be_stopped_on_its_way(volume, monkeypatch):
    monkeypatch.setattr(layers, "_SLAB_VOXELS", 100)
    found, whole = fake_segmentation(volume.geometry), Stop(0)
    pack_layers(found, whole)
    assert whole.seen == sorted(whole.seen)
    assert len(whole.seen) > 10
    stop = Stop(len(whole.seen) - 1)
    stopped(lambda: pack_layers(found, stop))


def test_writing_can_be_stopped_in_the_middle_of_a_layer_and_leaves_no_half_one(tmp_path):
    several = tuple(Layer(np.full((3, 4, 20), c, np.uint8), (c,)) for c in (1, 2))
    stopped(lambda: write_layers(tmp_path, several, Stop(7)))  # each layer takes five steps
    assert [path.name for path in tmp_path.iterdir()] == ["layer-1.u1"]


@pytest.mark.parametrize("fraction", [0.0, 0.15, 0.4, 0.7])
def test_run_that_is_cancelled_while_it_is_written_ends_there(volume, tmp_path, monkeypatch, fraction):
    monkeypatch.setattr(layers, "_SLAB_VOXELS", 100)
    job, after = Job(), []

    def report(progress):
        if job.is_cancelled:
            after.append(progress)
        elif progress.stage == "writing" and progress.fraction >= fraction:
            job.cancel()

    job.report_to(report)
    stopped(lambda: segmented(segment(folder=str(tmp_path)), volume, Models(volume, job), job, lambda event: None))
    assert after == []
    assert not (tmp_path / "layer-2.u1").exists()


def test_structures_of_ones_own_come_with_their_names(volume, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenting, "remember_speed", lambda *_: None)
    monkeypatch.setattr(Models, "found", staticmethod(with_own))
    job = Job()
    result = segmented(segment(folder=str(tmp_path)), volume, Models(volume, job), job, lambda event: None)
    assert (result.own, result.classes, result.present) == (("mine", "yours"), (2, 33, 34), (2, 33))
    assert decode(encode(result)) == result
    layers = [read_layer(Path(layer.file), result.shape, layer.classes) for layer in result.layers]
    found, expected = unpack_layers(layers, volume.geometry, result.own), with_own(volume.geometry)
    np.testing.assert_array_equal(found.mask(33), expected.mask(33))
    assert [row.name for row in result.measurements] == ["kidney_right", "mine", "yours"]


def with_own(geometry) -> Segmentation:
    kidney = np.zeros(geometry.shape, bool)
    kidney[:2, :2, :2] = True
    mine = np.roll(kidney, 1, axis=0)
    return Segmentation(pack([(2, kidney), (33, mine)], geometry.shape), geometry, (2, 33, 34), ("mine", "yours"))


class Models:
    """Lends a segmenter that is done at once."""

    found = staticmethod(fake_segmentation)

    def __init__(self, volume, job) -> None:
        self._volume, self._job = volume, job

    def resolve(self, name):
        return SimpleNamespace(name=name, title=name, sha256="", licence=None, notes=())

    def lent(self, *_):
        return self

    def __enter__(self):
        return SimpleNamespace(segmenter=self, job=self._job)

    def __exit__(self, *_):
        return None

    def segment(self, volume, options, then, on_class):
        self._job.plan({"writing": 1})
        return RunResult(self.found(volume.geometry), "fake", "fast", "safe", "cpu", 1, {})
