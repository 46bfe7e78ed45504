"""Random prompts, of any kind and anywhere, given to the refiner by the thousand: ``python Testing/refining_fuzz.py``.

What must hold of each is in :func:`check`; the network is one that says anything at all.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.prompts import Prompt, bounding_box, drawn
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.refine.draft import Change, Draft
from GenesisSegmentLib.engine.refine.refiner import Refiner

SHAPES = ((20, 22, 18), (9, 31, 12), (1, 17, 23), (130, 14, 11), (12, 10, 210), (70, 24, 8))


class AnyNetwork:
    """Says anything, in patches, so that some of it reaches the border of what it is asked about."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        """See :class:`.draft.Clicks`; refuses what a network could not take."""
        for array, kind in ((hu, np.float32), (mask, bool), (inside, bool), (outside, bool)):
            assert array.dtype == kind
            assert array.shape in ((64,) * 3, (96,) * 3)
            assert array.flags.c_contiguous
        assert not (inside & outside).any()
        assert np.isfinite(hu).all()
        assert min(spacing_mm) > 0
        coarse = self._rng.normal(self._rng.uniform(-1, 1), 1, (8, 8, 8)).astype(np.float32)
        return coarse.repeat(hu.shape[0] // 8, 0).repeat(hu.shape[0] // 8, 1).repeat(hu.shape[0] // 8, 2)


def a_geometry(rng: np.random.Generator, shape: tuple[int, int, int]) -> Geometry:
    """A grid of any orientation: axes permuted, flipped and turned, spacings between 0.4 and 5 mm."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * rng.uniform(0.4, 5, 3)
    matrix[:3, 3] = rng.uniform(-500, 500, 3)
    return Geometry(shape, matrix)


def a_prompt(rng: np.random.Generator, shape: tuple[int, int, int]) -> Prompt:
    """A prompt inside of the CT, on its edge, across it, or far away from it."""
    kind = rng.choice(["point", "scribble", "box", "lasso"])
    count = {"point": 1, "box": 4}.get(kind, int(rng.choice([0, 1, 2, 3, 8])))
    margin = max(float(rng.choice([-2, 0, 0, 1, 5, 400])), -(min(shape) - 1) / 2)
    points = rng.uniform(-margin, np.array(shape) - 1 + margin, (count, 3))
    if rng.random() < 0.3:
        points = np.round(points * 2) / 2  # on centres and on faces of voxels
    if rng.random() < 0.3 and count:
        points[:, rng.integers(3)] = points[0, 0]  # flat
    if rng.random() < 0.3 and kind == "lasso":
        points = points[0] + rng.uniform(-6, 6, (count, 2)) @ rng.uniform(-1, 1, (2, 3)) if count else points
    radius = float(rng.choice([0, 0, 1, 4, 12])) if kind == "scribble" else 0.0
    return Prompt(str(kind), tuple(map(tuple, points.tolist())), bool(rng.random() < 0.5), radius)  # type: ignore[arg-type]


def a_scene(rng: np.random.Generator) -> tuple[Volume, Draft]:
    """A CT of noise and blobs, a segment that may be empty, and protected voxels; in a box that may be part of it."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    voxels = rng.normal(40, 30, shape) + 200 * (rng.random(shape) < 0.3)
    volume = Volume(np.asfortranarray(voxels, dtype=np.int16), a_geometry(rng, shape), Source(Path("noise"), "noise"))
    start = tuple(int(rng.integers(0, max(1, n // 3))) for n in shape) if rng.random() < 0.3 else (0, 0, 0)
    box = Box(start, shape)  # type: ignore[arg-type]
    mask = rng.random(box.shape) < rng.choice([0, 0.1, 0.7])
    return volume, Draft(box, mask, rng.random(box.shape) < rng.choice([0, 0.2, 1.0], p=[0.5, 0.45, 0.05]))


def after(draft: Draft, change: Change, shape: tuple[int, int, int]) -> np.ndarray:
    """The segment on the whole grid once a change is made."""
    mask = np.zeros(shape, dtype=bool)
    mask[draft.box.slices] = draft.mask
    mask[change.box.slices] = change.mask
    return mask


def check(draft: Draft, change: Change, prompts: list[Prompt], geometry: Geometry) -> np.ndarray:
    """What must hold of every result. Returns the segment on the whole grid."""
    shape = geometry.shape
    whole = Box.whole(shape)
    nothing = Change.nothing()
    before, now = after(draft, nothing, shape), after(draft, change, shape)
    free = np.zeros(shape, dtype=bool)
    free[draft.box.slices] = ~draft.protected
    changed = before ^ now
    assert not (changed & ~free).any(), "a protected voxel was changed"
    box = Box.around(changed)
    assert change.is_empty if box is None else change.box == box, "not the smallest box"
    last = np.zeros(shape, dtype=np.int8)
    for prompt in prompts:
        if prompt.kind != "box" or not prompt.is_positive:
            last[drawn(prompt, geometry, whole)] = 1 if prompt.is_positive else -1
    assert now[(last == 1) & free].all(), "a positive prompt was disagreed with"
    assert not now[(last == -1) & free].any(), "a negative prompt was disagreed with"
    bound = bounding_box(prompts, geometry)
    if bound is not None:
        out = ~drawn(bound, geometry, whole) & (last != 1)
        assert not (changed & now & out).any(), "something was added outside of the box"
    return now


def run(count: int, seed: int) -> dict[str, int]:
    """Gives ``count`` prompts, in sessions of up to six; how many were answered and refused."""
    rng = np.random.default_rng(seed)
    told = {"answered": 0, "refused": 0}
    while sum(told.values()) < count:
        volume, draft = a_scene(rng)
        refiner = Refiner(volume, AnyNetwork(rng) if rng.random() < 0.6 else None)
        prompts: list[Prompt] = []
        for _ in range(min(6, count - sum(told.values()))):
            prompt = a_prompt(rng, volume.geometry.shape)
            step = refiner.preview if rng.random() < 0.3 else refiner.answer
            try:
                change = step(draft, [*prompts, prompt])
            except InputError:
                told["refused"] += 1
                box = np.zeros(volume.geometry.shape, dtype=bool)
                box[draft.box.slices] = ~draft.protected
                whole = drawn(prompt, volume.geometry, Box.whole(volume.geometry.shape))
                assert not (whole & box).any(), "a prompt with voxels that may change was refused"
                continue
            told["answered"] += 1
            prompts.append(prompt)
            now = check(draft, change, prompts, volume.geometry)
            draft = Draft(draft.box, now[draft.box.slices], draft.protected)
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.process_time()
    print(run(arguments.count, arguments.seed), f"{time.process_time() - started:.0f} CPU seconds")
