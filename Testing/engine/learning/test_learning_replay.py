"""The replay memory: bounded, varied, and fond of what the model finds hard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.engine.learning.replay import Trace, remembered, selected, to_drop, trace_of
from learning_builders import CHANNELS, a_case, a_network


def trace(angle: float, loss: float = 0.0, entropy: float = 0.0) -> Trace:
    return Trace(np.array([np.cos(angle), np.sin(angle)]), loss, entropy)


def test_of_the_two_most_similar_ones_the_one_that_teaches_less_goes():
    assert to_drop([trace(0.0), trace(1.0, loss=0.2), trace(1.05, loss=0.3), trace(2.0)], protected=0) == 1
    assert to_drop([trace(0.0), trace(1.0, loss=0.3), trace(1.05, loss=0.2), trace(2.0)], protected=0) == 2
    assert to_drop([trace(0.0), trace(1.0, 0.2, 0.5), trace(1.05, 0.2, 0.1), trace(2.0)], protected=0) == 2
    assert to_drop([trace(0.0), trace(1.0), trace(1.05), trace(2.0)], protected=0) == 1  # the older one


def test_the_length_of_a_feature_vector_does_not_matter():
    far = Trace(np.array([100.0, 0.0]), 0.0, 0.0)
    assert to_drop([far, trace(0.01), trace(2.0), trace(4.0)], protected=0) == 0


@pytest.mark.parametrize("field", ["loss", "entropy"])
def test_what_is_hard_or_uncertain_stays_however_similar(field):
    similar = [
        trace(0.0, **{field: 0.9}),
        trace(0.001, **{field: 0.8}),
        *(trace(angle) for angle in (1.0, 2.0, 4.0, 5.0)),
    ]
    assert to_drop(similar, protected=2) in (2, 3)


@given(
    st.lists(
        st.tuples(st.floats(0, 6.3), st.floats(0, 5, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=24
    ),
    st.integers(1, 12),
)
def test_the_memory_is_bounded_and_keeps_the_hardest(points, size):
    traces = [trace(*point) for point in points]
    held = selected(traces, size)
    assert len(held) == min(size, len(traces))
    assert list(held) == sorted(set(held))
    assert held == selected(traces, size)
    if size >= 4:
        assert max(t.loss for t in traces) == max(traces[n].loss for n in held)
        assert max(t.entropy for t in traces) == max(traces[n].entropy for n in held)


def test_duplicates_go_before_anything_that_is_different():
    different = [trace(0.0), trace(1.5), trace(3.0)]
    copies = [trace(4.5), trace(4.5), trace(4.5), trace(4.5)]
    held = selected([*different, *copies], 4, protected=0)
    assert set(held) >= {0, 1, 2}
    assert len(held) == 4


def test_cases_that_are_shown_again_are_marked_and_not_held_in_greater_number():
    alive = []

    def earlier():
        for n in range(6):
            case = a_case(f"case{n}", side=12 + n)
            alive.append(case.case)
            yield case

    kept = remembered(earlier(), lambda case: trace(float(case.case[-1])), size=4)
    assert len(kept) == 4
    assert all(case.is_replayed for case in kept)
    assert [case.case for case in kept] == sorted(case.case for case in kept)
    assert len(alive) == 6
    assert remembered((), lambda case: trace(0.0)) == ()


def test_the_trace_of_a_case_says_how_wrong_and_how_uncertain_the_model_is():
    network = a_network()
    one = trace_of(network, CHANNELS, a_case(), (16, 16, 16), 0)
    same = trace_of(network, CHANNELS, a_case(), (16, 16, 16), 0)
    other = trace_of(network, CHANNELS, a_case("another"), (16, 16, 16), 0)
    assert np.array_equal(one.feature, same.feature)
    assert (one.loss, one.entropy) == (same.loss, same.entropy)
    assert one.loss != other.loss
    assert one.loss > 0
    assert 0 < one.entropy <= np.log(2)
    assert one.feature.shape == (network.backbone.deep_channels,)


def test_a_case_of_a_structure_that_the_model_does_not_know_counts_as_hard():
    own = trace_of(a_network(), CHANNELS, a_case(labels=("sarcoma",)), (16, 16, 16), 0)
    assert own.loss == float("inf")
