from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refining_fuzz as fuzz
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Box, Geometry, Reorientation
from GenesisSegmentLib.core.prompts import Prompt, axis_box
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.refine import geodesic
from GenesisSegmentLib.engine.refine.draft import Draft
from GenesisSegmentLib.engine.refine.refiner import Refiner
from GenesisSegmentLib.engine.refine.session import Session

SHAPE = (64, 60, 56)
CENTRE, RADIUS = (34, 28, 26), 14.0
ORIENTATIONS = [Reorientation(a, f) for a in permutations(range(3)) for f in product((False, True), repeat=3)]


def a_ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2 < radius**2


def a_ct(spacing: tuple[float, float, float] = (1, 1, 1), noise: float = 10) -> Volume:
    """A bright ball in darker tissue."""
    hu = np.where(a_ball(SHAPE, CENTRE, RADIUS), 150, 40) + np.random.default_rng(3).normal(0, noise, SHAPE)
    geometry = Geometry(SHAPE, np.diag([*spacing, 1.0]))
    return Volume(np.asfortranarray(hu, dtype=np.int16), geometry, Source(Path("ball"), "ball"))


TRUTH = a_ball(SHAPE, CENTRE, RADIUS)


def a_point(*place: float, is_positive: bool = True) -> Prompt:
    return Prompt("point", ((place[0], place[1], place[2]),), is_positive)


