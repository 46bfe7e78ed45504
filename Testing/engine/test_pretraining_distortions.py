"""The distortions of Models Genesis against a second, straightforward writing of the published facts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.engine.pretraining import distortions
from GenesisSegmentLib.engine.pretraining.distortions import (
    DistortionRecipe,
    distort,
    flip,
    intensity_table,
    paint_inside,
    paint_outside,
    shuffle_locally,
)
from GenesisSegmentLib.engine.pretraining.levels import LEVELS, values

PUBLISHED = DistortionRecipe()
NEVER = DistortionRecipe(flip=0, shuffle=0, curve=0, paint=0)
CROP = (64, 64, 32)
SEEDS = st.integers(0, 2**32 - 1)


def crop(shape=(32, 32, 16), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS + 1, shape).astype(np.uint16)


def numbered(shape) -> np.ndarray:
    """A crop in which every voxel has a value of its own, so that one can see where it went."""
    return np.arange(np.prod(shape)).reshape(shape)


def within(count: int, share: float, draws: int) -> bool:
    """Whether a count is what a probability gives, within five standard deviations."""
    return abs(count - share * draws) <= 5 * np.sqrt(draws * share * (1 - share))


# --- all together -----------------------------------------------------------------------------------------------------


def test_the_published_probabilities():
    assert vars(PUBLISHED) == {
        "flip": 0.4,
        "most_flips": 3,
        "shuffle": 0.5,
        "shuffled_blocks": 10_000,
        "curve": 0.9,
        "inverted": 0.5,
        "paint": 0.9,
        "inpaint": 0.2,
        "most_blocks": 5,
        "next_block": 0.95,
    }


def test_each_is_drawn_as_often_as_published_and_in_the_published_order(monkeypatch):
    calls: list[list[str]] = []

    def spy(name, result):
        def called(*arguments, **named):
            calls[-1].append(name + ("+" if named.get("is_inverted") else ""))
            return result(*arguments)

        monkeypatch.setattr(distortions, name, called)

    spy("flip", lambda levels, *_: levels)
    spy("shuffle_locally", lambda levels, *_: levels)
    spy("intensity_table", lambda *_: np.zeros(LEVELS + 1, np.float32))
    spy("paint_inside", lambda image, *_: image)
    spy("paint_outside", lambda image, *_: image)
    rng, draws = np.random.default_rng(5), 4000
    for _ in range(draws):
        calls.append([])
        distort(crop((2, 2, 2)), PUBLISHED, rng)
    place = {"flip": 0, "shuffle_locally": 1, "intensity_table": 2, "intensity_table+": 2}
    for called in calls:
        order = [place.get(name, 3) for name in called]
        assert order == sorted(set(order))  # and never two of a kind: in- and out-painting exclude each other
    counts = Counter(name for called in calls for name in called)
    assert counts["flip"] == draws
    assert within(counts["shuffle_locally"], 0.5, draws)
    assert within(counts["intensity_table"], 0.45, draws)
    assert within(counts["intensity_table+"], 0.45, draws)
    assert within(counts["paint_inside"], 0.9 * 0.2, draws)
    assert within(counts["paint_outside"], 0.9 * 0.8, draws)


@settings(max_examples=40)
@given(SEEDS)
def test_the_target_is_only_ever_flipped(seed):
    levels = crop((16, 24, 16))
    image, target = distort(levels, replace(PUBLISHED, shuffled_blocks=50), np.random.default_rng(seed))
    flips = [np.flip(levels, axes) for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]]
    assert any(np.array_equal(target, values(flipped)) for flipped in flips)
    assert image.dtype == target.dtype == np.float32
    assert image.shape == target.shape == levels.shape
    assert 0 <= image.min() <= image.max() <= 1


def test_image_and_target_are_flipped_alike():
    recipe = replace(NEVER, flip=1)
    image, target = distort(crop(), recipe, np.random.default_rng(3))
    assert np.array_equal(image, target)
    assert not np.array_equal(target, values(crop()))


def test_the_same_draw_gives_the_same_distortion():
    first, second = (distort(crop(), PUBLISHED, np.random.default_rng(9))[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, distort(crop(), PUBLISHED, np.random.default_rng(10))[0])


# --- flips ------------------------------------------------------------------------------------------------------------


def test_flips_go_on_while_draws_succeed_up_to_three_times():
    rng, draws = np.random.default_rng(0), 6000
    levels = numbered((2, 2, 2))
    seen = Counter(tuple(np.flip(flip(levels, PUBLISHED, rng)).ravel()[[0, 1, 2, 4]].tolist()) for _ in range(draws))
    expected: Counter[tuple] = Counter()
    for count, share in ((0, 0.6), (1, 0.4 * 0.6), (2, 0.16 * 0.6), (3, 0.064)):
        for axes in product(range(3), repeat=count):
            flipped = levels
            for axis in axes:
                flipped = np.flip(flipped, axis)
            expected[tuple(np.flip(flipped).ravel()[[0, 1, 2, 4]].tolist())] += share / 3**count
    assert seen.keys() == expected.keys()
    assert all(within(seen[key], expected[key], draws) for key in expected)


# --- local shuffling --------------------------------------------------------------------------------------------------


def shuffled_plainly(levels: np.ndarray, blocks: int, rng: np.random.Generator) -> np.ndarray:
    """The published steps, one block after the other."""
    out = levels.copy()
    for _ in range(blocks):
        sides = [rng.integers(1, n // 10 + 1) for n in levels.shape]
        start = [rng.integers(0, n - side + 1) for n, side in zip(levels.shape, sides, strict=True)]
        box = tuple(slice(s, s + side) for s, side in zip(start, sides, strict=True))
        block = levels[box].flatten()
        rng.shuffle(block)
        out[box] = block.reshape(sides)
    return out


@settings(max_examples=60)
@given(SEEDS)
def test_a_shuffled_block_keeps_its_voxels(seed):
    levels = numbered(CROP)
    out = shuffle_locally(levels, 1, np.random.default_rng(seed))
    assert np.array_equal(np.sort(out.ravel()), levels.ravel())
    changed = np.argwhere(out != levels)
    if len(changed):
        assert (np.ptp(changed, axis=0) < [6, 6, 3]).all()


def test_voxels_move_within_a_block_as_in_the_plain_form():
    """Many blocks: where voxels come from has the same distribution as with one block after the other."""
    shape, blocks = (40, 30, 30), 2500
    levels = numbered(shape)

    def moves(shuffle, seed):
        came = np.stack(np.unravel_index(shuffle(levels, blocks, np.random.default_rng(seed)), shape))
        return (came - np.indices(shape)).reshape(3, -1)

    ours, plain = (np.concatenate([moves(s, n) for n in range(3)], axis=1) for s in (shuffle_locally, shuffled_plainly))
    for axis, longest in enumerate((4, 3, 3)):
        shares = [np.bincount(m[axis] + longest, minlength=2 * longest + 1) / m.shape[1] for m in (ours, plain)]
        assert len(shares[0]) == len(shares[1]) == 2 * longest + 1
        assert shares[0][0] == 0  # a side of n moves a voxel by n - 1 at most
        assert np.abs(shares[0] - shares[1]).max() < 0.015
    assert abs((ours == 0).all(axis=0).mean() - (plain == 0).all(axis=0).mean()) < 0.015


def test_of_two_blocks_the_later_wins_and_reads_what_was_there_before():
    """A row of two voxels, shuffled again and again: what stays is the last block's, drawn from the original."""
    levels = np.zeros((10, 10, 20), np.int64)
    levels[0, 0] = np.arange(20)  # sides are 1 along x and y, 1 or 2 along z
    out = shuffle_locally(levels, 60_000, np.random.default_rng(0))
    assert np.abs(out[0, 0] - np.arange(20)).max() == 1  # a block that read another's result would carry further


