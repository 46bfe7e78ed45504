"""The measurement: classical methods, the brush, the curves of a simulated user, and the tables of them."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.prompts import Prompt
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.clicking.classical import grow_cut, random_walker
from GenesisSegmentLib.engine.clicking.damage import dice
from GenesisSegmentLib.engine.clicking.figure import draw, tables
from GenesisSegmentLib.engine.clicking.trials import SphereBrush, Target, Trial, run_trials
from GenesisSegmentLib.engine.clicking.user import EXACT
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.refine.seeded import SeededClicks, seeds

SIDE = 24
SPACING = (1.0, 1.0, 1.0)


@pytest.fixture
def data(tmp_path):
    """A folder with one case: a bright ball of class 6 in something darker, on an oblique grid."""
    folder = tmp_path / "data" / "ball"
    folder.mkdir(parents=True)
    i, j, k = np.ogrid[:SIDE, :SIDE, :SIDE]
    labels = ((i - 11) ** 2 + (j - 12) ** 2 + (k - 10) ** 2 < 49).astype(np.uint8)
    turn, angle = np.diag([2.0, 2.0, 2.0, 1.0]), np.radians(20)
    turn[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    for name, voxels in (
        ("ct", np.where(k < 20, np.rint(labels * 140.0 - 100 + noise), -1000).astype(np.int16)),
        ("labels", labels),
    ):
        nib.save(nib.Nifti1Image(voxels, turn), folder / f"{name}.nii.gz")
    table = {"labels": {"1": "liver"}, "universal_model": {"1": 6}, "universal_model_annotated": [6]}
    (folder / "labels.json").write_text(json.dumps(table))
    return tmp_path / "data"


class Perfect:
    """Knows the answer."""

    def __init__(self, volume: Volume) -> None:
        self.shape = volume.geometry.shape

    def corrected(self, mask, prompts, truth):
        assert mask.shape == self.shape
        return truth.copy()


class Deaf:
    """Changes nothing."""

    def __init__(self, volume: Volume) -> None:
        self.calls = 0

    def corrected(self, mask, prompts, truth):
        self.calls += 1
        assert len(prompts) == self.calls
        return mask


@pytest.mark.parametrize("method", [grow_cut, random_walker])
def test_classical_methods_stop_at_an_edge(method):
    if method is random_walker:
        pytest.importorskip("skimage", reason="scikit-image is not installed")
    hu = np.zeros((20, 20, 20), np.float32)
    bright = np.zeros(hu.shape, bool)
    bright[3:13, 4:15, 5:16] = True
    hu[bright] = 120
    inside, none = np.zeros(hu.shape, bool), np.zeros(hu.shape, bool)
    inside[8, 9, 10] = True
    found = SeededClicks(method).logits(hu, none, inside, none, SPACING) > 0
    assert dice(found, bright) > 0.95


def test_prompts_overrule_the_core_of_the_segment():
    mask = np.zeros((24, 24, 24), bool)
    mask[3:21, 3:21, 3:21] = True
    inside, outside = np.zeros_like(mask), np.zeros_like(mask)
    outside[12, 12, 12], inside[0, 0, 0] = True, True
    marks = seeds(mask, inside, outside, (4.0, 4.0, 4.0))
    assert marks[12, 12, 12] == -1
    assert marks[12, 12, 13] == 0
    assert marks[0, 0, 0] == 1
    assert marks[18, 18, 18] == 1
    assert marks[23, 23, 23] == -1


def test_prompts_alone_answer_where_there_is_nothing_to_tell_apart():
    nothing = np.zeros((8, 8, 8), bool)
    inside = nothing.copy()
    inside[4, 4, 4] = True
    whole = np.ones_like(nothing)
    answer = SeededClicks(grow_cut).logits(np.zeros((8, 8, 8), np.float32), nothing, inside, whole & ~inside, SPACING)
    assert np.array_equal(answer > 0, inside)


def test_the_brush_is_as_large_as_the_mistake_and_no_larger(data):
    volume = read_volume(data / "ball" / "ct.nii.gz")
    truth = volume.voxels > -20
    brush = SphereBrush(volume.geometry)
    painted = brush.corrected(np.zeros_like(truth), [Prompt("point", ((11.0, 12.0, 10.0),))], truth)
    assert not (painted & ~truth).any()
    assert dice(painted, truth) > 0.9
    wiped = brush.corrected(np.ones_like(truth), [Prompt("point", ((2.0, 2.0, 2.0),), False)], truth)
    assert not wiped[2, 2, 2]
    assert wiped[truth].all()


def test_curves_begin_at_the_damaged_proposal_and_follow_the_method(data, tmp_path):
    target = Target("ball", 6, ("empty", "cut"), 0.9)
    methods = {"perfect": Perfect, "deaf": Deaf}
    trials = run_trials(data, tmp_path / "out", methods, EXACT, lambda _: None, [target], most=3)
    found = {(t.start, t.method): t for t in trials}
    assert found["empty", "perfect"].dice == (0, 1, 1, 1)
    assert found["empty", "perfect"].needed == 1
    assert found["empty", "deaf"].needed is None
    assert found["cut", "deaf"].dice == (found["cut", "perfect"].dice[0],) * 4
    assert 0.4 < found["cut", "deaf"].dice[0] < 0.9
    assert found["cut", "perfect"].area == 1


def test_what_was_run_is_not_run_again(data, tmp_path):
    target = Target("ball", 6, ("empty",), 0.9)
    told: list[str] = []
    for _ in range(2):
        run_trials(data, tmp_path / "out", {"deaf": Deaf}, EXACT, told.append, [target], most=2)
    assert len(told) == 1


def test_a_case_that_does_not_know_the_structure_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="spleen"):
        run_trials(data, tmp_path, {"deaf": Deaf}, EXACT, lambda _: None, [Target("ball", 1, ("empty",), 0.9)])


def test_tables_and_picture_hold_every_method(tmp_path):
    def trial(start: str, method: str, value: float) -> Trial:
        return Trial("c", "liver", start, method, 0.9, tuple(value * n / 10 for n in range(11)), (0.1,))

    trials = [trial(s, m, v) for s in ("empty", "cut") for m, v in (("network", 1.0), ("brush", 0.5))]
    text = tables(trials)
    damaged, nothing = text.split("**From nothing**")
    for part in (damaged, nothing):
        assert "| liver | network | 0.00 | 0.10 | 0.20 | 0.30 | 0.50 | 1.00 | 0.550 | 9 |" in part
        assert "| liver | brush | 0.00 | 0.05 | 0.10 | 0.15 | 0.25 | 0.50 | 0.275 | never |" in part
    draw(tmp_path / "x.png", trials)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
