"""Lessons lie around what was corrected, are the same on every draw, and are never mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from GenesisSegmentLib.core.errors import LearningError
from GenesisSegmentLib.engine.learning.sampling import Sampler, SamplingRecipe, cut, varied
from learning_builders import CHANNELS, a_case

CROP = SamplingRecipe((12, 12, 12), is_varied=False)


def sampler(cases, recipe=CROP, seed=1):
    return Sampler(cases, CHANNELS, recipe, 8, seed)


def test_a_lesson_is_the_same_whenever_it_is_drawn():
    recipe = replace(CROP, is_varied=True)
    first, second = sampler([a_case()], recipe), sampler([a_case()], recipe)
    second.draw(3)
    for number in (5, 0, 5):
        one, other = first.draw(number), second.draw(number)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.truth, other.truth)
    assert not np.array_equal(first.draw(0).image, first.draw(1).image)
    assert not np.array_equal(first.draw(0).image, sampler([a_case()], recipe, seed=2).draw(0).image)


@pytest.mark.parametrize(
    ("shares", "least_changed", "least_inside"), [((1.0, 0.0), 20, 20), ((0.0, 1.0), 0, 20), ((0.5, 0.3), 9, 14)]
)
def test_crops_are_centred_on_what_was_corrected_and_on_the_classes(shares, least_changed, least_inside):
    recipe = replace(CROP, changed_share=shares[0], inside_share=shares[1], crop=(4, 4, 4))
    lessons = [sampler([a_case()], recipe).draw(n) for n in range(20)]
    assert sum(lesson.changed.any() for lesson in lessons) >= least_changed
    assert sum(lesson.truth.any() for lesson in lessons) >= least_inside


def test_some_crops_lie_anywhere():
    recipe = replace(CROP, changed_share=0.0, inside_share=0.0, crop=(4, 4, 4))
    assert sum(not sampler([a_case()], recipe).draw(n).truth.any() for n in range(20)) > 8


def test_a_class_that_was_accepted_as_it_was_is_still_shown():
    case = a_case()
    untouched = replace(case, changed={name: np.zeros_like(mask) for name, mask in case.masks.items()})
    recipe = replace(CROP, changed_share=1.0, inside_share=0.0, crop=(4, 4, 4))
    assert all(sampler([untouched], recipe).draw(n).truth.any() for n in range(8))


def test_only_reviewed_classes_have_a_truth():
    lesson = sampler([a_case(labels=("spleen", "liver_tumor"))]).draw(0)
    assert lesson.channels == (0, 3)
    assert lesson.truth.shape == (2, 12, 12, 12)
    assert lesson.reviewed == 2


def test_of_many_reviewed_classes_those_in_the_crop_are_taken():
    case = a_case(labels=("liver", "spleen", "kidney_right", "liver_tumor"))
    recipe = replace(CROP, most=2, changed_share=0.0, inside_share=1.0)
    for n in range(12):
        lesson = sampler([case], recipe).draw(n)
        assert len(lesson.channels) == 2
        assert lesson.truth.any()


def test_without_a_crop_the_whole_scan_is_shown_with_sides_that_fit():
    case = a_case(side=21)
    lesson = sampler([case], SamplingRecipe(None, is_varied=False)).draw(0)
    assert lesson.image.shape == (24, 24, 24)
    i, j, k = case.image.shape
    assert np.array_equal(lesson.image[:i, :j, :k], case.image)
    assert not lesson.image[i:].any()


def test_what_lies_beyond_a_scan_is_empty():
    array = np.arange(1, 28).reshape(3, 3, 3)
    out = cut(array, (-1, 1, -2), (3, 3, 3))
    assert np.array_equal(out[1:, :2, 2], array[:2, 1:, 0])
    assert np.count_nonzero(out) == 4
    assert not cut(array, (5, 5, 5), (2, 2, 2)).any()


def test_variation_bends_image_and_masks_alike_and_never_mirrors():
    image = np.zeros((24, 24, 24), np.float32)
    image[3:9, 4:14, 5:11] = 1.0
    image[14:18, 4:14, 5:11] = 0.5
    masks = np.stack([image > 0.9, (image > 0.4) & (image < 0.6)])
    pictures = set()
    for seed in range(12):
        bent, moved = varied(image, masks, (20, 20, 20), CROP, np.random.default_rng(seed))
        assert bent.shape == (20, 20, 20)
        assert moved.shape == (2, 20, 20, 20)
        bright = bent > 0.7
        assert 2 * (bright & moved[0]).sum() / (bright.sum() + moved[0].sum()) > 0.75
        left, right = (np.argwhere(m)[:, 0].mean() for m in moved)
        assert left + 5 < right  # the bright block stays on the side of low indices
        assert 0 <= bent.min() <= bent.max() <= 1
        pictures.add(bent.tobytes())
    assert len(pictures) == 12


def test_earlier_cases_are_shown_again_in_their_share():
    fresh, earlier = a_case("new"), a_case("old", is_replayed=True)
    drawn = [sampler([fresh, earlier], replace(CROP, replay_share=0.25)).draw(n).case for n in range(80)]
    assert 10 <= drawn.count("old") <= 30
    assert {sampler([earlier]).draw(n).case for n in range(3)} == {"old"}


def test_there_must_be_something_to_learn_from():
    with pytest.raises(LearningError, match="nothing to learn"):
        sampler([replace(a_case(), masks={}, changed={})])
