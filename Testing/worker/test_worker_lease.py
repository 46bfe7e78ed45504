"""A prediction takes the device, and learning gives way to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from GenesisSegmentLib.core import protocol
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.learning_messages import Learn, Stage
from GenesisSegmentLib.core.lease import Lease
from GenesisSegmentLib.core.protocol import (
    Done,
    Estimate,
    Hello,
    ListModels,
    LoadVolume,
    Segment,
    SelfTest,
    new_id,
)
from GenesisSegmentLib.worker.service import Service
from worker.conftest import PATIENT

FAKE = Path(__file__).with_name("fake_round.py")


@pytest.fixture
def lease(tmp_path) -> Lease:
    return Lease(tmp_path / "device.lock")


@pytest.mark.parametrize(
    ("command", "is_waited_for"),
    [
        (Segment("a", "print"), True),
        (SelfTest("a"), True),
        (Hello("a"), False),
        (ListModels("a"), False),
        (Estimate("a", "print"), False),
        (LoadVolume("a", "", "print"), False),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_commands_that_a_person_waits_for_have_the_device(lease, command, is_waited_for):
    service, taken = Service(lease=lease), []

    def look(command, job, send):
        taken.append(lease.is_taken())
        return Done(command.id)

    service._handlers[type(command)] = look
    service.run(command, Job(), print)
    assert taken == [is_waited_for]
    assert not lease.is_taken()


def test_prediction_that_fails_gives_the_device_back(lease):
    service = Service(lease=lease)
    with pytest.raises(InputError):
        service.run(Segment("a", "unknown"), Job(), print)
    assert not lease.is_taken()


@pytest.mark.skipif(os.name == "nt", reason="the faults of the fake round are those of POSIX")
def test_learning_stands_still_while_the_real_worker_tests_a_model(opened, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "round").mkdir()
    learner, worker = opened(FAKE, tmp_path / "round", "steps:100000", limits=PATIENT), None

    def states() -> list[str]:
        return [event.state for event in learner.of(job) if isinstance(event, Stage)]

    job = learner.client.send(Learn(new_id()))
    learner.until(lambda: "learning" in states())
    worker = opened("-m", "GenesisSegmentLib.worker", limits=PATIENT)
    test = worker.client.send(SelfTest(new_id()))

    def has_waited() -> bool:
        worker.events += worker.client.pump()
        return "waiting" in states()

    learner.until(has_waited)
    assert not [event for event in worker.of(test) if isinstance(event, (protocol.Tested, protocol.Failure))]
    assert isinstance(worker.final(test), protocol.Tested)
    learner.until(lambda: states()[-1] == "learning")
