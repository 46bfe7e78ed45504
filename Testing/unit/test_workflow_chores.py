"""What takes a look at every voxel is done in pieces, so that no callback takes long."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.pieces import ALONE, finished, steady
from GenesisSegmentLib.core.protocol import Segment
from GenesisSegmentLib.core.workflow.chores import Chores
from GenesisSegmentLib.core.workflow.states import State
from workflow_fakes import Bench, FakeClock

BUDGET_S = 0.016
PIECE_S, PIECES = 0.003, 20


@pytest.fixture
def bench():
    bench = Bench()
    bench.reviewing()
    bench.scene.calls.clear()
    bench.scene.piece_s, bench.scene.pieces = PIECE_S, PIECES
    return bench


@pytest.fixture
def clock():
    return FakeClock()


def work(log, name, pieces=3, takes=lambda: None):
    for n in range(pieces):
        takes()
        log.append(f"{name}{n}")
        yield


def changes(bench):
    return {row.change_text for row in bench.view.correct.rows}


def ticks_until_done(bench):
    """How long the ticks took, until no work is left."""
    costs = []
    while bench.view.is_working:
        before = bench.clock.now
        bench.controller.tick()
        costs.append(bench.clock.now - before)
        assert len(costs) < 100
    return costs


def test_each_call_does_what_fits_into_its_time(clock):
    chores, log = Chores(clock), []
    chores.begin("a", work(log, "a", 100, lambda: setattr(clock, "now", clock.now + PIECE_S)))
    before = clock.now
    chores.go_on()
    assert 1 < len(log) < 5
    assert clock.now - before < BUDGET_S
    assert chores.names == {"a"}


def test_urgent_work_comes_first_and_newer_work_replaces_older(clock):
    chores, log = Chores(clock), []
    chores.begin("a", work(log, "old"))
    chores.begin("b", work(log, "b", 1))
    chores.begin("a", work(log, "a", 1))
    chores.begin("c", work(log, "c", 1), is_urgent=True)
    chores.go_on()
    assert log == ["c0", "b0", "a0"]
    assert not chores.names


def test_work_that_fails_is_over_and_the_rest_goes_on(clock):
    chores, log = Chores(clock), []

    def fail():
        raise InputError("It failed.")
        yield

    chores.begin("bad", fail())
    chores.begin("good", work(log, "good", 1))
    with pytest.raises(InputError):
        chores.go_on()
    chores.go_on()
    assert log == ["good0"]


def test_piece_that_takes_long_has_a_call_for_itself(clock):
    chores, log = Chores(clock), []

    def long_work():
        log.append("short")
        yield ALONE
        log.append("long")
        yield ALONE
        log.append("long too")

    chores.begin("a", work(log, "a", 2))
    chores.begin("long", long_work())
    for expected in (["a0", "a1", "short"], ["long"], ["long too"]):
        log.clear()
        chores.go_on()
        assert log == expected


def test_work_that_begins_itself_anew_is_not_forgotten(clock):
    chores, log = Chores(clock), []

    def again():
        chores.begin("a", work(log, "new", 1))
        yield from ()

    chores.begin("a", again())
    chores.go_on()
    assert log == ["new0"]


def test_work_begins_anew_where_its_ground_changes():
    versions, log = iter([1, 1, 1, 2, 2, 2, 2, 2, 2]), []
    version, _result = finished(steady(lambda: next(versions), lambda: work(log, "a", 2)))
    assert log == ["a0", "a1", "a0", "a1"]
    assert version == 2


def test_work_on_changing_ground_says_as_well_that_a_piece_takes_long():
    assert list(steady(lambda: 0, lambda: iter([None, ALONE]))) == [None, ALONE]


def test_reset_that_is_under_way_is_finished_before_the_voxels_are_used(bench):
    bench.controller.reset_segment("liver")
    assert "reset" not in bench.scene.names()
    bench.controller.reset_segment("spleen")
    assert ("reset", "liver") in bench.scene.calls
    bench.controller.set_locked("spleen", True)
    assert ("reset", "spleen") in bench.scene.calls
    bench.controller.reset_segment("liver")
    bench.scene.remove("ct1")
    bench.controller.volume_removed("seg-ct1")
    ticks_until_done(bench)
    assert bench.scene.calls.count(("reset", "liver")) == 1


def test_no_tick_of_a_reset_takes_long_and_its_end_is_told(bench):
    bench.controller.reset_segment("liver")
    costs = ticks_until_done(bench)
    assert len(costs) > 3
    assert max(costs) < BUDGET_S
    assert bench.view.status.text.startswith("Liver is as the model proposed it.")
    assert bench.view.correct.undo.is_enabled


def test_what_the_scene_tells_of_work_in_pieces_is_heard(bench):
    def tell(*_arguments):
        bench.controller.volume_removed("ct1")
        yield

    bench.scene.resetting = tell
    bench.controller.reset_segment("liver")
    assert bench.state is State.NO_VOLUME


def test_work_in_pieces_that_breaks_is_told_and_the_panel_goes_on(bench, caplog):
    def break_down(*_arguments):
        raise RuntimeError("no such image")
        yield

    bench.scene.resetting = break_down
    bench.controller.reset_segment("liver")
    assert "What was begun could not be finished. The reason: no such image." in bench.view.status.text
    assert "no such image" in str(caplog.records[-1].exc_info[1])
    bench.controller.set_locked("liver", True)
    assert any(row.is_locked for row in bench.scene.rows["seg-ct1"])


def test_no_tick_takes_long_while_changes_are_counted_and_the_table_says_so(bench):
    bench.controller.segmentation_edited()
    bench.wait(1.2)
    assert changes(bench) == {"counting"}
    assert bench.view.is_working
    costs = ticks_until_done(bench)
    assert len(costs) > 3
    assert max(costs) < BUDGET_S
    assert changes(bench) == {"as proposed"}
    assert bench.scene.names() == ["count_changes"]


def test_overlaps_are_not_denied_while_they_are_looked_for(bench):
    bench.controller.show_export(True)
    assert bench.view.export.overlap_note == "Overlaps are being looked for."
    assert max(ticks_until_done(bench)) < BUDGET_S
    assert bench.view.export.overlap_note == "No structures overlap."


def test_counting_stops_for_the_editor_and_begins_anew_after(bench):
    bench.controller.segmentation_edited()
    bench.wait(1.2)
    bench.controller.edit(True)
    ticks_until_done(bench)
    assert "count_changes" not in bench.scene.names()
    bench.controller.edit(False)
    ticks_until_done(bench)
    assert bench.scene.names().count("count_changes") == 1


def test_counting_of_a_result_that_is_gone_is_forgotten(bench):
    bench.controller.edit(False)
    bench.controller.segmentation_edited()
    bench.wait(1.2)
    bench.controller.choose_volume("ct2")
    ticks_until_done(bench)
    assert "count_changes" not in bench.scene.names()


def test_ct_is_copied_in_pieces_before_it_is_handed_over(bench):
    sent = bench.worker.count(Segment)
    bench.controller.segment()
    assert (bench.state, bench.view.status.text) == (State.PREDICTING, "Handing the CT over")
    assert bench.worker.count(Segment) == sent
    assert max(ticks_until_done(bench)) < BUDGET_S
    assert bench.worker.count(Segment) == sent + 1


@pytest.mark.parametrize("end", ["cancel", "removed", "close"])
def test_run_can_end_while_its_ct_is_still_copied(bench, end):
    sent = bench.worker.count(Segment)
    bench.controller.segment()
    {
        "cancel": bench.controller.cancel,
        "removed": lambda: bench.scene.remove("ct1") or bench.controller.volume_removed("ct1"),
        "close": bench.controller.close,
    }[end]()
    assert bench.state is {"cancel": State.REVIEWING, "removed": State.NO_VOLUME}.get(end, bench.state)
    for _n in range(PIECES):
        bench.controller.tick()
    assert bench.worker.count(Segment) == sent


# --- Protected structures are put right before anything is made of them


USES = {
    "export": (lambda c: c.export(), "export"),
    "reset": (lambda c: c.reset_segment("liver"), "reset"),
    "segment": (lambda c: c.segment(), ""),
    "unlock": (lambda c: c.set_locked("spleen", False), ""),
    "take the tick away": (lambda c: c.set_reviewed("spleen", False), ""),
}


@pytest.mark.parametrize("use", USES)
def test_what_was_taken_from_protected_structures_is_put_back_before_it_matters(bench, use, tmp_path):
    command, call = USES[use]
    bench.controller.choose_folder(tmp_path)
    bench.controller.edit(True)
    bench.scene.piece_s = 1.0  # nothing is done in the background by now
    bench.scene.calls.clear()
    bench.scene.taken = ("Spleen",)
    locked = []
    bench.scene.set_locked = lambda *_: locked.append(bench.scene.taken)
    bench.scene.set_reviewed = lambda *_: locked.append(bench.scene.taken)
    command(bench.controller)
    assert ("put_back", ("Spleen",)) in bench.scene.calls
    ticks_until_done(bench)
    names = bench.scene.names()
    assert not call or names.index("put_back") < names.index(call)
    assert all(taken == () for taken in locked)


def test_result_of_a_run_finds_protected_structures_as_they_were(bench):
    bench.scene.piece_s = 0.0
    command = bench.run()
    bench.scene.calls.clear()
    bench.scene.taken = ("Spleen",)
    bench.finish(command)
    assert bench.scene.names()[:2] == ["put_back", "write_result"]
