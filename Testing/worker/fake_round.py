"""The real learner with a round that is made up: small steps, and faults where it is told.

``python fake_round.py FOLDER [RULE]...``. What was done stands in FOLDER: one line per step in ``log`` (its number, the
process), from which it goes on; ``cancelled`` is there when it obeyed a cancel. Rules:

    steps:N       so many steps (default 20)
    torch         they are real training steps of a small network
    die:N         dies of SIGKILL after step N, once (which is what running out of memory looks like)
    exit:N        says its last words after step N and exits with code 3, each time, and forgets its steps
    kill:N        dies of SIGKILL after step N, each time, and forgets its steps
    lock:N        at step N keeps a lock until it was stopped and went on; ``is_in_the_way`` tells the supervisor
    long:N        step N is one call of a library that takes minutes; ``long`` is there when it has begun
    deaf          ignores a cancel
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.learning_messages import RoundEnded, Stage
from GenesisSegmentLib.core.protocol import Command, Event
from GenesisSegmentLib.worker.learner.rounds import Rounds
from GenesisSegmentLib.worker.learner.service import APART, LearnerService
from GenesisSegmentLib.worker.learner.training import be_modest, learn_with
from GenesisSegmentLib.worker.pipes import Outlet
from GenesisSegmentLib.worker.server import Server
from GenesisSegmentLib.worker.start import run


def small_training() -> Callable[[], float]:
    """One step of a small network; its loss."""
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Conv3d(1, 8, 3)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def step() -> float:
        loss = network(torch.ones(1, 1, 24, 24, 24)).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


class FakeRound:
    def __init__(self, folder: Path, rules: list[str]) -> None:
        self._folder = folder
        found = dict((*rule.split(":"), "0")[:2] for rule in rules)
        self._rules = {name: int(value) for name, value in found.items()}

    def learn(self, command: Command, job: Job, send: Callable[[Event], None]) -> RoundEnded:
        train = small_training() if "torch" in self._rules else lambda: 1.0
        count = self._rules.get("steps", 20)
        for step in range(self._done() + 1, count + 1):
            if step == self._rules.get("long"):
                (self._folder / "long").touch()
                hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000_000)
            loss = train()
            time.sleep(0.01)
            self._record(step)
            send(Stage(command.id, "learning", step, loss))
            self._advance(job, step / count)
            self._misbehave(step)
        return RoundEnded(command.id, "unproven", "There are too few cases.", "v1")

    def _advance(self, job: Job, share: float) -> None:
        if "deaf" in self._rules:
            return
        if job.is_cancelled:
            (self._folder / "cancelled").touch()
        job.advance("work", share)

    def _done(self) -> int:
        log = self._folder / "log"
        if self._rules.keys() & {"exit", "kill"} or not log.exists():
            return 0
        return int(log.read_text().splitlines()[-1].split()[0])

    def _record(self, step: int) -> None:
        """By one write, before or after which it may be killed: a second file could be a step ahead of the first."""
        with (self._folder / "log").open("a") as log:
            log.write(f"{step} {os.getpid()} {os.nice(0)} {os.environ['OMP_NUM_THREADS']}\n")

    def _misbehave(self, step: int) -> None:
        if step == self._rules.get("die") and not (self._folder / "died").exists():
            (self._folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._rules.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self._rules.get("exit"):
            print("The last words of the round.", file=sys.stderr, flush=True)
            os._exit(3)
        if step == self._rules.get("lock"):
            went_on = threading.Event()
            signal.signal(signal.SIGCONT, lambda number, frame: went_on.set())
            (self._folder / "locked").touch()
            while not went_on.wait(0.001):
                pass
            (self._folder / "locked").unlink()


def supervise(folder: Path, rules: list[str]) -> None:
    def serve(commands: int, outlet: Outlet) -> int:
        def abandon() -> None:
            (folder / "abandoned").touch()

        argv = (sys.executable, __file__, "--child", str(folder), *rules)
        rounds = Rounds(argv, is_in_the_way=(folder / "locked").exists, on_abandoned=abandon)
        service = LearnerService(rounds)
        return Server(outlet, service, apart=APART, on_end=service.leave).serve(commands)

    run(None, serve)


def main(arguments: list[str]) -> None:
    if arguments[0] != "--child":
        supervise(Path(arguments[0]), arguments[1:])
    be_modest()
    run(None, learn_with(FakeRound(Path(arguments[1]), arguments[2:]).learn))


if __name__ == "__main__":
    main(sys.argv[1:])
