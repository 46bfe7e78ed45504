"""Fixtures of the worker's tests: clients that are closed, and processes that are gone, whatever a test does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core.geometry import Geometry, Reorientation
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.core.protocol import IN_BETWEEN, Command, Done, Event, Hello, Segment, new_id
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.core.worker_client import Limits, WorkerClient
from GenesisSegmentLib.core.worker_process import Launch
from GenesisSegmentLib.engine.phantom import phantom_ct
from GenesisSegmentLib.worker.self_test import sample

FAKE = Path(__file__).with_name("fake_worker.py")
LIBRARY = Path(GenesisSegmentLib.__file__).parents[1]
PATIENCE_S = 60.0
"""Before a test gives up: generous, as other work may go on on the machine."""
QUICK = Limits(start=PATIENCE_S, silence=PATIENCE_S, cancel=0.3)


class Session:
    """A client, and every event that it gave."""

    def __init__(self, client: WorkerClient) -> None:
        self.client = client
        self.events: list[Event] = []

    def until(self, is_there: Callable[[], bool]) -> None:
        """Pumps until something is so."""
        stop = time.monotonic() + PATIENCE_S
        while not is_there():
            assert time.monotonic() < stop, f"nothing more came after {self.events}"
            self.events += self.client.pump()
            time.sleep(0.002)

    def pump_for(self, seconds: float) -> None:
        """Pumps for a while."""
        stop = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= stop)

    def of(self, command_id: str) -> list[Event]:
        """The events of a command so far."""
        return [event for event in self.events if event.id == command_id]

    def final(self, command_id: str) -> Event:
        """Waits for the final event of a command."""
        self.until(lambda: any(not isinstance(event, IN_BETWEEN) for event in self.of(command_id)))
        return self.of(command_id)[-1]

    def ask(self, command: Command) -> Event:
        """Sends a command and waits for its final event."""
        return self.final(self.client.send(command))

    def pid(self) -> int:
        """The process of the moment."""
        self.until(lambda: self.client._process is not None and self.client._process.pid is not None)
        return self.client._process.pid


Opened = Callable[..., Session]


def open_session(folder: Path, *argv: object, limits: Limits = QUICK, **environment: str) -> Session:
    """A session with a process that is started by the given arguments; its files lie in ``folder``."""
    env = {**os.environ, "PYTHONPATH": str(LIBRARY), HOME_VARIABLE: str(folder / "home"), **environment}
    launch = Launch((sys.executable, *map(str, argv)), folder / "worker.log", env)
    return Session(WorkerClient(launch, folder / "bulk", limits))


def close_session(session: Session) -> None:
    """Closes the client and waits until its process is gone."""
    process = session.client._process
    session.client.close()
    if process is not None:
        process.end().join()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Opens sessions whose files lie in the folder of the test."""
    sessions: list[Session] = []

    def start(*argv: object, **more: object) -> Session:
        sessions.append(open_session(tmp_path, *argv, **more))
        return sessions[-1]

    yield start
    for session in sessions:
        close_session(session)


@pytest.fixture
def fake(opened: Opened) -> Callable[..., Session]:
    """Opens sessions with fake workers that misbehave as they are told."""
    return lambda *rules, limits=QUICK: opened(FAKE, *rules, limits=limits)


@pytest.fixture
def volume() -> Volume:
    """A small CT on an oblique grid: air around, tissue inside."""
    voxels = np.full((12, 9, 7), -1000, np.int16)
    voxels[2:-2, 2:-2, 1:-1] = 40
    turn = np.array([[0.0, -0.8, 0.6], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]) @ np.diag([0.7, 0.8, 2.5])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, (5.0, -7.0, 9.0)
    return Volume(voxels, Geometry(voxels.shape, matrix), Source(Path("made"), "made"))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # no /proc here
        return not Path("/proc").is_dir()
    except ProcessLookupError:  # it ended while its state was read
        return False


def hello() -> Hello:
    """A fresh command."""
    return Hello(new_id())


def segment(volume: str = "print", **more: object) -> Segment:
    """A fresh command."""
    return Segment(new_id(), volume, **more)


def loaded(session: Session, volume: Volume, fingerprint: str = "print") -> Session:
    """The session, once its worker knows the volume."""
    assert isinstance(session.final(session.client.send_volume(volume, fingerprint)), Done)
    return session


PATIENT = replace(QUICK, cancel=PATIENCE_S)
"""A cancel that does not work in the worker itself must fail, not be helped out by a kill."""


@pytest.fixture
def real(opened):
    """Opens sessions with real workers."""
    return lambda **environment: opened("-m", "GenesisSegmentLib.worker", limits=PATIENT, **environment)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, torso):
    """One session with a real worker that knows the torso, for tests that leave it as it was."""
    session = open_session(tmp_path_factory.mktemp("shared"), "-m", "GenesisSegmentLib.worker", limits=PATIENT)
    yield loaded(session, torso)
    close_session(session)


@pytest.fixture(scope="module")
def torso() -> Volume:
    """A piece of the torso on axes that are permuted, flipped and turned."""
    piece = sample()
    change = Reorientation((2, 0, 1), (True, False, True))
    geometry = piece.geometry.reoriented(change)
    angle = np.radians(12.0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    voxels = np.ascontiguousarray(change.apply(piece.voxels))
    return Volume(voxels, Geometry(geometry.shape, turn @ geometry.ijk_to_ras), piece.source)


@pytest.fixture(scope="module")
def body() -> Volume:
    """The whole torso: some seconds of work."""
    return phantom_ct(6.0)
