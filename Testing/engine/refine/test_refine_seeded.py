"""What the first prompt on an empty place finds without a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from acceptance_builders import oblique, volume
from GenesisSegmentLib.core.prompts import Prompt
from GenesisSegmentLib.engine.refine.draft import Draft
from GenesisSegmentLib.engine.refine.refiner import Refiner
from GenesisSegmentLib.engine.refine.seeded import SeededClicks, seeds

SPACING = (1.0, 1.2, 2.0)


def two_balls(shape=(64, 64, 64)) -> tuple[np.ndarray, np.ndarray]:
    """HU of two bright balls in fat, and the first of them."""
    i, j, k = np.indices(shape)
    first = (i - 24) ** 2 + (j - 30) ** 2 + (k - 30) ** 2 < 13**2
    second = (i - 50) ** 2 + (j - 34) ** 2 + (k - 32) ** 2 < 7**2
    return np.where(first | second, 60, -90).astype(np.float32), first


def marked(*places, shape=(64, 64, 64)) -> np.ndarray:
    marks = np.zeros(shape, dtype=bool)
    for place in places:
        marks[place] = True
    return marks


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_one_point_finds_the_ball_that_it_lies_in_and_not_its_neighbour():
    hu, ball = two_balls()
    nothing = np.zeros(hu.shape, dtype=bool)
    found = SeededClicks().logits(hu, nothing, marked((24, 30, 30)), marked((50, 34, 32)), SPACING) > 0
    assert dice(found, ball) > 0.9


def test_what_is_said_to_be_outside_is_outside():
    hu, _ball = two_balls()
    inside, outside = marked((24, 30, 30)), marked((24, 40, 30))
    found = SeededClicks().logits(hu, np.zeros(hu.shape, bool), inside, outside, SPACING) > 0
    assert found[24, 30, 30]
    assert not found[24, 40, 30]


def test_the_core_of_a_segment_is_believed_away_from_prompts_against_it():
    _hu, ball = two_balls()
    marks = seeds(ball, marked(), marked((24, 30, 30)), (4.0, 4.0, 4.0))
    assert marks[24, 30, 30] == -1
    assert (marks[ball] != -1).sum() == np.count_nonzero(ball) - 1
    assert (marks[~ball] != 1).all()


def test_the_first_answer_on_an_empty_segment_finds_more_than_its_preview():
    hu, ball = two_balls()
    refiner = Refiner(replace(volume(oblique(hu.shape)), voxels=np.asfortranarray(hu.astype(np.int16))))
    empty = Draft.whole(np.zeros(hu.shape, dtype=bool), None)
    prompt = Prompt("point", ((24.0, 30.0, 30.0),))
    answer, preview = refiner.answer(empty, (prompt,)), refiner.preview(empty, (prompt,))
    found = np.zeros(hu.shape, dtype=bool)
    found[answer.box.slices] = answer.mask
    assert dice(found, ball) > 0.9
    assert np.count_nonzero(answer.mask) >= np.count_nonzero(preview.mask)
    assert any("no click network" in note for note in answer.notes)