def test_every_order_of_a_block_is_as_likely():
    levels = numbered((10, 10, 20))
    rng, draws = np.random.default_rng(1), 3000
    swapped = sum(not np.array_equal(shuffle_locally(levels, 1, rng), levels) for _ in range(draws))
    assert within(swapped, 0.5 * 0.5, draws)  # two voxels in half of the draws, and of these half are swapped


# --- non-linear intensities -------------------------------------------------------------------------------------------


def curve_plainly(controls: np.ndarray, is_inverted: bool, at: np.ndarray) -> np.ndarray:
    """The published steps: 100,000 samples from (1, 1) to (0, 0), x sorted, y sorted or as generated."""
    points = np.array([(1.0, 1.0), *controls.tolist(), (0.0, 0.0)])
    t = np.linspace(0.0, 1.0, 100_000)
    weights = [comb(3, n) * t**n * (1 - t) ** (3 - n) for n in range(4)]
    x, y = (sum(w * p for w, p in zip(weights, points[:, axis], strict=True)) for axis in (0, 1))
    return np.interp(at, np.sort(x), y if is_inverted else np.sort(y))


@settings(max_examples=30)
@given(SEEDS, st.booleans())
def test_intensities_follow_the_published_curve(seed, is_inverted):
    controls = np.random.default_rng(seed).random((2, 2))
    table = intensity_table(controls, is_inverted)
    expected = curve_plainly(controls, is_inverted, np.arange(LEVELS + 1) / LEVELS)
    assert np.abs(table - expected).max() < 1e-5
    assert (table[0], table[-1]) == ((1, 0) if is_inverted else (0, 1))
    assert (np.diff(table) * (-1 if is_inverted else 1) >= 0).all()


def test_extreme_control_points_keep_the_curve_falling():
    for x1, y1, x2, y2 in product((0.0, 1.0), repeat=4):
        controls = np.array([[x1, y1], [x2, y2]])
        expected = curve_plainly(controls, False, np.arange(LEVELS + 1) / LEVELS)
        assert np.abs(intensity_table(controls, False) - expected).max() < 1e-5


