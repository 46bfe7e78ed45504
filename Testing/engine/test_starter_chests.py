"""Tall training samples: an abdomen under the chest of another CT, with what is still known in both."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.engine.starter.augment import SampleMaker, SampleRecipe
from GenesisSegmentLib.engine.starter.cases import TrainingCase
from GenesisSegmentLib.engine.starter.chests import is_abdomen, is_chest, under_chest

KIDNEY, LIVER, AORTA, RIGHT_LUNG, LEFT_LUNG = 3, 6, 8, 16, 17
MARK_HU = 777


@pytest.fixture
def abdomen() -> TrainingCase:
    labels = np.zeros((40, 32, 20), np.uint8)
    labels[5:15, 8:20, 6:18], labels[25:31, 8:14, 2:10] = LIVER, KIDNEY
    annotated = (KIDNEY, LIVER, AORTA, RIGHT_LUNG, LEFT_LUNG)
    return TrainingCase("belly", "", labels, annotated, np.full(labels.shape, 40, np.int16))


def chest_of(sides: tuple[int, int], annotated: tuple[int, ...] = (RIGHT_LUNG, LEFT_LUNG)) -> TrainingCase:
    """A chest whose lungs reach from slice 4 to slice 44; only a slice of the upper part has the marked HU."""
    labels = np.zeros((*sides, 50), np.uint8)
    middle = sides[0] // 2
    labels[middle - 9 : middle - 1, 4:20, 4:45] = RIGHT_LUNG
    labels[middle + 1 : middle + 9, 4:20, 4:45] = LEFT_LUNG
    ct = np.where(labels > 0, -800, 30).astype(np.int16)
    ct[middle, sides[1] // 2, 40] = MARK_HU
    return TrainingCase("chest", "", labels, annotated, ct)


@pytest.mark.parametrize("sides", [(40, 32), (28, 24), (52, 44), (31, 45)])
def test_the_upper_chest_lies_on_the_abdomen_middle_on_middle(abdomen, sides):
    tall = under_chest(abdomen, chest_of(sides))
    start = int(44 - 0.65 * 40)
    assert tall.labels.shape == tall.ct.shape == (40, 32, 20 + 50 - start)
    assert (tall.labels[:, :, :20] == abdomen.labels).all()
    assert (tall.ct[:, :, :20] == abdomen.ct).all()
    upper = tall.labels[:, :, 20:]
    assert (upper[:20] != LEFT_LUNG).all()
    assert (upper[21:] != RIGHT_LUNG).all()
    assert (upper[:, :, : 45 - start] == LEFT_LUNG).any(axis=(0, 1)).all()
    mark = np.argwhere(tall.ct == MARK_HU)
    assert len(mark) == 1
    assert np.abs(mark[0] - (20, 16, 20 + 40 - start)).max() <= 1


def test_only_what_both_parts_tell_is_known_in_a_tall_sample(abdomen):
    assert under_chest(abdomen, chest_of((40, 32))).annotated == (KIDNEY, LIVER, RIGHT_LUNG, LEFT_LUNG)
    assert under_chest(abdomen, chest_of((40, 32), (LEFT_LUNG,))).annotated == (KIDNEY, LIVER, LEFT_LUNG)


def test_chests_and_abdomens_are_told_apart(abdomen):
    chest = chest_of((40, 32))
    assert is_chest(chest)
    assert not is_chest(abdomen)
    assert is_abdomen(abdomen)
    assert not is_abdomen(chest)
    painted = TrainingCase("map", "", abdomen.labels, abdomen.annotated, None)
    assert not is_abdomen(painted)


@pytest.mark.parametrize(("share", "are_tall"), [(0, False), (1, True)])
def test_abdominal_samples_are_tall_as_often_as_the_recipe_says(abdomen, share, are_tall):
    recipe = SampleRecipe(
        largest=(40, 40, 48), smallest_share=1, synthetic_share=0, phantom_share=0, tall_share=share, margin_share=0
    )
    maker = SampleMaker([abdomen, chest_of((40, 32))], recipe, np.random.default_rng(4))
    samples = [maker.draw() for _ in range(16)]
    of_abdomen = [s for s in samples if LIVER in s.annotated]
    assert of_abdomen
    assert all((AORTA not in s.annotated) == are_tall for s in of_abdomen)
