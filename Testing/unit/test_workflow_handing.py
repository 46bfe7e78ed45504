"""What the worker is given for prompts is what is there, also where it changes, or is deleted, during a stroke."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.protocol import Refine, Refined
from GenesisSegmentLib.core.strokes import Stroke
from workflow_fakes import reviewing_bench


@pytest.fixture
def bench():
    """The first structure is selected, and points can be drawn."""
    bench = reviewing_bench()
    bench.controller.choose_tool("point")
    return bench


def draw(bench, point=(0.0, 0.0, 0.0), is_done=True) -> Refine:
    """The command that came of it."""
    bench.controller.draw(Stroke((point,), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), is_done)
    bench.wait()
    return bench.worker.last(Refine)


def answer(bench, command: Refine, file: str = "answer") -> None:
    stop = (2, 2, 1) if file else (0, 0, 0)
    bench.say(Refined(command.id, (0, 0, 0), stop, file))


@pytest.mark.parametrize("what", ["overwriting", "a lock", "its file"])
def test_the_next_preview_of_a_stroke_sees_that_it_changed(bench, what):
    first = draw(bench, is_done=False)
    answer(bench, first, "")
    if what == "overwriting":
        bench.scene.overwriting = "all"
    elif what == "a lock":
        bench.scene.set_locked("seg-ct1", bench.view.correct.rows[-1].segment.segment_id, True)
    else:
        bench.worker.swept.add(first.file)
    assert draw(bench, (2.0, 2.0, 3.0), is_done=False).file != first.file
    assert len(bench.worker.held) == 2


def test_a_ct_whose_files_were_swept_away_is_handed_over_before_the_next_stroke_is_answered(bench):
    answer(bench, draw(bench))
    bench.wait(0.5)
    before = len(bench.worker.handed)
    bench.worker.swept.add("f1")
    command = draw(bench, (2.0, 2.0, 3.0))
    assert [fingerprint for _job, fingerprint in bench.worker.handed[before:]] == ["f1"]
    answer(bench, command)
    bench.wait(0.5)
    assert bench.scene.names().count("redraw") == 2
    draw(bench, (3.0, 2.0, 3.0))
    assert len(bench.worker.handed) == before + 1, "once is enough"
