"""Prompts and the real worker: its own process, voxels through files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.layers import unpack_layers
from GenesisSegmentLib.core.prompts import Prompt, axis_box
from GenesisSegmentLib.core.protocol import Failure, Progress, Refine, Refined, new_id
from GenesisSegmentLib.core.refining_messages import CLOSED, SEGMENT
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.refine.draft import Draft
from GenesisSegmentLib.engine.refine.refiner import Refiner
from worker.conftest import PATIENT, close_session, loaded, open_session, segment

SHAPE = (50, 44, 40)
BOX = Box((4, 2, 3), (46, 43, 38))
POINT = Prompt("point", ((28.0, 22.0, 19.0),))


def a_ball(radius: float) -> np.ndarray:
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (i - 25) ** 2 + (j - 22) ** 2 + (k - 19) ** 2 < radius**2


@pytest.fixture(scope="module")
def ct() -> Volume:
    """A ball of tissue in air, and a brighter one in it, on an oblique grid."""
    hu = np.where(a_ball(11), 160, np.where(a_ball(18), 30, -1000)) + np.random.default_rng(0).integers(-8, 8, SHAPE)
    turn = np.array([[0.0, -0.8, 0.6], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]) @ np.diag([0.9, 1.1, 1.4])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, (5.0, -7.0, 9.0)
    return Volume(hu.astype(np.int16), Geometry(SHAPE, matrix), Source(Path("made"), "made"))


@pytest.fixture(scope="module")
def session(tmp_path_factory, ct):
    """One session with a real worker that knows the CT."""
    session = open_session(tmp_path_factory.mktemp("refine"), "-m", "GenesisSegmentLib.worker", limits=PATIENT)
    yield loaded(session, ct)
    close_session(session)


@pytest.fixture
def draft() -> Draft:
    """A segment that is too small, with protected voxels outside of it."""
    mask = a_ball(6)[BOX.slices]
    return Draft(BOX, mask, (np.random.default_rng(1).random(BOX.shape) < 0.1) & ~mask)


def handed_over(session, draft: Draft) -> str:
    *_pieces, file = _all(session.client.holding(draft.mask * SEGMENT + draft.protected * CLOSED))
    return file


def _all(pieces) -> list:
    """What a generator gave, and returned last."""
    given = []
    while True:
        try:
            given.append(next(pieces))
        except StopIteration as end:
            return [*given, end.value]


def a_command(file: str, *prompts: Prompt, box: Box = BOX, volume: str = "print", **more) -> Refine:
    return Refine(new_id(), volume, box.start, box.stop, file, prompts, **more)


@pytest.mark.parametrize("prompts", [(POINT,), (axis_box(Box((10, 8, 6), (40, 37, 33))), POINT)])
def test_a_preview_is_that_of_the_engine(session, ct, draft, prompts):
    event = session.ask(a_command(handed_over(session, draft), *prompts, step="preview"))
    assert isinstance(event, Refined), event
    expected = Refiner(ct).preview(draft, prompts)
    box, mask = session.client.mask(event)
    assert box == expected.box
    assert np.array_equal(mask != 0, expected.mask)
    assert expected.mask.sum() > draft.mask.sum()
    assert set(event.seconds) == {"reading", "preview", "writing"}


def test_an_answer_agrees_with_its_prompts_and_spares_what_is_protected(session, draft):
    prompts = (
        Prompt("scribble", ((15.0, 22.0, 19.0), (34.0, 22.0, 19.0))),
        Prompt("point", ((25.0, 22.0, 19.0),), False),
    )
    event = session.ask(a_command(handed_over(session, draft), *prompts))
    assert isinstance(event, Refined), event
    box, mask = session.client.mask(event)
    after = np.zeros(SHAPE, dtype=bool)
    after[BOX.slices] = draft.mask
    after[box.slices] = mask
    now, line = after[BOX.slices], np.zeros(SHAPE, dtype=bool)
    line[15:35, 22, 19] = True
    line[25, 22, 19] = False
    assert now[line[BOX.slices] & ~draft.protected].all()
    assert not after[25, 22, 19]
    assert (now == draft.mask)[draft.protected].all()


def test_what_a_segment_shares_with_a_neighbour_can_be_taken_from_it(session, draft):
    """The neighbour keeps its voxels all the same."""
    shared = Draft(BOX, draft.mask, draft.mask.copy())
    event = session.ask(a_command(handed_over(session, shared), Prompt("point", ((25.0, 22.0, 19.0),), False)))
    assert isinstance(event, Refined), event
    box, mask = session.client.mask(event)
    assert not mask[tuple(a - b for a, b in zip((25, 22, 19), box.start, strict=True))]


def test_where_nothing_changes_there_is_no_file(session, draft):
    empty = Prompt("box", ((4.0, 4.0, 4.0), (6.0, 4.0, 4.0), (4.0, 6.0, 4.0), (4.0, 4.0, 6.0)), False)
    event = session.ask(a_command(handed_over(session, draft), empty))
    assert isinstance(event, Refined)
    assert (event.file, event.start, event.stop) == ("", (0, 0, 0), (0, 0, 0))


def test_a_file_of_another_name_is_another_segment(session, ct, draft):
    larger = a_ball(9)[BOX.slices]
    other = Draft(BOX, larger, draft.protected & ~larger)
    for each in (draft, other):
        event = session.ask(a_command(handed_over(session, each), POINT, step="preview"))
        assert np.array_equal(session.client.mask(event)[1] != 0, Refiner(ct).preview(each, [POINT]).mask)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"volume": "another"}, "not loaded"),
        ({"file": "/nowhere/bits"}, "could not be read"),
        ({"start": (0, 0, 0)}, "bytes"),
        ({"start": (8, 2, 3), "stop": (50, 43, 38)}, "protected"),
        ({"start": (12, 2, 3), "stop": (54, 43, 38)}, "does not lie in the CT"),
        ({"prompts": (Prompt("point", ((99.0, 0.0, 0.0),)),)}, "no voxel of the CT"),
        ({"prompts": (Prompt("point", ((1.0, 1.0, 1.0),)),)}, "protected"),
    ],
)
def test_what_cannot_be_done_is_told_and_the_worker_goes_on(session, draft, change, words):
    from dataclasses import replace

    if words == "protected" and "start" in change:
        change = {**change, "prompts": (Prompt("point", ((5.0, 22.0, 19.0),)),)}
    file = handed_over(session, draft)
    event = session.ask(replace(a_command(file, POINT), **change))
    assert isinstance(event, Failure)
    assert event.code == "input"
    assert words in event.what
    assert isinstance(session.ask(a_command(file, POINT)), Refined)


def test_of_previews_that_wait_only_the_newest_is_made(session, draft):
    file = handed_over(session, draft)
    lines = [Prompt("scribble", ((20.0, 22.0, 19.0), (20.0 + n / 4, 22.0, 19.0)), radius_mm=2.0) for n in range(40)]
    ids = [session.client.send(a_command(file, line, step="preview")) for line in lines]
    last = session.client.send(a_command(file, lines[-1]))
    assert isinstance(session.final(last), Refined)
    events = [session.final(each) for each in ids]
    dropped = [event for event in events if isinstance(event, Failure)]
    assert all(event.is_cancelled for event in dropped)
    assert len(dropped) >= 20
    assert isinstance(events[-1], Failure)  # the answer came before it was begun, or it would be first


def test_propagate_has_the_model_learn_and_agrees_with_the_prompts(shared, torso):
    result = shared.ask(segment())
    index = max(result.present, key=lambda c: next(row.voxels for row in result.measurements if row.index == c))
    mask = unpack_layers(shared.client.layers(result), torso.geometry).mask(index)
    shape = torso.geometry.shape
    i, j, k = (int(n) for n in np.argwhere(mask).mean(axis=0))
    prompts = (
        Prompt("scribble", ((i, j, k), (i + 3, j, k))),
        Prompt("scribble", ((i, j + 4, k), (i + 3, j + 4, k)), False),
    )
    draft = Draft(Box.whole(shape), mask, np.zeros(shape, dtype=bool))
    file = handed_over(shared, draft)
    more = {"box": draft.box, "step": "propagate", "class_index": index, "model": "starter"}
    ids = [shared.client.send(a_command(file, *prompts, **more)) for _ in range(2)]
    first, again = (shared.final(each) for each in ids)
    assert isinstance(first, Refined), first
    now = mask.copy()
    box, changed = shared.client.mask(first)
    now[box.slices] = changed
    assert now[i : i + 4, j, k].all()
    assert not now[i : i + 4, j + 4, k].any()
    assert (first.start, first.stop) == (again.start, again.stop)
    assert any(isinstance(event, Progress) for event in shared.of(ids[0]))
    assert not any(isinstance(event, Progress) for event in shared.of(ids[1]))  # the features were kept


def test_a_structure_that_the_model_does_not_draw_cannot_be_propagated(session, draft):
    event = session.ask(a_command(handed_over(session, draft), POINT, step="propagate", class_index=0, model="starter"))
    assert isinstance(event, Failure)
    assert (event.code, "does not draw" in event.what) == ("input", True)
