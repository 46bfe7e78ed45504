"""The universal head in numpy is the universal head in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.engine.inference import head
from GenesisSegmentLib.engine.inference.head import apply_head
from GenesisSegmentLib.engine.networks import universal


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (33, 31, 17)])
@pytest.mark.parametrize("classes", [1, 7])
def test_numpy_head_equals_torch_head(shape, classes) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (8, *shape)).astype(np.float32)
    numbers = rng.normal(0, 1, (classes, 153)).astype(np.float32)
    expected = universal.apply_head(torch.from_numpy(features)[None], torch.from_numpy(numbers)[None])[0].numpy()
    found = apply_head(features, numbers)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_features_in_another_memory_layout_give_the_same() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(0, 1, (5, 6, 7, 8)).astype(np.float32)
    numbers = rng.normal(0, 1, (2, 153)).astype(np.float32)
    strided = features.transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(apply_head(strided, numbers), apply_head(np.ascontiguousarray(strided), numbers))


def test_the_head_can_be_stopped() -> None:
    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        apply_head(np.zeros((8, 2, 2, 2), np.float32), np.zeros((1, 153), np.float32), stop)


def test_the_head_tells_how_far_it_is(monkeypatch) -> None:
    monkeypatch.setattr(head, "_CHUNK_VOXELS", 2)
    told: list[float] = []
    apply_head(np.zeros((8, 8, 8, 8), np.float32), np.zeros((1, 153), np.float32), told.append)
    assert told == [0.0, 0.25, 0.5, 0.75]
