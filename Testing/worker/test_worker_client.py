"""The client against a worker that misbehaves in every way that is known."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.layers import unpack_layers
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.core.protocol import (
    Done,
    Estimate,
    Estimated,
    Failure,
    Partial,
    Progress,
    Ready,
    Result,
    Unload,
    new_id,
)
from GenesisSegmentLib.core.worker_client import Limits, WorkerClient
from GenesisSegmentLib.core.worker_process import Launch
from worker.conftest import LIBRARY, PATIENCE_S, PATIENT, QUICK, hello, is_alive, loaded, segment
from worker.fake_worker import LIVER, OFFERED, fake_segmentation


def test_nothing_is_started_nor_written_before_the_first_command(fake, tmp_path):
    session = fake()
    assert session.client.pump() == []
    assert not session.client.is_running
    assert list(tmp_path.iterdir()) == []


def test_first_command_starts_the_process_and_is_answered(fake):
    session = fake()
    answer = session.ask(hello())
    assert isinstance(answer, Ready)
    assert answer.pid == session.pid()
    assert not session.client.is_busy


def test_segmentation_arrives_class_by_class_and_then_as_a_whole(fake, volume):
    session = loaded(fake(), volume)
    result = session.ask(segment())
    expected = fake_segmentation(volume.geometry)
    partials = [event for event in session.of(result.id) if isinstance(event, Partial)]
    assert [p.index for p in partials] == list(OFFERED)
    assert isinstance(result, Result)
    layers = session.client.layers(result)
    assert len(layers) == 2
    assert np.array_equal(unpack_layers(layers, volume.geometry).bits, expected.bits)


def test_partial_mask_is_that_of_its_class(fake, volume):
    session = loaded(fake("--pause", "0.2"), volume)
    job = session.client.send(segment())
    session.until(lambda: any(isinstance(e, Partial) and e.index == LIVER for e in session.of(job)))
    partial = next(e for e in session.of(job) if isinstance(e, Partial) and e.index == LIVER)
    box, mask = session.client.mask(partial)
    assert np.array_equal(mask, fake_segmentation(volume.geometry).mask(LIVER)[box.slices])


def test_files_of_a_result_are_deleted_once_it_was_read(fake, volume):
    session = loaded(fake(), volume)
    result = session.ask(segment())
    folder = Path(result.layers[0].file).parent
    assert folder.is_dir()
    layers = session.client.layers(result)
    session.until(lambda: not folder.exists())
    assert all(layer.labels.shape == volume.geometry.shape for layer in layers)
    with pytest.raises(InputError):
        session.client.layers(result)


def test_command_on_a_volume_that_is_being_written_waits_for_it(fake, volume):
    session = fake()
    load = session.client.send_volume(volume, "print")
    job = session.client.send(segment())
    assert isinstance(session.final(job), Result)
    assert isinstance(session.final(load), Done)


def test_volume_that_is_there_is_not_written_again(fake, volume, tmp_path):
    session = loaded(fake(), volume)
    before = sorted((tmp_path / "bulk").rglob("*"))
    loaded(session, volume)
    assert sorted((tmp_path / "bulk").rglob("*")) == before


def test_volume_that_cannot_be_written_ends_its_commands_with_the_reason(fake, volume):
    session = fake()
    load = session.client.send_volume(replace(volume, voxels=volume.voxels.astype(np.float32)), "print")
    job = session.client.send(segment())
    for answer in (session.final(load), session.final(job)):
        assert isinstance(answer, Failure)
        assert "int16" in answer.what


def test_oldest_volumes_make_room_on_the_disk(fake, volume, tmp_path):
    session = fake()
    for n in range(4):
        loaded(session, volume, f"print {n}")
    session.until(lambda: len(list((tmp_path / "bulk").rglob("volume.json"))) <= 2)
    assert isinstance(session.ask(segment("print 3")), Result)


def test_unload_deletes_the_volume(fake, volume, tmp_path):
    session = loaded(fake(), volume)
    session.ask(Unload(new_id(), "print"))
    session.until(lambda: not list((tmp_path / "bulk").rglob("volume.json")))


def test_store_that_was_cleared_away_is_made_anew_and_the_volume_written_again(fake, volume, tmp_path):
    session = loaded(fake(), volume)
    for path in (tmp_path / "bulk").iterdir():  # as a cleaner of temporary files would
        shutil.rmtree(path)
    loaded(session, volume)
    assert isinstance(session.ask(segment()), Result)
    assert isinstance(loaded(session, volume, "other").ask(segment("other")), Result)
    session.client.stop()
    assert isinstance(session.ask(segment("other")), Result)  # what a new process is told is there as well


def test_run_on_a_store_that_was_cleared_away_needs_no_other_volume(fake, volume, tmp_path):
    session = loaded(fake("--on", "estimate=busy"), volume)
    session.client.send(Estimate(new_id(), "print"))
    for path in (tmp_path / "bulk").iterdir():
        shutil.rmtree(path)
    answer = session.ask(segment())  # the volume was not sent again: the worker says so, or has it still
    assert isinstance(answer, (Result, Failure))
    assert isinstance(loaded(session, volume).ask(segment()), Result)


def test_client_knows_what_is_still_there(fake, volume, tmp_path):
    session = loaded(fake(), volume)
    assert session.client.holds("print")
    assert not session.client.holds("another")
    held = finished(session.client.holding(np.ones((2, 3, 4), np.uint8)))
    assert session.client.holds(held)
    later = finished(session.client.holding(np.ones((2, 3, 4), np.uint8)))
    assert (session.client.holds(held), session.client.holds(later)) == (False, True)
    session.until(lambda: not Path(held).parent.exists())
    for path in (tmp_path / "bulk").iterdir():
        shutil.rmtree(path)
    assert not session.client.holds("print")
    assert not session.client.holds(later)
    assert loaded(session, volume).client.holds("print")


def test_volume_whose_files_were_cleared_away_is_written_again(fake, volume, tmp_path):
    session = loaded(fake(), volume)
    (file,) = (tmp_path / "bulk").rglob("voxels.i2")
    file.unlink()
    session.client.stop()
    assert isinstance(loaded(session, volume).ask(segment()), Result)


def test_store_of_a_client_that_lives_is_never_old(fake, volume, tmp_path):
    session = loaded(fake(limits=PATIENT), volume)
    now = [time.monotonic()]
    session.client._files._clock = lambda: now[0]
    (store,) = (tmp_path / "bulk").iterdir()
    paths = [store, *store.rglob("*")]
    assert len(paths) == 4
    for path in paths:
        os.utime(path, (0, 0))
    session.client.pump()
    assert store.stat().st_mtime == 0
    now[0] += 3600.0
    session.client.pump()
    assert all(path.stat().st_mtime > 0 for path in paths)


def test_error_of_the_worker_is_the_answer_and_names_the_log(fake, tmp_path):
    answer = fake("--on", "estimate=error:model").ask(Estimate(new_id(), "print"))
    assert (answer.code, answer.what) == ("model", "It was told to fail.")
    assert answer.log == str(tmp_path / "worker.log")


def test_nonsense_on_the_pipe_changes_nothing(fake, volume):
    session = loaded(fake("--on", "hello=nonsense", "--on", "segment=nonsense"), volume)
    assert isinstance(session.ask(hello()), Ready)
    assert isinstance(session.ask(segment()), Result)
    assert all(event.id for event in session.events)


def test_newer_protocol_is_said_plainly(fake):
    answer = fake("--on", "hello=newer").ask(hello())
    assert answer.code == "protocol"
    assert "version" in answer.what


def test_process_of_another_version_is_ended_before_anybody_waits_for_it(fake):
    session = fake("--speaks", "2", "--on", "estimate=deaf")
    job = session.client.send(Estimate(new_id(), "print"))
    pid = session.pid()
    answer = session.final(job)
    assert answer.code == "protocol"
    assert "version 2" in answer.what
    session.until(lambda: not is_alive(pid))


# --- Cancel -----------------------------------------------------------------------------------------------------------


def test_cancel_that_is_obeyed_keeps_the_process(fake):
    session = fake("--on", "segment=busy", limits=replace(QUICK, cancel=PATIENCE_S))
    job = session.client.send(segment())
    session.until(lambda: session.of(job))
    pid = session.pid()
    session.client.cancel(job)
    answer = session.final(job)
    assert answer.is_cancelled
    assert isinstance(session.ask(hello()), Ready)
    assert session.pid() == pid


def test_cancel_that_is_ignored_ends_the_process_and_the_next_command_starts_another(fake):
    session = fake("--on", "segment=deaf")
    job = session.client.send(segment())
    session.until(lambda: session.of(job))
    pid = session.pid()
    session.client.cancel(job)
    assert session.final(job).is_cancelled
    answer = session.ask(hello())
    assert answer.pid != pid
    session.until(lambda: not is_alive(pid))


@pytest.mark.parametrize("behaviour", ["hang", "deaf"])
def test_cancel_ends_within_a_second_of_the_clock_but_not_before_the_worker_could_obey(fake, behaviour):
    now = [100.0]
    session = fake("--on", f"segment={behaviour}", limits=Limits(start=PATIENCE_S))
    session.client._clock = lambda: now[0]
    job = session.client.send(segment())
    session.until(lambda: session.of(job))
    pid = session.pid()
    session.client.cancel(job)
    now[0] += 0.5
    session.pump_for(0.05)
    assert is_alive(pid)
    assert session.client.is_busy
    now[0] += 0.4  # the next tick after at most 0.1 s is still within the second
    assert session.final(job).is_cancelled
    session.until(lambda: not is_alive(pid))


def test_command_that_waited_behind_one_that_ignored_its_cancel_is_answered_by_the_next_process(fake):
    session = fake("--on", "segment=deaf", "--on", "estimate=late:1")
    job = session.client.send(segment())
    session.until(lambda: session.of(job))
    other = session.client.send(Estimate(new_id(), "print"))
    session.client.cancel(job)
    assert session.final(job).is_cancelled
    assert isinstance(session.final(other), Estimated)


def test_result_that_comes_after_the_cancel_is_dropped_and_its_files_deleted(fake, volume, tmp_path):
    session = fake("--on", "segment=late:0.3", limits=replace(QUICK, cancel=PATIENCE_S))
    loaded(session, volume)
    job = session.client.send(segment())
    session.client.cancel(job)
    assert session.final(job).is_cancelled
    assert not any(isinstance(event, (Result, Partial, Progress)) for event in session.of(job))
    walk = partial(os.walk, tmp_path / "bulk")  # which, unlike a glob, does not mind what goes meanwhile
    session.until(lambda: not any(name.startswith("layer-") for _, _, names in walk() for name in names))


def test_nothing_comes_for_a_command_after_its_end(fake, volume):
    session = loaded(fake("--on", "segment=deaf"), volume)
    job = session.client.send(segment())
    session.client.cancel(job)
    session.final(job)
    session.ask(hello())
    assert len([event for event in session.of(job) if isinstance(event, Failure)]) == 1


def test_cancel_while_the_volume_is_being_written_is_immediate(fake, volume, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr("GenesisSegmentLib.core.handed_volumes.write_volume", lambda *_: hold.wait(PATIENCE_S))
    session = fake()
    session.client.send_volume(volume, "print")
    job = session.client.send(segment())
    session.client.cancel(job)
    assert session.final(job).is_cancelled
    hold.set()


def test_cancel_of_what_has_ended_or_never_was_does_nothing(fake):
    session = fake()
    answer = session.ask(hello())
    session.client.cancel(answer.id)
    session.client.cancel("never")
    assert isinstance(session.ask(hello()), Ready)


# --- Stop and close ---------------------------------------------------------------------------------------------------


def test_stop_cancels_and_the_next_command_starts_another_process(fake, volume):
    session = loaded(fake("--on", "estimate=busy"), volume)
    pid = session.pid()
    job = session.client.send(Estimate(new_id(), "print"))
    session.client.stop()
    assert session.final(job).is_cancelled
    assert isinstance(session.ask(segment()), Result)
    assert session.pid() != pid
    session.until(lambda: not is_alive(pid))


@pytest.mark.parametrize("behaviour", ["answer", "deaf", "hang"])
def test_close_leaves_neither_process_nor_files(fake, volume, tmp_path, behaviour):
    session = loaded(fake("--on", f"segment={behaviour}"), volume)
    session.client.send(segment())
    pid = session.pid()
    session.client.close()
    stop = time.monotonic() + PATIENCE_S
    while is_alive(pid) or list((tmp_path / "bulk").iterdir()):
        assert time.monotonic() < stop
        time.sleep(0.01)
    assert session.client.pump() == []


def test_command_after_close_is_cancelled_and_starts_nothing(fake):
    session = fake()
    session.client.close()
    assert session.ask(hello()).is_cancelled
    assert not session.client.is_running


def test_end_of_the_parent_ends_the_worker(tmp_path):
    """Also where the parent is killed and can close nothing."""
    code = (
        "import sys, os, time, pathlib\n"
        "from GenesisSegmentLib.core.worker_client import *\n"
        "from GenesisSegmentLib.core.protocol import *\n"
        "from GenesisSegmentLib.core.worker_process import Launch\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "launch = Launch((sys.executable, '-m', 'GenesisSegmentLib.worker'), here / 'log')\n"
        "client = WorkerClient(launch, here / 'bulk')\n"
        "client.send(Hello('a'))\n"
        "events = []\n"
        "while not events:\n"
        "    events = client.pump()\n"
        "print(events[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    import subprocess

    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False)
    pid = int(done.stdout)
    stop = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < stop
        time.sleep(0.01)


# --- The main thread --------------------------------------------------------------------------------------------------


def test_of_several_reports_of_progress_only_the_latest_is_given(fake):
    session = fake("--on", "segment=busy")
    jobs = [session.client.send(segment()) for _ in range(2)]
    session.until(lambda: all(session.of(job) for job in jobs))
    reports = [Progress(job, "network", n / 10) for n in range(3, 9) for job in jobs]
    for report in reports:
        session.client._inbox.put((session.client._process, report))
    assert session.client.pump() == reports[-2:]


def test_no_call_waits_for_a_process_that_does_not_read(fake):
    """More is sent than a pipe holds, to a process that reads nothing."""
    client = WorkerClient(Launch((sys.executable, "-c", "import time; time.sleep(600)"), Path(os.devnull)), Path())
    long = "x" * 100_000
    for _ in range(20):
        client.send(Estimate(new_id(), long))
    assert client.pump() == []
    process = client._process
    stop = time.monotonic() + PATIENCE_S
    while process.pid is None and time.monotonic() < stop:
        time.sleep(0.01)
    client.stop()
    process.end().join()
    assert not is_alive(process.pid)  # the end of its input says nothing to it
    assert len(client.pump()) == 20
