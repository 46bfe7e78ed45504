"""A step of the head on cached features has the gradients of a step through the whole network."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from GenesisSegmentLib.engine.learning.cached import Cache, cached, focus
from GenesisSegmentLib.engine.learning.loss import lesson_loss
from GenesisSegmentLib.engine.learning.network import HeadPupil, Pupil, freeze
from GenesisSegmentLib.engine.learning.sampling import Sampler, SamplingRecipe
from learning_builders import CHANNELS, a_case, a_network

CROP, START = (8, 8, 8), (4, 2, 6)
PART = (slice(4, 12), slice(2, 10), slice(6, 14))


def a_lesson(number: int = 0):
    return Sampler([a_case()], CHANNELS, SamplingRecipe((16, 16, 16), is_varied=False), 8, 0).draw(number)


def gradients(network) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def through_the_whole_network(network, lesson) -> dict[str, torch.Tensor]:
    network.zero_grad()
    logits = Pupil(network)(torch.from_numpy(lesson.image)[None, None], [lesson.channels])[0]
    truth = torch.from_numpy(lesson.truth)[(slice(None), *PART)]
    lesson_loss(logits[(slice(None), *PART)], truth, lesson.reviewed).backward()
    return gradients(network)


def on_cached_features(network, lesson, keep) -> dict[str, torch.Tensor]:
    network.zero_grad()
    entry = cached(network, lesson, START, CROP, keep=keep)
    logits = HeadPupil(network)(entry.deep.float(), entry.normed.float(), [entry.channels])[0]
    lesson_loss(logits, entry.truth, entry.reviewed).backward()
    return gradients(network)


@pytest.mark.parametrize("embedding", ["random", "word"])
@pytest.mark.parametrize("backbone", ["segresnet", "unet"])
@pytest.mark.parametrize(("keep", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_cached_and_whole_steps_have_the_same_gradients(backbone, embedding, keep, tolerance):
    network = a_network(backbone, embedding=embedding)
    with torch.no_grad():  # away from the values that a fresh norm has, which would hide a wrong order
        network.precls_conv[0].weight.uniform_(0.5, 1.5)
        network.precls_conv[0].bias.uniform_(-0.5, 0.5)
    freeze(network, "head")
    lesson = a_lesson()
    whole, fast = through_the_whole_network(network, lesson), on_cached_features(network, lesson, keep)
    assert set(whole) == set(fast)
    assert {name.split(".")[0] for name in whole} >= {"precls_conv", "GAP", "controller"}
    for name, gradient in whole.items():
        difference = (gradient - fast[name]).norm() / gradient.norm()
        assert difference < tolerance, name


def test_the_cache_gives_the_same_lesson_for_the_same_number_and_takes_in_new_ones():
    network = a_network()
    drawn: Counter[int] = Counter()

    def lessons(number):
        drawn[number] += 1
        return a_lesson(number)

    cache = Cache(network, lessons, CROP, size=3, seed=1, uses=4)
    first = [cache.draw(n) for n in range(4)]
    assert len({id(lesson) for lesson in first}) == 1
    for n in range(60):
        cache.draw(n)
    assert drawn == {0: 1, 1: 1, 2: 1}
    again = Cache(network, a_lesson, CROP, size=3, seed=1, uses=4)
    for n in (40, 7):
        assert torch.equal(again.draw(n).normed, cache.draw(n).normed)


def test_the_cache_stays_within_its_bytes_and_makes_what_is_gone_again():
    network = a_network()
    small = Cache(network, a_lesson, CROP, size=8, seed=1, uses=1)
    one = small.draw(0).bytes
    bounded = Cache(network, a_lesson, CROP, size=8, seed=1, uses=1, most_bytes=2 * one)
    for n in range(40):
        assert torch.equal(bounded.draw(n).deep, small.draw(n).deep)
        assert bounded.bytes <= 3 * one
    assert len(small) == 8


def test_features_are_kept_around_the_correction():
    lesson = a_lesson()
    changed = np.zeros_like(lesson.changed)
    changed[12, 3, 9] = True
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(30):
        start = focus(replace(lesson, changed=changed), CROP, rng)
        assert all(0 <= s <= 8 for s in start)
        hits += changed[tuple(slice(s, s + 8) for s in start)].any()
    assert hits >= 18


def test_what_is_kept_is_half_precision():
    entry = cached(a_network(), a_lesson(), START, CROP)
    assert entry.deep.dtype == entry.normed.dtype == torch.bfloat16
    assert entry.normed.shape == (1, 16, 8, 8, 8)
