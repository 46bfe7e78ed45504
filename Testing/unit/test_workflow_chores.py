"""What takes a look at every voxel is done in pieces, so that no callback takes long."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.pieces import ALONE, finished, steady
from GenesisSegmentLib.core.protocol import Segment
from GenesisSegmentLib.core.workflow.chores import Chores
from GenesisSegmentLib.core.workflow.states import State
from scene_fakes import FakeClock
from workflow_fakes import reviewing_bench

BUDGET_S = 0.016
PIECE_S, PIECES = 0.003, 20


@pytest.fixture
def bench():
    bench = reviewing_bench()
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
        assert len(costs) < 1000
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


def is_locked(bench, segment_id):
    return next(row.is_locked for row in bench.scene.rows["seg-ct1"] if row.segment_id == segment_id)


def test_changes_of_segments_are_made_in_the_order_in_which_they_were_asked_for(bench):
    bench.controller.reset_segment("liver")
    bench.controller.reset_segment("spleen")
    bench.controller.set_locked("liver", True)
    bench.controller.reset_segment("liver")
    bench.controller.set_locked("spleen", True)
    bench.controller.set_locked("spleen", False)
    assert bench.scene.calls == []
    ticks_until_done(bench)
    assert bench.scene.names() == ["reset", "reset", "count_changes"]
    assert bench.scene.calls[:2] == [("reset", "liver"), ("reset", "spleen")]
    assert (is_locked(bench, "liver"), is_locked(bench, "spleen")) == (True, False)


def test_changes_that_were_asked_for_before_a_run_are_made_before_its_ct_is_copied(bench, monkeypatch):
    bench.controller.reset_segment("liver")
    bench.controller.set_locked("spleen", True)
    locked, send = [], bench.worker.send_volume
    monkeypatch.setattr(bench.worker, "send_volume", lambda *a: locked.append(is_locked(bench, "spleen")) or send(*a))
    bench.controller.segment()
    bench.controller.set_locked("liver", True)
    ticks_until_done(bench)
    assert locked == [True]
    assert ("reset", "liver") in bench.scene.calls
    assert not is_locked(bench, "liver"), "what is clicked during a run changes nothing"


def test_change_that_fails_takes_those_behind_it_not_along(bench):
    bench.scene.refusing.add("resetting")
    bench.controller.reset_segment("liver")
    bench.controller.set_locked("spleen", True)
    ticks_until_done(bench)
    assert "resetting is not possible." in bench.view.status.text
    assert is_locked(bench, "spleen")


def test_changes_of_a_result_that_is_gone_are_forgotten(bench):
    bench.controller.reset_segment("liver")
    bench.controller.set_locked("spleen", True)
    bench.scene.results.clear()
    bench.controller.volume_removed("seg-ct1")
    bench.scene.add_result("ct1", (1, 6))
    bench.controller.start()
    bench.controller.set_locked("liver", True)
    ticks_until_done(bench)
    assert "reset" not in bench.scene.names()
    assert (is_locked(bench, "liver"), is_locked(bench, "spleen")) == (True, False)


CLICKS = {
    "lock": lambda c: c.set_locked("liver", True),
    "review": lambda c: c.set_reviewed("liver", True),
    "reset": lambda c: c.reset_segment("liver"),
    "segment": lambda c: c.segment(),
    "export": lambda c: c.export(),
    "edit": lambda c: c.edit(True),
    "difference": lambda c: c.show_difference(True),
    "select": lambda c: c.select_segment("spleen"),
    "undo": lambda c: c.undone(True),
    "show export": lambda c: c.show_export(True),
}


@pytest.mark.parametrize("click", CLICKS)
def test_no_click_takes_long_after_a_stroke(bench, click, tmp_path):
    bench.controller.choose_folder(tmp_path)
    bench.controller.select_segment("liver")
    bench.controller.show_difference(True)
    bench.scene.taken = ("Spleen",)
    before = bench.clock.now
    CLICKS[click](bench.controller)
    assert bench.clock.now - before < BUDGET_S
    assert max(ticks_until_done(bench), default=0.0) < BUDGET_S
    assert is_locked(bench, "liver") is (click == "lock")


def test_difference_that_cannot_be_shown_is_not_ticked(bench):
    bench.scene.refusing.add("showing_difference")
    bench.controller.show_difference(True)
    assert bench.view.correct.show_difference.is_checked
    ticks_until_done(bench)
    assert not bench.view.correct.show_difference.is_checked
    assert "Do something else." in bench.view.status.text


def test_only_the_difference_that_was_asked_for_last_is_shown(bench):
    bench.controller.show_difference(True)
    bench.controller.select_segment("spleen")
    bench.controller.select_segment("liver")
    ticks_until_done(bench)
    assert bench.scene.calls == [("show_difference", "liver")]
    bench.controller.select_segment("spleen")
    bench.controller.show_difference(False)
    ticks_until_done(bench)
    assert bench.scene.calls[1:] == [("hide_difference", "seg-ct1")]


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
    ticks_until_done(bench)
    assert bench.state is State.NO_VOLUME


def test_work_in_pieces_that_breaks_is_told_and_the_panel_goes_on(bench, caplog):
    def break_down(*_arguments):
        raise RuntimeError("no such image")
        yield

    bench.scene.resetting = break_down
    bench.controller.reset_segment("liver")
    ticks_until_done(bench)
    assert "What was begun could not be finished. The reason: no such image." in bench.view.status.text
    assert "no such image" in str(caplog.records[-1].exc_info[1])
    bench.controller.set_locked("liver", True)
    ticks_until_done(bench)
    assert is_locked(bench, "liver")


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


@pytest.mark.parametrize("when", ["copy", "send_volume", "send"])
def test_fault_while_the_ct_is_handed_over_ends_the_run_with_a_reason(bench, monkeypatch, when):
    def fail(*_arguments):
        raise MemoryError
        yield

    if when == "copy":
        monkeypatch.setattr(bench.scene, "copying", fail)
    else:
        monkeypatch.setattr(bench.worker, when, lambda *_: next(fail()))
    bench.controller.segment()
    ticks_until_done(bench)
    assert bench.state is State.FAILED
    text = bench.view.status.text
    assert text.startswith("The CT could not be handed over. There is not enough memory.")
    assert not bench.view.status.cancel.is_enabled


COMMANDS = {
    "set_visible": lambda c: c.set_visible("liver", False),
    "show_proposal": lambda c: c.show_proposal(True),
    "suspend_3d": lambda c: c.edit(True),
    "update_3d": lambda c: c.update_3d(),
    "segments": lambda c: c.set_locked("liver", True),
}


@pytest.mark.parametrize("fails", COMMANDS)
def test_fault_in_a_command_is_told_with_its_reason(bench, monkeypatch, fails):
    def fail(*_arguments):
        raise AttributeError("no display node")

    with monkeypatch.context() as patch:
        patch.setattr(bench.scene, fails, fail)
        COMMANDS[fails](bench.controller)
        ticks_until_done(bench)
        assert bench.view.status.kind == "error"
        assert "The reason: no display node." in bench.view.status.text
    bench.controller.edit(True)
    assert bench.state is State.CORRECTING


def test_view_is_shown_even_after_what_nobody_foresaw(bench, monkeypatch):
    def fail(*_arguments):
        bench.controller._model.say("Seen.", "idle")
        raise AssertionError

    monkeypatch.setattr(bench.scene, "set_visible", fail)
    with pytest.raises(AssertionError):
        bench.controller.set_visible("liver", False)
    assert bench.view.status.text == "Seen."


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
    ticks_until_done(bench)
    bench.scene.calls.clear()
    bench.scene.taken = ("Spleen",)
    locked = []
    bench.scene.set_locked = lambda *_: locked.append(bench.scene.taken)
    bench.scene.set_reviewed = lambda *_: locked.append(bench.scene.taken)
    command(bench.controller)
    ticks_until_done(bench)
    assert ("put_back", ("Spleen",)) in bench.scene.calls
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
