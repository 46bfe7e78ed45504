from __future__ import annotations

import heapq

import numpy as np
import pytest
from scipy import ndimage

from GenesisSegmentLib.engine.refine import geodesic

SPACING = (0.7, 1.3, 2.5)


@pytest.fixture
def _without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geodesic, "_compiled", lambda: None)


def shortest(hu: np.ndarray, seeds: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Dijkstra's distances over 26 neighbours, each step as long as the way in mm and the edge that it crosses."""
    image = ndimage.uniform_filter(np.clip(hu, *geodesic.HU_RANGE), 3) * geodesic.MM_PER_HU
    distance = np.where(seeds, 0.0, np.inf)
    edge = [(0.0, tuple(v)) for v in np.argwhere(seeds).tolist()]
    steps = [s for s in np.ndindex(3, 3, 3) if s != (1, 1, 1)]
    while edge:
        done, at = heapq.heappop(edge)
        if done > distance[at]:
            continue
        for step in steps:
            to = tuple(a + s - 1 for a, s in zip(at, step, strict=True))
            if all(0 <= t < n for t, n in zip(to, hu.shape, strict=True)) and free[to]:
                length = np.linalg.norm((np.array(step) - 1) * SPACING)
                further = done + length + abs(image[at] - image[to])
                if further < distance[to]:
                    distance[to] = further
                    heapq.heappush(edge, (further, to))
    return distance


def a_scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (9, 11, 8)
    hu = ndimage.gaussian_filter(rng.normal(0, 150, shape), 1.5).astype(np.float32)
    seeds, rivals = rng.random(shape) < 0.01, rng.random(shape) < 0.02
    seeds[2, 3, 4] = rivals[7, 8, 2] = True
    return hu, seeds, rivals & ~seeds, rng.random(shape) < 0.9


def check_against_dijkstra(seed: int) -> None:
    hu, seeds, rivals, free = a_scene(seed)
    found = geodesic.nearer(hu, seeds, rivals, free, SPACING)
    own, other = shortest(hu, seeds, free), shortest(hu, rivals, free)
    is_clear = ~np.isclose(own, other, rtol=0, atol=1e-3)
    assert (found == ((own < other) & free))[is_clear].all()
    assert found.any()
    assert (free & ~found).any()


@pytest.mark.parametrize("seed", range(6))
def test_each_voxel_goes_to_the_seed_with_the_shorter_way(seed: int) -> None:
    if not geodesic.is_compiled():
        pytest.skip("numba is not installed")
    check_against_dijkstra(seed)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("_without_numba")
def test_without_numba_it_is_the_same(seed: int) -> None:
    assert not geodesic.is_compiled()
    check_against_dijkstra(seed)


def test_the_memory_order_of_the_ct_does_not_matter() -> None:
    arrays = a_scene(1)
    turned = [np.asfortranarray(a) for a in arrays]
    assert (geodesic.nearer(*arrays, SPACING) == geodesic.nearer(*turned, SPACING)).all()


@pytest.mark.usefixtures("_without_numba")
def test_what_is_walled_in_is_nobodys() -> None:
    hu = np.zeros((5, 5, 5), dtype=np.float32)
    seeds, rivals = np.zeros((2, 5, 5, 5), dtype=bool)
    seeds[0, 0, 0] = True
    free = np.ones((5, 5, 5), dtype=bool)
    free[2] = False
    assert not geodesic.nearer(hu, seeds, rivals, free, SPACING)[2:].any()
    assert geodesic.nearer(hu, seeds, rivals, free, SPACING)[:2].all()
