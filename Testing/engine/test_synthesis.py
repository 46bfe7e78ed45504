"""Synthetic lesions: where they lie, what they change, and that everything but what is drawn stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.engine.benchmark.synthesis import by_scipy
from GenesisSegmentLib.engine.synthesis import planting
from GenesisSegmentLib.engine.synthesis.drawing import Lesion, Plan, draw_plan
from GenesisSegmentLib.engine.synthesis.effects import pushed
from GenesisSegmentLib.engine.synthesis.lattice import Lattice
from GenesisSegmentLib.engine.synthesis.planting import plant, planted, synthesize
from GenesisSegmentLib.engine.synthesis.recipe import RULES, SIZES, Options
from GenesisSegmentLib.engine.synthesis.shapes import draw_nodes, lesion_shape
from GenesisSegmentLib.engine.synthesis.textures import texture

Spacing = tuple[float, float, float]
SPACINGS: tuple[Spacing, ...] = ((1.0, 1.0, 1.0), (0.8, 0.9, 2.5), (3.0, 1.4, 1.0), (2.0, 2.0, 2.0))
LIVER_HU, FAT_HU = 110, -100
BANK = (64, 48, 40)


@pytest.fixture(autouse=True)
def small_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The textures of the product are large; these are made in milliseconds."""
    monkeypatch.setattr(planting, "texture", lambda number: texture(number, 0, BANK))


def a_case(spacing: Spacing = (1.0, 1.0, 1.0), radius: float = 28.0) -> tuple[np.ndarray, np.ndarray]:
    """int16 HU of a ball of liver in fat, with noise, and the ball; (X, Y, Z)."""
    sides = [np.arange(-radius - 12, radius + 12, s) for s in spacing]
    organ = sum(a**2 for a in np.meshgrid(*sides, indexing="ij")) <= radius**2
    noise = np.random.default_rng(0).normal(0, 8, organ.shape)
    return np.rint(np.where(organ, LIVER_HU, FAT_HU) + noise).astype(np.int16), organ


