"""How long it takes from the moment a prediction takes the device until learning stands still, and until it goes on.

The supervisor and the process of the round are real; in it a network of the size of the starter learns with all the
threads that it gets. It does nothing more from the moment at which the signal to stop was sent: the system interrupts
threads that run, and no other runs again. On a busy machine the system reports a process of the lowest priority as
stopped some time after that, when each of its threads has had a turn to notice.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.learning_messages import Learn, RoundEnded, Stage
from GenesisSegmentLib.core.lease import Lease
from GenesisSegmentLib.core.protocol import Command, Event, new_id
from GenesisSegmentLib.worker.learner.rounds import WAITING, Rounds
from GenesisSegmentLib.worker.learner.training import be_modest, learn_with
from GenesisSegmentLib.worker.start import run

CHILD = "--child"
_PATIENCE_S = 300.0
_LOOK_S = 0.0005
_BETWEEN_S = 0.35


@dataclass(frozen=True)
class Pause:
    """Milliseconds from taking the device to the signal and to the report of the system, and from giving it back to
    going on."""

    signal_ms: float
    stop_ms: float
    go_on_ms: float


def measured(times: int) -> list[Pause]:
    """So many pauses of a round that learns."""
    with tempfile.TemporaryDirectory(prefix="pauses-") as folder:
        lease, job = Lease(Path(folder) / "device.lock"), Job()
        said: list[tuple[str, float]] = []
        rounds = Rounds((sys.executable, __file__, CHILD), lease)

        def learn() -> None:
            try:
                rounds.run(Learn(new_id()), job, lambda stage: said.append((stage.state, time.monotonic())))
            except Cancelled:
                return

        thread = threading.Thread(target=learn)
        thread.start()
        try:
            _until(lambda: len(said) > 2)
            child = next(p for p in psutil.Process().children(recursive=True) if CHILD in p.cmdline())
            return [_pause(lease, child, n, said) for n in range(times)]
        finally:
            job.cancel()
            thread.join()


def summary(pauses: list[Pause]) -> str:
    """Median and largest, for people."""
    lines = []
    for name, values in (
        ("until it stands still", [p.signal_ms for p in pauses]),
        ("until that is reported", [p.stop_ms for p in pauses]),
        ("until it goes on", [p.go_on_ms for p in pauses]),
    ):
        lines.append(f"{name:<24}median {statistics.median(values):6.1f} ms   largest {max(values):6.1f} ms")
    return "\n".join([*lines, f"{len(pauses)} pauses."])


def main(arguments: list[str]) -> None:
    """Prints the figures."""
    if arguments == [CHILD]:
        be_modest()
        run(None, learn_with(_learn_for_ever))
    parser = argparse.ArgumentParser(prog="measure_pauses", description=__doc__)
    parser.add_argument("--times", type=int, default=30, help="how many pauses (default: %(default)s)")
    print(summary(measured(parser.parse_args(arguments).times)))


def _pause(lease: Lease, child: psutil.Process, number: int, said: list[tuple[str, float]]) -> Pause:
    time.sleep(_BETWEEN_S + 0.007 * number)  # at another point of the supervisor's interval each time
    with lease.held():
        taken = time.monotonic()
        stopped = _until(lambda: _is_stopped(child))
        time.sleep(_BETWEEN_S)
    given_back = time.monotonic()
    going = _until(lambda: not _is_stopped(child))
    told = next(at for state, at in said if state == WAITING and at >= taken)
    return Pause(1000 * (told - taken), 1000 * (stopped - taken), 1000 * (going - given_back))


def _is_stopped(child: psutil.Process) -> bool:
    return child.status() == psutil.STATUS_STOPPED


def _until(is_so: Callable[[], bool]) -> float:
    stop = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > stop:
            raise TimeoutError("nothing happened")
        time.sleep(_LOOK_S)
    return time.monotonic()


def _learn_for_ever(command: Command, job: Job, send: Callable[[Event], None]) -> RoundEnded:
    import torch

    from GenesisSegmentLib.engine.networks.starter import SegResNetBackbone
    from GenesisSegmentLib.engine.networks.universal import UniversalModel

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    network = UniversalModel(SegResNetBackbone(), 32, "random")
    optimizer = torch.optim.AdamW(network.parameters())
    step = 0
    while True:
        job.check()
        loss = network(torch.randn(1, 1, 48, 48, 48)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        send(Stage(command.id, "learning", step, float(loss)))


if __name__ == "__main__":
    main(sys.argv[1:])