# --- painting ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(SEEDS)
def test_inpainting_fills_a_few_blocks_and_keeps_the_border(seed):
    image = np.full(CROP, 2.0, np.float32)  # noise is below 1
    out = paint_inside(image, PUBLISHED, np.random.default_rng(seed))
    painted = out != 2
    assert 0 <= out[painted].min(initial=0) <= out[painted].max(initial=0) < 1
    assert not painted[:3].any()
    assert not painted[-3:].any()
    assert not painted[:, :, :3].any()
    assert not painted[:, :, -3:].any()
    assert painted.sum() <= 5 * 21 * 21 * 10
    assert (image == 2).all()


def test_one_block_of_inpainting_has_the_published_sides():
    rng = np.random.default_rng(2)
    recipe = replace(PUBLISHED, most_blocks=1, next_block=1)
    sides = np.array(
        [np.ptp(np.argwhere(paint_inside(np.full(CROP, 2.0), recipe, rng) != 2), axis=0) + 1 for _ in range(400)]
    )
    assert sides.min(axis=0).tolist() == [64 // 6, 64 // 6, 32 // 6]
    assert sides.max(axis=0).tolist() == [64 // 3, 64 // 3, 32 // 3]


def test_blocks_of_inpainting_go_on_while_draws_succeed(monkeypatch):
    placed = []
    monkeypatch.setattr(distortions, "_placed", lambda *_: placed.append(1) or (slice(0, 1),) * 3)
    rng, draws, counts = np.random.default_rng(4), 3000, Counter()
    for _ in range(draws):
        placed.clear()
        paint_inside(np.zeros(CROP, np.float32)[:16, :16, :16], PUBLISHED, rng)
        counts[len(placed)] += 1
    for blocks in range(6):
        assert within(counts[blocks], 0.95**blocks * (0.05 if blocks < 5 else 1), draws)


@settings(max_examples=40)
@given(SEEDS)
def test_outpainting_keeps_only_windows_away_from_the_border(seed):
    image = np.full(CROP, 2.0, np.float32)
    out = paint_outside(image, PUBLISHED, np.random.default_rng(seed))
    kept = out == 2
    assert kept.any()
    assert out[~kept].min() >= 0
    assert out[~kept].max() < 1
    inner = np.zeros(CROP, bool)
    inner[3:-3, 3:-3, 3:-3] = True
    assert not kept[~inner].any()
    assert (image == 2).all()


def test_a_window_of_outpainting_leaves_out_three_to_four_sevenths():
    rng = np.random.default_rng(3)
    recipe = replace(PUBLISHED, most_blocks=1)
    sides = np.array(
        [np.ptp(np.argwhere(paint_outside(np.full(CROP, 2.0), recipe, rng) == 2), axis=0) + 1 for _ in range(400)]
    )
    assert sides.min(axis=0).tolist() == [64 - 36, 64 - 36, 32 - 18]
    assert sides.max(axis=0).tolist() == [64 - 27, 64 - 27, 32 - 13]


def test_the_first_window_of_outpainting_is_certain_and_the_others_are_drawn(monkeypatch):
    placed = []
    monkeypatch.setattr(distortions, "_placed", lambda *_: placed.append(1) or (slice(0, 1),) * 3)
    rng, draws, counts = np.random.default_rng(4), 3000, Counter()
    for _ in range(draws):
        placed.clear()
        paint_outside(np.zeros((16, 16, 16), np.float32), PUBLISHED, rng)
        counts[len(placed)] += 1
    for windows in range(1, 6):
        assert within(counts[windows], 0.95 ** (windows - 1) * (0.05 if windows < 5 else 1), draws)
    assert counts[0] == 0


@pytest.mark.parametrize("paint", [paint_inside, paint_outside])
def test_painted_noise_is_uniform(paint):
    image = np.full(CROP, 2.0, np.float32)
    out = np.concatenate([paint(image, PUBLISHED, np.random.default_rng(n)).ravel() for n in range(6)])
    noise = out[out != 2]
    shares = np.histogram(noise, 10, (0, 1))[0] / len(noise)
    assert np.abs(shares - 0.1).max() < 0.01


def test_painting_works_on_what_is_distorted_already():
    recipe = replace(NEVER, curve=1, inverted=1, paint=1, inpaint=1)
    levels = np.full((16, 16, 16), LEVELS, np.uint16)
    image, target = distort(levels, recipe, np.random.default_rng(1))
    assert (target == 1).all()
    assert (image[:3] == 0).all()  # inverted, and outside every block
    assert ((image > 0) & (image < 1)).any()


@pytest.mark.parametrize("shape", [(16, 16, 16), (96, 96, 96), (32, 16, 24)])
def test_crops_of_any_usable_size_can_be_distorted(shape):
    always = DistortionRecipe(shuffle=1, shuffled_blocks=200, curve=1, paint=1)
    for seed in range(6):
        assert distort(crop(shape), always, np.random.default_rng(seed))[0].shape == shape
