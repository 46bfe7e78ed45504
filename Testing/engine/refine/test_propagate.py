from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from builders import rotation
from GenesisSegmentLib.core.errors import Cancelled, InputError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.prompts import Prompt, drawn
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.inference.spec import ModelSpec
from GenesisSegmentLib.engine.refine.draft import Draft
from GenesisSegmentLib.engine.refine.features import Features
from GenesisSegmentLib.engine.refine.fitting import Samples, _loss, refitted
from GenesisSegmentLib.engine.refine.propagate import propagated
from GenesisSegmentLib.engine.refine.session import Session

LIVER, SPLEEN = 6, 1
SHAPE = (60, 50, 56)
GRIDS = {
    "straight": np.eye(3),
    "as DICOM has it": np.diag([-1.0, -1.0, 1.0]),
    "axes permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique and flipped": rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]),
}


def a_spec(window: tuple[int, int, int] | None) -> ModelSpec:
    return ModelSpec(
        id="sees-brightness",
        classes=(SPLEEN, LIVER),
        offered=(LIVER,),
        spacing_mm=(4.0, 4.0, 4.0),
        window_hu=(-200.0, 300.0),
        window=window,
        multiple=8,
        upsampling="linear",
    )


class Brightness:
    """A network whose first feature is the brightness; its liver is all that is brighter than 0.75 (175 HU)."""

    def __init__(self) -> None:
        self.windows = 0

    def features(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.windows += 1
        features = np.zeros((8, *window.shape), dtype=np.float32)
        features[0] = window
        features[1] = 1.0
        numbers = np.zeros((2, 153), dtype=np.float32)
        numbers[:, [0, 64]] = 1.0
        numbers[:, 128] = 20.0
        numbers[:, 152] = -15.0
        return features, numbers


class Case:
    """A bright lobe in a body, and darker ones on both sides of it, which the network misses from end to end."""

    def __init__(self, axes: np.ndarray) -> None:
        matrix = np.eye(4)
        matrix[:3, :3] = axes @ np.diag([2.5, 3.0, 2.8])
        matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
        self.geometry = Geometry(SHAPE, matrix)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
        x, y, z = np.moveaxis(index @ matrix[:3, :3].T + matrix[:3, 3], -1, 0)
        body = (x / 70) ** 2 + (y / 66) ** 2 + (z / 68) ** 2 < 1
        lobe = (np.abs(y - 5) < 26) & (np.abs(z) < 40)
        self.bright = lobe & (x > -2) & (x < 34)
        self.dark = lobe & ~self.bright & (x > -34) & (x < 46)
        self.apart = (np.abs(x + 15) < 9) & (np.abs(y + 45) < 9) & (np.abs(z) < 9)
        """Tissue like the darker lobe, elsewhere."""
        hu = np.where(self.bright, 220, np.where(self.dark | self.apart, 140, np.where(body, 20, -1000)))
        self.volume = Volume(np.asfortranarray(hu, dtype=np.int16), self.geometry, Source(Path("made"), "made"))
        self.truth = self.bright | self.dark

    def prompt(self, is_positive: bool = True, right_mm: float = -20.0) -> Prompt:
        """A scribble across the middle of a lobe, by default the one that the network misses."""
        ends = np.array([[right_mm, -10.0, 0.0, 1.0], [right_mm, 20.0, 0.0, 1.0]])
        points = np.linalg.solve(self.geometry.ijk_to_ras, ends.T).T[:, :3]
        return Prompt("scribble", tuple(map(tuple, points.tolist())), is_positive, 4.0)

    def corrected(self, draft: Draft, *prompts: Prompt, window: tuple[int, int, int] | None = None) -> np.ndarray:
        features = Features(self.volume, a_spec(window), Brightness())
        change = propagated(self.volume, draft, prompts, LIVER, features)
        now = np.zeros(SHAPE, dtype=bool)
        now[draft.box.slices] = draft.mask
        now[change.box.slices] = change.mask
        return now


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture
def case() -> Case:
    return Case(GRIDS["as DICOM has it"])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("window", [None, (32, 32, 32)])
def test_one_corrected_slice_mends_the_others(grid: str, window: tuple[int, int, int] | None) -> None:
    case = Case(GRIDS[grid])
    now = case.corrected(Draft.whole(case.bright), case.prompt(), window=window)
    assert dice(case.bright, case.truth) < 0.75
    assert dice(now, case.truth) > 0.93
    assert dice(now & case.dark, case.dark) > 0.88


def test_a_negative_scribble_takes_the_whole_lobe_away(case: Case) -> None:
    now = case.corrected(Draft.whole(case.bright), case.prompt(is_positive=False, right_mm=16.0))
    assert now.sum() < 0.1 * case.bright.sum()


def test_protected_voxels_and_what_is_outside_of_the_draft_stay(case: Case) -> None:
    box = Box((4, 3, 2), (58, 47, 30))
    protected = np.random.default_rng(0).random(box.shape) < 0.3
    draft = Draft(box, case.bright[box.slices], protected)
    now = case.corrected(draft, case.prompt())
    assert (now[box.slices] == draft.mask)[protected].all()
    assert now[box.slices][~protected & case.dark[box.slices]].mean() > 0.8
    outside = np.ones(SHAPE, dtype=bool)
    outside[box.slices] = False
    assert not now[outside].any()


def test_the_result_agrees_with_every_prompt(case: Case) -> None:
    i, j, k = (int(n) for n in np.argwhere(case.dark).mean(axis=0))
    against = Prompt("point", ((i, j, k + 9.0),), False)
    now = case.corrected(Draft.whole(case.bright), case.prompt(), against)
    assert not now[i, j, k + 9]
    assert now[drawn(case.prompt(), case.geometry, Box.whole(SHAPE))].all()


def test_what_looks_alike_but_lies_elsewhere_is_not_added(case: Case) -> None:
    now = case.corrected(Draft.whole(case.bright), case.prompt())
    assert (now & case.dark).sum() > 1000
    assert case.apart.sum() > 100
    assert not (now & case.apart).any()


def test_where_the_head_does_not_change_its_mind_every_voxel_stays(case: Case) -> None:
    far = ndimage.binary_erosion(case.bright, iterations=4)
    by_hand = case.bright & ~(far & (np.random.default_rng(3).random(SHAPE) < 0.2))
    now = case.corrected(Draft.whole(by_hand), case.prompt())
    assert (now & case.dark).sum() > 1000
    assert far.sum() > 1000
    assert (now == by_hand)[far].all()


def test_features_are_computed_once_and_only_where_the_segment_is(case: Case) -> None:
    network = Brightness()
    features = Features(case.volume, a_spec((16, 16, 16)), network)
    part = case.geometry.cropped(Box((0, 0, 0), (10, 10, 10)))
    shares: list[float] = []
    few = len(features.around(part, shares.append))
    assert network.windows == few == len(shares)
    everything = len(features.around(case.geometry))
    assert few < everything == network.windows
    features.around(case.geometry)
    assert network.windows == everything


def test_the_computing_of_features_can_be_stopped(case: Case) -> None:
    def stop(share: float) -> None:
        raise Cancelled

    features = Features(case.volume, a_spec(None), Brightness())
    with pytest.raises(Cancelled):
        propagated(case.volume, Draft.whole(case.bright), [case.prompt()], LIVER, features, stop)


@pytest.mark.parametrize(
    ("index", "prompts", "words"),
    [
        (SPLEEN, [Prompt("point", ((30.0, 25.0, 28.0),))], "does not draw"),
        (40, [Prompt("point", ((30.0, 25.0, 28.0),))], "does not draw"),
        (LIVER, [Prompt("point", ((-30.0, 25.0, 28.0),))], "say nothing"),
        (
            LIVER,
            [Prompt("box", ((9.0, 9.0, 9.0), (20.0, 9.0, 9.0), (9.0, 20.0, 9.0), (9.0, 9.0, 20.0)))],
            "say nothing",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(case: Case, index: int, prompts: list[Prompt], words: str) -> None:
    features = Features(case.volume, a_spec(None), Brightness())
    with pytest.raises(InputError, match=words):
        propagated(case.volume, Draft.whole(case.bright), prompts, index, features)


def test_the_gradient_of_the_head_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(1)
    s = Samples(
        rng.normal(size=(8, 50)).astype(np.float64),
        rng.random(50) < 0.5,
        rng.random(50),
        rng.normal(size=153),
    )
    numbers, step = s.numbers, 1e-6
    _value, gradient = _loss(s, numbers)
    for n in range(0, 153, 7):
        moved = numbers.copy()
        moved[n] += step
        assert (_loss(s, moved)[0] - _loss(s, numbers)[0]) / step == pytest.approx(gradient[n], rel=1e-3, abs=1e-4)


def test_a_head_that_is_right_already_hardly_changes() -> None:
    rng = np.random.default_rng(2)
    numbers = np.zeros(153)
    numbers[[0, 64]], numbers[128], numbers[152] = 1.0, 40.0, -20.0
    features = np.zeros((8, 400), dtype=np.float32)
    features[0] = np.concatenate([rng.uniform(0, 0.3, 200), rng.uniform(0.7, 1, 200)])
    right = Samples(features, features[0] > 0.5, np.ones(400), numbers)
    assert np.abs(refitted([right])).max() < 0.05 * np.abs(numbers).max()
    wrong = Samples(features, features[0] < 0.5, np.ones(400), numbers)
    assert np.abs(refitted([wrong])).max() > np.abs(refitted([right])).max()


def test_to_propagate_is_one_step_of_undo(case: Case) -> None:
    session = Session(case.volume, case.bright)
    session.answer(case.prompt())
    answered = session.mask.copy()
    session.propagate(LIVER, Features(case.volume, a_spec(None), Brightness()))
    assert (session.mask & case.dark).sum() > 2 * (answered & case.dark).sum()
    assert session.undo()
    assert (session.mask == answered).all()
    assert session.prompts == (case.prompt(),)
    assert session.undo()
    assert (session.mask == case.bright).all()
    assert session.prompts == ()
