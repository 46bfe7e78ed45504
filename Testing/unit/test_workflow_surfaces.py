"""3D surfaces are put away for corrections and made when the person asks for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.workflow.states import State
from workflow_fakes import Bench, reviewing_bench


@pytest.fixture
def bench() -> Bench:
    return reviewing_bench()


SURFACES_NOTE = "3D was put away before the structures changed: press Update 3D to see them as they are now."


def test_surfaces_are_put_away_while_correcting_and_changes_are_counted_after(bench):
    bench.scene.surfaces = {"seg-ct1"}
    bench.controller.edit(True)
    assert (bench.state, bench.view.correct.edit.is_checked) == (State.CORRECTING, True)
    bench.controller.segmentation_edited()
    bench.wait(5)
    assert bench.scene.calls == [("suspend_3d", "seg-ct1")]
    assert SURFACES_NOTE not in bench.view.correct.note
    bench.controller.edit(False)
    assert bench.state is State.REVIEWING
    assert bench.scene.calls[1:] == [("count_changes", "seg-ct1")]


@pytest.mark.parametrize("leave", ["segment", "choose", "stop", "edit"])
def test_leaving_the_editor_makes_no_surfaces_and_says_how_to_get_them(bench, leave):
    bench.scene.surfaces = {"seg-ct1"}
    bench.controller.edit(True)
    {
        "segment": bench.controller.segment,
        "choose": lambda: bench.controller.choose_volume("ct2"),
        "stop": bench.controller.stop,
        "edit": lambda: bench.controller.edit(False),
    }[leave]()
    assert bench.state is not State.CORRECTING
    assert "update_3d" not in bench.scene.names()
    assert (SURFACES_NOTE in bench.view.correct.note) is (leave in ("stop", "edit"))
    bench.controller.cancel()
    bench.controller.choose_volume("ct1")
    bench.controller.update_3d()
    bench.wait()
    assert SURFACES_NOTE not in bench.view.correct.note


def test_surfaces_are_not_made_while_correcting_and_it_is_said_why(bench):
    assert bench.view.correct.update_3d.is_enabled
    bench.controller.edit(True)
    button = bench.view.correct.update_3d
    assert (button.is_enabled, button.tip) == (False, "End correcting first: 3D would make every stroke slow.")
    bench.controller.edit(False)
    assert bench.view.correct.update_3d.is_enabled


def test_surfaces_that_were_put_away_before_the_scene_was_saved_are_asked_for(bench):
    assert SURFACES_NOTE not in bench.view.correct.note
    bench.scene.suspended = {"seg-ct1"}
    bench.scene.parameters = replace(bench.scene.parameters, volume_id="ct1")
    bench.controller.scene_loaded()
    assert bench.state is State.REVIEWING
    assert SURFACES_NOTE in bench.view.correct.note


def test_surfaces_are_announced_before_they_are_made(bench):
    bench.controller.update_3d()
    assert "Slicer does not answer until" in bench.view.status.text
    assert bench.scene.calls == []
    bench.wait()
    assert bench.scene.calls == [("update_3d", "seg-ct1")]
    assert bench.view.status.text == "The 3D surfaces show the structures as they are now."


def test_surfaces_of_a_result_that_is_gone_are_not_made(bench):
    bench.controller.update_3d()
    bench.scene.results.clear()
    bench.controller.volume_removed("seg-ct1")
    bench.wait()
    assert bench.scene.calls == []
    assert bench.view.status.kind != "error"


def test_closing_the_scene_while_correcting_ends_it(bench):
    bench.controller.edit(True)
    bench.controller.scene_about_to_close()
    assert bench.state is State.NO_VOLUME


def test_surfaces_that_were_asked_for_are_not_made_once_correcting_begins(bench):
    bench.controller.update_3d()
    bench.controller.edit(True)
    bench.wait(5)
    assert "update_3d" not in bench.scene.names()
