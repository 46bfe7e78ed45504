"""Files are written in pieces, beside whatever else is done."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.workflow.states import State
from workflow_fakes import reviewing_bench


@pytest.fixture
def bench():
    return reviewing_bench()


@pytest.fixture
def exporting(bench, tmp_path):
    """Two formats are being written, of which each takes several ticks; the segments are copied."""
    bench.controller.choose_folder(tmp_path)
    bench.controller.choose_formats(("seg.nrrd", "csv"))
    bench.scene.pieces, bench.scene.piece_s = 30, 0.004
    bench.controller.export()
    return bench


def until(bench, is_there, ticks=200):
    for _n in range(ticks):
        if is_there():
            return
        bench.controller.tick()
    pytest.fail(f"It did not come: {bench.view.status.text}")


def is_writing(bench):
    return "prepare_export" in bench.scene.names()


def test_each_step_of_an_export_is_shown_with_how_far_it_is(exporting):
    seen = []
    exporting.controller.changed.connect(lambda view: seen.append((view.status.text, view.status.fraction)))
    until(exporting, lambda: not exporting.view.is_working)
    busy = [fraction for _text, fraction in seen if fraction is not None]
    texts = list(dict.fromkeys(text for text, _fraction in seen))
    assert texts[-3:] == ["Exporting: seg.nrrd", "Exporting: csv", exporting.view.status.text]
    assert busy == sorted(busy)
    assert exporting.view.status.kind == "good"


def test_no_tick_of_an_export_takes_long(exporting):
    while exporting.view.is_working:
        before = exporting.clock.now
        exporting.controller.tick()
        assert exporting.clock.now - before < 0.016


def test_while_files_are_written_buttons_say_why_they_wait_and_correcting_goes_on(exporting):
    until(exporting, lambda: is_writing(exporting))
    for control in (exporting.view.export.export, exporting.view.segment.segment):
        assert not control.is_enabled
        assert control.tip == f"Wait until this has ended: {exporting.view.status.text}."
    exporting.controller.export()
    assert exporting.view.correct.edit.is_enabled
    exporting.controller.edit(True)
    assert exporting.state is State.CORRECTING
    until(exporting, lambda: not exporting.view.is_working)
    assert exporting.scene.names().count("export") == 1


@pytest.mark.parametrize("is_late", [False, True])
def test_cancelled_export_leaves_nothing_and_says_so(exporting, is_late):
    until(exporting, lambda: is_late <= is_writing(exporting))
    assert exporting.view.status.cancel.is_enabled
    exporting.controller.cancel()
    assert exporting.view.status.text == "Cancelled. Nothing was exported."
    assert exporting.view.export.export.is_enabled
    exporting.wait(2)
    assert "export" not in exporting.scene.names()
    assert ("give_up" in exporting.scene.names()) is is_late
    assert exporting.view.export.last_files == ()


@pytest.mark.parametrize("end", ["ct", "segmentation", "scene"])
@pytest.mark.parametrize("is_late", [False, True])
def test_source_that_goes_away_ends_an_export_unless_it_is_copied(exporting, end, is_late):
    until(exporting, lambda: is_late <= is_writing(exporting))
    if end == "scene":
        exporting.controller.scene_about_to_close()
    else:
        exporting.scene.results.clear()
        exporting.controller.volume_removed({"ct": "ct1", "segmentation": "seg-ct1"}[end])
    until(exporting, lambda: not exporting.view.is_working)
    assert ("export" in exporting.scene.names()) is is_late
    assert exporting.view.status.text.startswith("2 files were written" if is_late else "Nothing was exported: the CT")


def test_another_ct_does_not_end_an_export_and_does_not_get_its_files(exporting):
    exporting.controller.choose_volume("ct2")
    until(exporting, lambda: not exporting.view.is_working)
    assert "export" in exporting.scene.names()
    assert exporting.view.export.last_files == ()


def test_work_that_is_begun_later_goes_before_an_export(exporting):
    until(exporting, lambda: is_writing(exporting))
    exporting.controller.show_export(True)
    until(exporting, lambda: exporting.view.export.overlap_note == "No structures overlap.")
    assert "export" not in exporting.scene.names()
    until(exporting, lambda: not exporting.view.is_working)
    assert "export" in exporting.scene.names()


def test_module_that_is_closed_gives_its_files_up(exporting):
    until(exporting, lambda: is_writing(exporting))
    exporting.controller.close()
    assert exporting.scene.names()[-1] == "give_up"