def one_lesion(
    organ: np.ndarray, radii: tuple[int, int, int], spacing: Spacing, **more: object
) -> tuple[Plan, Lattice]:
    """A plan with an ellipsoid that is not deformed in the middle of the organ."""
    box = Box.around(organ)
    assert box is not None
    lattice = Lattice(box, spacing)
    centre = tuple(n // 2 for n in lattice.shape)
    lesion = Lesion("small", centre, radii, np.zeros((3, 2, 3, 3)))  # type: ignore[arg-type]
    return Plan("liver", "small", (lesion,), 0, (5, 9, 33), 1.5, 100.0), lattice  # type: ignore[arg-type]


@settings(max_examples=12)
@given(spacing=st.sampled_from(SPACINGS), size=st.sampled_from(["tiny", "small", "medium"]), seed=st.integers(0, 999))
def test_lesions_lie_in_the_organ_and_all_else_keeps_every_bit(spacing: Spacing, size: str, seed: int) -> None:
    hu, organ = a_case(spacing)
    before = hu.copy()
    found = plant(hu, organ, spacing, np.random.default_rng(seed), "liver", size)
    assert (hu == before).all()
    assert found.hu.dtype == hu.dtype
    assert found.lesion.any()
    assert not (found.lesion & ~organ).any()
    changed = found.hu != hu
    assert not (changed & ~organ).any()
    far = ndimage.distance_transform_edt(~found.lesion, sampling=spacing)
    assert far[changed].max() <= 4 * found.plan.edge_mm + 2 * max(spacing)
    assert (found.hu[found.lesion].astype(int) - hu[found.lesion]).mean() < -15
    assert (found.hu <= hu).all()


def test_the_same_seed_gives_the_same_lesions_and_another_gives_others() -> None:
    hu, organ = a_case((1.5, 1.5, 2.0))
    one, same, other = (synthesize(hu, organ, (1.5, 1.5, 2.0), np.random.default_rng(n), "liver") for n in (4, 4, 5))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert (one[1] != other[1]).any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_radii_are_millimetres_whatever_the_spacing(spacing: Spacing) -> None:
    hu, organ = a_case(spacing)
    plan, lattice = one_lesion(organ, (16, 8, 12), spacing)
    lesion = planted(hu, organ, plan, lattice).lesion
    ml = np.count_nonzero(lesion) * np.prod(spacing)
    assert ml == pytest.approx(4 / 3 * np.pi * 16 * 8 * 12, rel=0.06)
    box = Box.around(lesion)
    assert box is not None
    for n, step, radius in zip(box.shape, spacing, (16, 8, 12), strict=True):
        assert abs(n * step - 2 * radius) <= 1 + 1.5 * step


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_grid_of_millimetres_holds_the_whole_organ_and_gives_it_back(spacing: Spacing) -> None:
    _hu, organ = a_case(spacing)
    box = Box.around(organ)
    assert box is not None
    lattice = Lattice(box, spacing)
    fine = lattice.marked(organ[box.slices])
    assert np.count_nonzero(fine) == pytest.approx(4 / 3 * np.pi * 28**3, rel=0.05)
    values, at = lattice.back(fine, Box.whole(fine.shape))
    assert at == box
    assert np.mean((values >= 0.5) == organ[box.slices]) > 0.97


def test_floats_stay_floats_and_keep_their_bits() -> None:
    hu, organ = a_case()
    exact = hu.astype(np.float32) + np.float32(0.123)
    found = plant(exact, organ, (1.0, 1.0, 1.0), np.random.default_rng(1), "liver", "small")
    assert found.hu.dtype == np.float32
    assert (found.hu[~organ] == exact[~organ]).all()


@settings(max_examples=15)
@given(radii=st.tuples(*[st.integers(2, 9)] * 3), sigma=st.floats(0, 4), seed=st.integers(0, 999))
def test_shapes_are_those_of_three_plain_resamplings(radii: tuple[int, int, int], sigma: float, seed: int) -> None:
    nodes = draw_nodes(sigma, np.random.default_rng(seed))
    shape = np.ones((45, 45, 45), bool)
    lesion = Lesion("tiny", (22, 22, 22), radii, nodes)
    plan = Plan("liver", "tiny", (lesion,), 0, (0, 0, 0), 1.0, 100.0)
    flat = np.ones(shape.shape, np.float32)
    plain = by_scipy(flat, shape, plan, flat)[1]
    found = lesion_shape(radii, nodes)
    ours = np.zeros_like(plain)
    ours[tuple(slice(22 - n // 2, 23 + n // 2) for n in found.shape)] = found
    assert (ours == plain).all()


def test_ct_and_lesions_are_those_of_the_plain_version() -> None:
    hu, organ = (array[8:-8, 5:-5, 3:-3] for array in a_case())
    plan = draw_plan("liver", organ, np.random.default_rng(3), "mix")
    grains = texture(plan.texture, 0, BANK).crop(plan.start, organ.shape)
    values, lesion = by_scipy(hu.astype(np.float32), organ, plan, grains)
    ours = planted(hu.astype(np.float32), organ, plan, Lattice.whole(organ.shape))
    assert (ours.lesion == lesion).all()
    assert np.abs(ours.hu - values).max() < 0.01


@pytest.mark.parametrize("organ", RULES)
@pytest.mark.parametrize("size", SIZES)
def test_numbers_and_radii_are_those_of_the_rules(organ: str, size: str) -> None:
    mask = np.zeros((70, 70, 70), bool)
    mask[3:67, 3:67, 3:67] = True
    rules = RULES[organ]
    low, high = rules.numbers[size]
    counts = set()
    for seed in range(12):
        plan = draw_plan(organ, mask, np.random.default_rng(seed), size)
        counts.add(len(plan.lesions))
        for lesion in plan.lesions:
            assert all(rules.size(size).radii[0] <= r <= rules.size(size).radii[1] for r in lesion.radii)
            share = (lesion.centre[2] - 4) / 61
            assert 0.29 <= share <= 0.71 or (organ, size) == ("pancreas", "large")
        assert 65 <= plan.difference_hu <= 145
        assert 1 <= plan.edge_mm <= 2
    assert counts <= set(range(low, high + 1))
    assert len(counts) > 1 or low == high


def test_a_mix_has_lesions_of_every_size() -> None:
    plan = draw_plan("liver", np.ones((60, 60, 60), bool), np.random.default_rng(0), "mix")
    assert {lesion.size for lesion in plan.lesions} == set(SIZES)
    assert 5 <= sum(lesion.size == "small" for lesion in plan.lesions) <= 10


def test_places_in_the_liver_keep_off_the_border_of_a_slice() -> None:
    mask = np.zeros((40, 12, 30), bool)
    mask[4:36, 2:10, 2:28] = True
    for seed in range(10):
        plan = draw_plan("liver", mask, np.random.default_rng(seed), "tiny")
        assert all(5 <= lesion.centre[1] <= 6 for lesion in plan.lesions)  # a voxel off the box, and two by erosion
        assert all(7 <= lesion.centre[0] <= 32 for lesion in plan.lesions)


def test_slices_from_further_out_are_taken_where_the_middle_has_no_room() -> None:
    mask = np.zeros((30, 30, 50), bool)
    mask[12:15, 12:15] = True  # too thin to be eroded
    mask[5:25, 5:25, :8] = True
    plan = draw_plan("liver", mask, np.random.default_rng(0), "tiny")
    assert all(lesion.centre[2] < 8 for lesion in plan.lesions)


def test_a_large_lesion_of_the_pancreas_lies_in_the_middle_of_its_box() -> None:
    mask = np.zeros((80, 60, 60), bool)
    mask[10:72, 8:54, 4:56] = True
    for seed in range(3):
        plan = draw_plan("pancreas", mask, np.random.default_rng(seed), "large")
        (lesion,) = plan.lesions
        assert np.abs(np.array(lesion.centre) - (41, 31, 30)).max() <= 1


def test_a_lesion_of_the_kidney_may_leave_it_into_fat_alone() -> None:
    hu, organ = a_case((1.5, 1.5, 2.0), 20.0)
    others = np.zeros_like(organ)
    others[: organ.shape[0] // 3] = True
    others &= ~organ
    hu[:, :4] = 60  # muscle
    outside = 0
    for seed in range(8):
        found = plant(hu, organ, (1.5, 1.5, 2.0), np.random.default_rng(seed), "kidney", "medium", others=others)
        beyond = found.lesion & ~organ
        assert beyond.any() == found.plan.lesions[0].leaves or not beyond.any()
        assert not (beyond & others).any()
        assert not beyond[:, :3].any()
        outside += beyond.any()
        if np.count_nonzero(beyond) > 200:
            assert found.hu[beyond].mean() > FAT_HU + 60  # it has taken the place of fat
    assert outside


def test_a_lesion_of_the_kidney_hides_what_was_there_and_one_of_the_liver_does_not() -> None:
    hu, organ = a_case()
    pyramids = np.where(np.indices(organ.shape).sum(axis=0) // 6 % 2, 60, 0).astype(np.int16)
    hu[organ] += pyramids[organ]
    plan, lattice = one_lesion(organ, (14, 14, 14), (1.0, 1.0, 1.0))
    for name, is_hidden in (("liver", False), ("kidney", True)):
        found = planted(hu, organ, replace(plan, organ=name), lattice)
        inner = ndimage.binary_erosion(found.lesion, iterations=6)
        likeness = np.corrcoef(found.hu[inner], pyramids[inner])[0, 1]
        assert abs(likeness) < 0.1 if is_hidden else likeness > 0.8
        assert found.hu[inner].std() > 5  # noise is left


def test_vessels_are_kept_off() -> None:
    hu, organ = a_case()
    vessel = np.zeros_like(organ)
    vessel[:, 36:44, 30:50] = True
    vessel &= organ
    hu[vessel] += 90
    touched = {True: 0, False: 0}
    for seed in range(5):
        for is_avoided in touched:
            options = Options(is_vessel_avoided=is_avoided)
            plan = plant(hu, organ, (1, 1, 1), np.random.default_rng(seed), "liver", "small", options).plan
            box = Box.around(organ)
            assert box is not None
            for lesion in plan.lesions:
                place = np.array(lesion.centre) + box.start
                touched[is_avoided] += (
                    np.linalg.norm(np.argwhere(vessel) - place, axis=1) < min(lesion.radii) - 3
                ).any()
    assert touched[True] == 0
    assert touched[False] > 0


def test_mass_effect_pushes_outwards_and_leaves_the_surface_and_all_beyond_in_place() -> None:
    _hu, organ = a_case()
    mark = np.zeros(organ.shape, np.float32)
    mark[50:53, 39:42, 39:42] = 100
    found = pushed(mark, organ, (1, 1, 1), (40, 40, 40), 12.0, 0.5)
    assert found is not None
    values, box = found
    moved = (np.argwhere(values > 40) + box.start).mean(axis=0)
    assert moved[0] > 52.0
    assert np.abs(moved[1:] - 40).max() < 1
    ramp = np.indices(organ.shape, np.float32)[0]
    values, box = pushed(ramp, organ, (1, 1, 1), (40, 40, 40), 16.0, 0.5)  # type: ignore[misc]
    outside = ~organ[box.slices]
    assert (values[outside] == ramp[box.slices][outside]).all()


def test_a_capsule_is_a_brighter_rim() -> None:
    hu, organ = a_case()
    plain, capped = (
        plant(hu, organ, (1, 1, 1), np.random.default_rng(2), "liver", "medium", Options(has_capsule=c)) for c in (0, 1)
    )
    assert (plain.lesion == capped.lesion).all()
    inside = ndimage.distance_transform_edt(capped.lesion)
    gain = capped.hu.astype(int) - plain.hu
    assert gain[(inside > 0) & (inside < 1.5)].mean() > 3
    assert gain[inside > 6].max() < 3


@given(start=st.tuples(*[st.integers(0, 500)] * 3))
@settings(max_examples=10)
def test_a_texture_goes_on_for_ever_and_a_crop_is_the_same_wherever_it_begins(start: tuple[int, int, int]) -> None:
    grains = texture(4, 0, BANK)
    whole = grains.crop(start, (9, 8, 7))
    part = grains.crop(tuple(s + 3 for s in start), (6, 5, 4))
    assert np.allclose(whole[3:, 3:, 3:], part)
    assert np.allclose(grains.crop(tuple(s + n for s, n in zip(start, BANK, strict=True)), (9, 8, 7)), whole)


@pytest.mark.parametrize("number", range(10))
def test_textures_are_of_the_stated_brightness(number: int) -> None:
    values = texture(number, 0, BANK).values / 255
    assert 0.4 <= values.mean() <= 0.56  # what was below 0.12 is brightened, but not counted, when it is scaled
    assert values.std() > 0.01


def test_an_organ_that_is_too_small_for_a_size_is_refused_and_no_size_drawn_that_is_too_large() -> None:
    hu, organ = a_case(radius=9.0)
    with pytest.raises(InputError, match=r"The liver of 3\.\d ml is too small for medium lesions"):
        plant(hu, organ, (1, 1, 1), np.random.default_rng(0), "liver", "medium")
    drawn = {plant(hu, organ, (1, 1, 1), np.random.default_rng(n), "liver").plan for n in range(12)}
    assert {lesion.size for plan in drawn for lesion in plan.lesions} == {"tiny", "small"}


def test_what_cannot_be_used_is_refused() -> None:
    hu, organ = a_case()
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no recipe"):
        plant(hu, organ, (1, 1, 1), rng, "spleen")
    with pytest.raises(InputError, match="no size huge"):
        plant(hu, organ, (1, 1, 1), rng, "liver", "huge")
    with pytest.raises(InputError, match="empty"):
        plant(hu, np.zeros_like(organ), (1, 1, 1), rng)
    with pytest.raises(GeometryError, match="different shapes"):
        plant(hu, organ[1:], (1, 1, 1), rng)
    slab = np.zeros_like(organ)
    slab[:, :, 10:12] = True
    with pytest.raises(InputError, match="three millimetres"):
        plant(hu, slab, (1, 1, 1), rng)
