"""What the click network is taught with: crops, lesions, damaged proposals, a user who corrects them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.prompts import drawn
from GenesisSegmentLib.engine.clicking.crops import Crop, CropMaker, CropRecipe
from GenesisSegmentLib.engine.clicking.damage import DAMAGES, any_damage, damaged
from GenesisSegmentLib.engine.clicking.games import Game, GameRecipe, Table
from GenesisSegmentLib.engine.clicking.lesions import plant_lesion
from GenesisSegmentLib.engine.clicking.material import Scan, structures, training_scans
from GenesisSegmentLib.engine.clicking.user import EXACT, SimulatedUser, UserRecipe
from GenesisSegmentLib.engine.refine.channels import CHANNELS, CONTRAST_HU, OUTSIDE, REACH, WHOSE, channels, nearness

SPACING = (1.0, 1.0, 2.0)
SIDE = 32


@pytest.fixture
def ball() -> np.ndarray:
    """A ball off the centre of a small grid."""
    i, j, k = np.ogrid[:SIDE, :SIDE, :SIDE]
    return (i - 14) ** 2 + (j - 17) ** 2 + (2 * (k - 15)) ** 2 < 10**2


@pytest.fixture
def scan() -> Scan:
    """A bright block of one label beside a dark one, on an anisotropic grid."""
    labels = np.zeros((40, 36, 20), np.uint8)
    labels[8:24, 10:26, 5:15], labels[26:34, 10:26, 5:15] = 1, 2
    hu = np.select([labels == 1, labels == 2], [200, -100], 20).astype(np.int16)
    found = structures(labels, (1.0, 1.0, 2.0), {1: 6})
    return Scan("block", "CC BY 4.0", labels, hu, (1.0, 1.0, 2.0), found, hosts=(1,))


def plain(**changes) -> CropRecipe:
    shares = {"lesion_share": 0.0, "invented_share": 0.0, "painted_share": 0.0, "full_share": 1.0}
    return CropRecipe(**{**shares, "spacing_mm": (1.0, 1.5), "slices_mm": (1.0, 2.0), **changes})


def crop_of(truth: np.ndarray) -> Crop:
    return Crop(np.where(truth, 100, 0).astype(np.float32), truth, np.ones_like(truth), SPACING)


# Channels


def test_prompts_fade_out_within_their_reach():
    voxels = np.zeros((16, 16, 16), bool)
    voxels[5, 8, 10] = True
    near = nearness(voxels)
    away = np.abs(np.indices(voxels.shape) - np.array([5, 8, 10])[:, None, None, None])
    assert near[5, 8, 10] == 1
    assert (near[away.max(axis=0) >= REACH] == 0).all()
    assert near[5, 8, 13] > 0
    assert near[5, 8, 12] < near[5, 8, 11] < 1
    assert near[7, 10, 12] < near[5, 8, 12]


def test_grey_values_are_kept_apart_in_both_windows():
    hu = np.array([-2000.0, -1000, -100, 0, 100, 300, 900, 3000], np.float32).reshape(2, 2, 2)
    nothing = np.zeros(hu.shape, bool)
    soft, whole = channels(hu, nothing, nothing, nothing, SPACING)[:2]
    assert soft.min() == whole.min() == -1
    assert soft.max() == whole.max() == 1
    assert soft.ravel()[2] < soft.ravel()[3] < soft.ravel()[4]
    assert whole.ravel()[1] < whole.ravel()[2] < whole.ravel()[6]


def test_what_looks_like_the_prompts_and_the_segment_is_told_from_what_does_not(ball):
    none, point = np.zeros_like(ball), np.zeros_like(ball)
    point[14, 17, 15] = True
    hu = np.where(ball, 60, 20).astype(np.float32)
    segment, inside, outside = channels(hu, ~ball, point, none, SPACING)[OUTSIDE + 1 : WHOSE]
    assert np.allclose(segment[ball], 40 / CONTRAST_HU)
    assert (segment[~ball] == 0).all()
    assert (inside[ball] == 0).all()
    assert np.allclose(inside[~ball], -40 / CONTRAST_HU)
    assert (outside == 0).all()
    assert (np.abs(channels(hu * 30, ~ball, point, none, SPACING)) <= 1).all()


def test_channels_can_be_written_over_old_ones(ball):
    none = np.zeros_like(ball)
    hu = np.where(ball, 50, -50).astype(np.float32)
    old = channels(hu, ball, ball, none, SPACING)
    again = channels(hu, none, none, ball, SPACING, old)
    assert again is old
    assert np.array_equal(again, channels(hu, none, none, ball, SPACING))
    assert len(again) == CHANNELS


# Damage


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_what_it_is_called(ball, kind):
    found = damaged(ball, SPACING, kind, np.random.default_rng(1))
    lost, gained = (ball & ~found).any(), (found & ~ball).any()
    expected = {
        "shifted": (True, True),
        "eroded": (True, False),
        "dilated": (False, True),
        "cut": (True, False),
        "leaked": (False, True),
        "lumpy": (True, True),
        "holed": (True, False),
        "empty": (True, False),
    }
    assert (lost, gained) == expected[kind]
    assert found.any() == (kind != "empty")


def test_a_shift_keeps_the_shape(ball):
    found = damaged(ball, SPACING, "shifted", np.random.default_rng(4))
    assert found.sum() == ball.sum()
    shift = np.array(ndimage.center_of_mass(found)) - ndimage.center_of_mass(ball)
    assert np.allclose(shift, np.rint(shift))
    assert 2 < np.linalg.norm(shift * SPACING) < 8


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6))
def test_proposals_of_any_structure_can_be_damaged(seed, size):
    truth = np.zeros((12, 12, 12), bool)
    truth[4 : 4 + size, 5 : 5 + size, 11 - size :] = True
    found = any_damage(truth, (0.7, 0.7, 5.0), np.random.default_rng(seed))
    assert found.shape == truth.shape
    assert found.dtype == bool


# User


def test_user_clicks_into_the_middle_of_the_largest_mistake(ball):
    proposal = ball.copy()
    proposal[:, :14] = False
    proposal[0, 0, :4] = True
    prompt = SimulatedUser(EXACT, np.random.default_rng(0)).prompt(proposal, ball, SPACING)
    missing = ball & ~proposal
    depth = ndimage.distance_transform_edt(missing, sampling=SPACING)
    assert prompt.is_positive
    assert depth[tuple(int(x) for x in prompt.points[0])] == depth.max()


def test_user_takes_away_what_is_too_much(ball):
    proposal = ball.copy()
    proposal[26:31, 20:30, 20:28] = True
    prompt = SimulatedUser(EXACT, np.random.default_rng(0)).prompt(proposal, ball, SPACING)
    place = tuple(int(x) for x in prompt.points[0])
    assert not prompt.is_positive
    assert proposal[place]
    assert not ball[place]


def test_user_draws_nothing_where_nothing_is_wrong(ball):
    assert SimulatedUser(EXACT, np.random.default_rng(0)).prompt(ball, ball, SPACING) is None


@pytest.mark.parametrize("kind", ["point", "scribble", "lasso"])
def test_drawing_stays_on_the_mistake_that_is_meant(ball, kind):
    recipe = UserRecipe(kinds=((kind, 1.0),), box_share=0.0)
    geometry = Geometry(ball.shape, np.diag([*SPACING, 1.0]))
    kinds = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        proposal = damaged(ball, SPACING, "cut" if seed % 2 else "leaked", rng)
        prompt = SimulatedUser(recipe, rng).prompt(proposal, ball, SPACING)
        voxels = drawn(prompt, geometry, Box.whole(ball.shape))
        assert voxels.any()
        assert (ball[voxels] == prompt.is_positive).mean() > 0.9
        kinds.append(prompt.kind)
    assert kinds.count(kind) >= 8  # a mistake may be too small for more than a point


def test_a_scribble_does_not_take_a_short_cut_outside_of_the_mistake():
    ring = np.zeros((40, 40, 3), bool)
    ring[4:36, 4:36] = True
    ring[8:32, 8:36] = False
    geometry = Geometry(ring.shape, np.diag([*SPACING, 1.0]))
    for seed in range(8):
        user = SimulatedUser(UserRecipe(kinds=(("scribble", 1.0),), box_share=0.0), np.random.default_rng(seed))
        voxels = drawn(user.prompt(np.zeros_like(ring), ring, SPACING), geometry, Box.whole(ring.shape))
        assert ring[voxels].mean() > 0.9


def test_a_box_is_drawn_around_what_is_missing_altogether(ball):
    recipe = UserRecipe(box_share=1.0, box_slack=0.0)
    prompt = SimulatedUser(recipe, np.random.default_rng(0)).prompt(np.zeros_like(ball), ball, SPACING)
    voxels = drawn(prompt, Geometry(ball.shape, np.diag([*SPACING, 1.0])), Box.whole(ball.shape))
    assert Box.around(voxels) == Box.around(ball)


# Games


def test_what_the_user_said_stands_whatever_the_network_answers(ball):
    game = Game(crop_of(ball), np.zeros_like(ball), SimulatedUser(EXACT, np.random.default_rng(0)))
    assert game.ask()
    assert game.inside.sum() == 1
    game.answer(np.full(ball.shape, -5, np.float32))
    assert np.array_equal(game.mask, game.inside)
    game.answer(np.full(ball.shape, 5, np.float32))
    assert game.ask()
    game.answer(np.full(ball.shape, 5, np.float32))
    assert game.rounds == 2
    assert not game.mask[game.outside].any()
    assert game.outside.any()
    assert game.inside.any()


def test_voxels_beyond_the_scan_count_nothing(ball):
    crop = crop_of(ball)
    known = np.ones_like(ball)
    known[:, :, 20:] = False
    game = Game(
        Crop(crop.hu, ball & known, known, SPACING), ball & known, SimulatedUser(EXACT, np.random.default_rng(0))
    )
    assert (game.weights()[~known] == 0).all()
    assert (game.weights()[known] >= 1).all()
    game.answer(np.ones(ball.shape, np.float32))
    assert np.array_equal(game.mask, known)


def test_voxels_near_what_was_drawn_count_more(ball):
    game = Game(crop_of(ball), np.zeros_like(ball), SimulatedUser(EXACT, np.random.default_rng(0)))
    game.ask()
    weights = game.weights()
    assert weights[game.inside].min() > 3 * weights[0, 0, 0]


def test_a_game_ends_after_its_last_round(scan):
    rng = np.random.default_rng(0)
    table = Table(CropMaker([scan], plain(), rng), SimulatedUser(EXACT, rng), 16, GameRecipe(2, 0.0))
    first = table.game
    answer = np.where(np.random.default_rng(1).uniform(size=(16, 16, 16)) < 0.5, 1, -1)
    table.turn(answer)
    assert table.game is first
    table.turn(answer)
    assert table.game is not first


# Crops


def test_image_and_structure_of_a_crop_belong_together(scan):
    maker = CropMaker([scan], plain(), np.random.default_rng(3))
    bright, dark = [], []
    for _ in range(12):
        crop = maker.draw(16)
        assert crop.truth.sum() >= 30
        assert not crop.truth[~crop.known].any()
        inner = ndimage.binary_erosion(crop.truth, iterations=2)
        (bright if crop.hu[crop.truth].mean() > 40 else dark).append(crop.hu[inner].mean() if inner.any() else None)
    bright, dark = ([v for v in values if v is not None] for values in (bright, dark))
    assert len(bright) > 1
    assert len(dark) > 1
    assert min(bright) > 100
    assert max(dark) < -20


def test_the_edge_of_a_small_scan_is_repeated_and_not_known(scan):
    recipe = plain(spacing_mm=(3.0, 3.0), slices_mm=(3.0, 3.0), whole_share=0.0)
    everywhere = np.ones_like(scan.labels)
    full = replace(
        scan, labels=everywhere, hu=np.full_like(scan.hu, 500), structures=structures(everywhere, SPACING, {})
    )
    crop = CropMaker([full], recipe, np.random.default_rng(3)).draw(32)
    assert 0 < crop.known.mean() < 0.5
    assert crop.hu[~crop.known].mean() > 300
    assert np.array_equal(crop.truth, crop.known)


def test_lesions_are_planted_into_their_host_only():
    rng = np.random.default_rng(2)
    host = np.zeros((SIDE, SIDE, SIDE), bool)
    host[4:28, 4:20, 6:26] = True
    lung = np.where(host, -850, 40).astype(np.float32)
    for _ in range(6):
        hu, lesion = plant_lesion(lung, host, SPACING, True, rng)
        assert not lesion[~host].any()
        assert lesion.any()
        assert np.array_equal(hu[~host], lung[~host])
        assert hu[lesion].mean() > -700


def test_no_lesion_where_there_is_no_host():
    hu = np.zeros((8, 8, 8), np.float32)
    same, lesion = plant_lesion(hu, np.zeros(hu.shape, bool), SPACING, False, np.random.default_rng(0))
    assert not lesion.any()
    assert np.array_equal(same, hu)


def test_a_crop_with_a_lesion_is_about_the_lesion(scan):
    maker = CropMaker([scan], plain(lesion_share=1.0), np.random.default_rng(5))
    crop = maker.draw(24)
    blocks = 16 * 16 * 10 * 2 / np.prod(crop.spacing)
    assert 30 <= crop.truth.sum() < 0.8 * blocks


# Material


def test_values_and_classes_are_structures():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:8, :8, :8], labels[10:18, :8, :8], labels[:8, 10:, 10:], labels[19, 19, 19] = 10, 11, 90, 7
    found = {s.values: s for s in structures(labels, (2.0, 1.0, 1.0), {10: 16, 11: 16, 7: 4})}
    assert set(found) == {(10,), (11,), (90,), (10, 11)}
    assert found[10, 11].extent_mm == 36
    assert found[90,].weight < found[10,].weight


def test_no_patient_of_the_measurements_is_trained_on(shared_data):
    names = {scan.name for scan in training_scans(shared_data)}
    assert "ts_example_abdomen" in names
    assert not {name for name in names if name.startswith(("cptac", "lung1", "nsclc", "cip", "kits", "pants"))}