class Brightness:
    """A network that finds what is bright, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[float, float, float]]] = []

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        self.asked.append((hu, mask, inside, outside, spacing_mm))
        return (hu - 95) / 50


# --- whatever is drawn ----------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_prompt_is_disagreed_with_and_nothing_protected_changes(seed: int) -> None:
    fuzz.run(6, seed)


def test_a_thousand_random_prompts() -> None:
    told = fuzz.run(1000, seed=20)
    assert told["answered"] > 300
    assert told["refused"] > 100


# --- the preview ----------------------------------------------------------------


def after(draft: Draft, change: object) -> np.ndarray:
    return fuzz.after(draft, change, SHAPE)  # type: ignore[arg-type]


def test_a_positive_point_adds_the_tissue_around_it_up_to_its_edge() -> None:
    draft = Draft.whole(np.zeros(SHAPE, dtype=bool))
    now = after(draft, Refiner(a_ct()).preview(draft, [a_point(*CENTRE)]))
    assert now[TRUTH].mean() > 0.1
    assert (now & ~TRUTH).sum() < 0.02 * now.sum()
    near_the_edge = (CENTRE[0] + 10, *CENTRE[1:])
    now = after(draft, Refiner(a_ct()).preview(draft, [a_point(*near_the_edge)]))
    assert now.sum() > 300
    assert (now & ~TRUTH).sum() < 0.05 * now.sum()


def test_a_negative_point_takes_a_leak_away_and_leaves_what_is_beyond_the_edge() -> None:
    leaking = a_ball(SHAPE, (50, 28, 26), 9) | TRUTH
    draft = Draft.whole(leaking)
    now = after(draft, Refiner(a_ct()).preview(draft, [a_point(53, 28, 26, is_positive=False)]))
    removed = leaking & ~now
    assert removed.sum() > 100
    assert not (now & ~leaking).any()
    assert (removed & TRUTH).sum() < 0.1 * removed.sum()


def test_a_preview_of_a_positive_prompt_only_adds_and_of_a_negative_one_only_removes() -> None:
    rng = np.random.default_rng(0)
    draft = Draft.whole(rng.random(SHAPE) < 0.5)
    for is_positive in (True, False):
        now = after(draft, Refiner(a_ct()).preview(draft, [a_point(30, 30, 30, is_positive=is_positive)]))
        assert (now >= draft.mask).all() if is_positive else (now <= draft.mask).all()


def test_a_box_on_an_empty_place_segments_what_is_in_its_middle() -> None:
    draft = Draft.whole(np.zeros(SHAPE, dtype=bool))
    box = Box((17, 11, 9), (52, 46, 44))
    now = after(draft, Refiner(a_ct()).preview(draft, [axis_box(box)]))
    assert 2 * (now & TRUTH).sum() / (now.sum() + TRUTH.sum()) > 0.9


def test_a_box_of_one_slice_changes_one_slice() -> None:
    draft = Draft.whole(np.zeros(SHAPE, dtype=bool))
    change = Refiner(a_ct()).preview(draft, [axis_box(Box((15, 10, 26), (54, 46, 27)))])
    now = after(draft, change)[:, :, 26]
    assert change.box.shape[2] == 1
    assert 2 * (now & TRUTH[:, :, 26]).sum() / (now.sum() + TRUTH[:, :, 26].sum()) > 0.8


@pytest.mark.parametrize("orientation", ORIENTATIONS[5::7], ids=str)
@pytest.mark.parametrize("is_network", [True, False])
def test_left_stays_left_however_the_ct_is_stored(orientation: Reorientation, is_network: bool) -> None:
    volume, proposal = a_ct((0.8, 1.1, 1.4)), a_ball(SHAPE, (31, 26, 29), 12)
    turned = volume.geometry.reoriented(orientation)
    to_turned = np.linalg.inv(turned.ijk_to_ras) @ volume.geometry.ijk_to_ras
    prompt = Prompt("scribble", ((42.1, 22.3, 26.2), (45.2, 30.4, 24.8)), radius_mm=2.0)
    masks = []
    for grid, apply, p in ((volume.geometry, None, prompt), (turned, orientation.apply, prompt.moved(to_turned))):
        move = apply or (lambda a: a)
        ct = replace(volume, voxels=np.asfortranarray(move(volume.voxels)), geometry=grid)
        session = Session(ct, move(proposal), clicks=Brightness() if is_network else None)
        session.answer(p)
        masks.append(session.mask)
    moved = orientation.apply(masks[0])
    assert (masks[0] != proposal).sum() > 500
    assert (moved != masks[1]).sum() <= 0.1 * (masks[0] != proposal).sum()


def test_without_numba_the_preview_says_that_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    draft, prompts = Draft.whole(np.zeros(SHAPE, dtype=bool)), [a_point(*CENTRE)]
    quick = Refiner(a_ct()).preview(draft, prompts)
    monkeypatch.setattr(geodesic, "_compiled", lambda: None)
    slow = Refiner(a_ct()).preview(draft, prompts)
    assert any("numba" in note for note in slow.notes)
    assert (after(draft, quick) != after(draft, slow)).mean() < 0.001


# --- the answer ----------------------------------------------------------------


def test_the_network_sees_the_ct_the_segment_and_all_prompts_around_the_newest() -> None:
    volume, network = a_ct(), Brightness()
    mask = a_ball(SHAPE, (30, 28, 26), 10)
    prompts = [
        a_point(28, 27, 25),
        Prompt("lasso", ((50, 20, 20), (55, 20, 20), (55, 26, 20)), False),
        a_point(*CENTRE),
    ]
    Refiner(volume, network).answer(Draft.whole(mask), prompts)
    hu, seen, inside, outside, spacing = network.asked[0]
    # The CT is smaller than the grid along j and k, where its last voxels are repeated.
    within = tuple(slice(n) for n in SHAPE)
    assert hu.shape == (64, 64, 64)
    assert (hu[within] == volume.voxels).all()
    assert (hu[:, 60:, :56] == volume.voxels[:, 59:60]).all()
    assert (seen[within] == mask).all()
    assert {tuple(v) for v in np.argwhere(inside)} == {(28, 27, 25), CENTRE}
    assert outside.sum() > 15
    assert not outside[:, :, :20].any()
    assert spacing == (1.0, 1.0, 1.0)


def test_the_answer_is_where_the_network_says_so() -> None:
    session = Session(a_ct(), a_ball(SHAPE, (38, 30, 22), 9), clicks=Brightness())
    session.answer(a_point(*CENTRE))
    assert 2 * (session.mask & TRUTH).sum() / (session.mask.sum() + TRUTH.sum()) > 0.98


def test_outside_of_a_positive_box_the_network_adds_nothing() -> None:
    network = Brightness()
    session = Session(a_ct(), clicks=network)
    session.answer(axis_box(Box((20, 14, 12), (35, 42, 40))))
    assert session.mask.sum() > 1000
    assert not session.mask[35:].any()
    outside = network.asked[0][3][tuple(slice(n) for n in SHAPE)]
    assert outside[:20].all()
    assert not outside[20:35, 14:42, 12:40].any()


def a_large_ct(spacing: tuple[float, float, float] = (1, 1, 1)) -> tuple[Volume, np.ndarray]:
    shape = (200, 110, 120)
    truth = a_ball(shape, (100, 55, 60), 52)
    hu = np.asfortranarray(np.where(truth, 150, 40).astype(np.int16))
    return Volume(hu, Geometry(shape, np.diag([*spacing, 1.0])), Source(Path("large"), "large")), truth


def test_where_a_change_goes_on_beyond_the_region_the_network_is_asked_about_a_wider_one() -> None:
    volume, truth = a_large_ct()
    network = Brightness()
    session = Session(volume, clicks=network)
    session.answer(a_point(100, 55, 60))
    assert [a[0].shape[0] for a in network.asked] == [64, 96, 96]
    assert network.asked[-1][4] == (2.0, 2.0, 2.0)
    assert 2 * (session.mask & truth).sum() / (session.mask.sum() + truth.sum()) > 0.98


def test_a_prompt_larger_than_the_grid_is_seen_on_a_coarser_one_and_comes_back_smooth() -> None:
    volume, truth = a_large_ct((0.9, 0.9, 2.0))
    network = Brightness()
    session = Session(volume, clicks=network)
    session.answer(Prompt("scribble", ((60, 55, 60), (140, 55, 60))))
    hu, _mask, inside, _outside, spacing = network.asked[0]
    assert spacing == (1.8, 1.8, 2.0)
    assert 38 <= inside.sum() <= 44  # a thin line is still a line
    assert hu.shape == (96, 96, 96)
    band = truth ^ a_ball(volume.geometry.shape, (100, 55, 60), 50.5)
    assert (session.mask ^ truth)[~band].mean() < 0.01
    assert 2 * (session.mask & truth).sum() / (session.mask.sum() + truth.sum()) > 0.97


def test_on_a_coarser_grid_what_does_not_change_keeps_its_detail() -> None:
    volume, truth = a_large_ct()
    fine = truth.copy()
    fine[100, 55, 113:118] = True  # one voxel thin
    fine[160:, 50:60, 10:110:2] = np.random.default_rng(0).random((40, 10, 50)) < 0.5
    session = Session(volume, fine, clicks=Brightness())
    session.answer(Prompt("scribble", ((40, 55, 60), (160, 55, 60)), radius_mm=1.0))
    far = np.zeros_like(truth)
    far[168:, :45] = far[168:, 65:] = True
    assert (session.mask == fine)[far].all()


def test_without_a_network_the_answer_is_like_the_preview_and_says_so() -> None:
    draft, prompts = Draft.whole(a_ball(SHAPE, CENTRE, 6.0)), [a_point(CENTRE[0] + 9, *CENTRE[1:])]
    answer, preview = Refiner(a_ct()).answer(draft, prompts), Refiner(a_ct()).preview(draft, prompts)
    assert (after(draft, answer) == after(draft, preview)).all()
    assert any("no click network" in note for note in answer.notes)
    box = [axis_box(Box((0, 0, 0), (5, 5, 5)), is_positive=False)]
    assert not Refiner(a_ct()).answer(draft, box).notes  # needs none


# --- prompts that say nothing ----------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        a_point(-3, 5, 5),
        a_point(5, 5, 999, is_positive=False),
        Prompt("scribble", ()),
        Prompt("lasso", ()),
        Prompt("scribble", ((70, 0, 0), (80, 50, 50)), radius_mm=2.0),
        axis_box(Box((80, 0, 0), (90, 5, 5))),
    ],
)
def test_a_prompt_outside_of_the_ct_is_refused(prompt: Prompt) -> None:
    session = Session(a_ct(), TRUTH)
    for step in (session.preview, session.answer):
        with pytest.raises(InputError, match="no voxel of the CT"):
            step(prompt)
    assert (session.mask == TRUTH).all()
    assert session.prompts == ()


def test_a_prompt_on_protected_voxels_alone_is_refused() -> None:
    protected = np.zeros(SHAPE, dtype=bool)
    protected[30:] = True
    session = Session(a_ct(), TRUTH, protected)
    with pytest.raises(InputError, match="protected"):
        session.answer(a_point(*CENTRE))
    session.answer(a_point(29, 28, 26, is_positive=False))
    assert (session.mask == TRUTH)[30:].all()
    assert not session.mask[29, 28, 26]


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(GeometryError):
        Draft(Box((0, 0, 0), (3, 3, 3)), np.zeros((3, 3, 2), dtype=bool), np.zeros((3, 3, 3), dtype=bool))


# --- one after the other ----------------------------------------------------------------


def test_answers_add_up_and_each_is_one_step_of_undo() -> None:
    session = Session(a_ct(), a_ball(SHAPE, (30, 28, 26), 8), clicks=Brightness())
    states = [session.mask.copy()]
    for prompt in (
        a_point(10, 10, 10),
        a_point(*CENTRE, is_positive=False),
        axis_box(Box((0, 0, 0), (33, 60, 56)), False),
    ):
        session.answer(prompt)
        states.append(session.mask.copy())
    assert not session.mask[10, 10, 10]  # the later box holds
    assert not session.mask[CENTRE]
    for state in states[-2::-1]:
        assert session.undo()
        assert (session.mask == state).all()
    assert states[2][10, 10, 10]
    assert not session.undo()


def test_a_preview_keeps_nothing() -> None:
    session = Session(a_ct())
    change = session.preview(a_point(*CENTRE))
    assert not change.is_empty
    assert not session.mask.any()
    assert session.prompts == ()


def test_a_negative_box_takes_all_of_itself_away_and_nothing_else() -> None:
    session = Session(a_ct(), TRUTH, clicks=Brightness())
    box = Box((30, 20, 20), (40, 30, 30))
    session.answer(axis_box(box, is_positive=False))
    expected = TRUTH.copy()
    expected[box.slices] = False
    assert (session.mask == expected).all()


def test_the_change_is_the_smallest_box_and_empty_where_nothing_changes() -> None:
    session = Session(a_ct(), TRUTH)
    change = session.answer(axis_box(Box((0, 0, 0), (64, 60, 20)), is_positive=False))
    assert change.box == Box.around(TRUTH & (np.arange(56) < 20))
    assert session.answer(axis_box(Box((0, 0, 0), (5, 5, 5)), is_positive=False)).is_empty


def test_outside_of_the_known_box_nothing_changes() -> None:
    box = Box((30, 20, 18), (50, 40, 36))
    draft = Draft(box, np.zeros(box.shape, dtype=bool), np.zeros(box.shape, dtype=bool))
    prompt = Prompt("scribble", ((20, 28, 26), (45, 28, 26)), radius_mm=3.0)
    for refiner in (Refiner(a_ct()), Refiner(a_ct(), Brightness())):
        change = refiner.answer(draft, [prompt])
        assert change.mask.sum() > 100
        assert all(
            a <= c < d <= b for a, b, c, d in zip(box.start, box.stop, change.box.start, change.box.stop, strict=True)
        )


class Unsure:
    """A network that would mirror the segment, with a logit of so much."""

    def __init__(self, logit: float) -> None:
        self._logit = logit

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        return np.where(mask, -self._logit, self._logit).astype(np.float32)


@pytest.mark.parametrize("is_positive", [True, False])
@pytest.mark.parametrize(("logit", "is_believed"), [(1.0, False), (3.0, True)])
def test_the_opposite_of_a_prompt_is_done_only_where_the_network_is_sure(
    is_positive: bool, logit: float, is_believed: bool
) -> None:
    segment = np.zeros(SHAPE, dtype=bool)
    segment[: SHAPE[0] // 2] = True
    place = (SHAPE[0] // 2 + (3 if is_positive else -3), *CENTRE[1:])
    change = Refiner(a_ct(), Unsure(logit)).answer(Draft.whole(segment), [a_point(*place, is_positive=is_positive)])
    now = after(Draft.whole(segment), change)
    added, removed = (now & ~segment).any(), np.count_nonzero(segment & ~now)
    wanted, opposite = (added, removed) if is_positive else (removed, added)
    assert wanted
    assert bool(opposite) == is_believed
