"""A learner that speaks the real protocol and learns nothing: it takes the outbox in and counts, and its rounds pass.

``python fake_learner.py [--steps N] [--pause SECONDS] [--ends STATE] [--on TYPE=BEHAVIOUR]...``. What it took in it
keeps in ``fake_learner.json`` in the data folder; it checks every file of the outbox as the real one does. Behaviours
are those of :mod:`fake_worker`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

from fake_worker import FakeWorker

from GenesisSegmentLib.core.errors import Cancelled, InputError
from GenesisSegmentLib.core.home import data_home, store_folder
from GenesisSegmentLib.core.identity import local_salt
from GenesisSegmentLib.core.learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningState,
    LearningStatus,
    Pause,
    RoundEnded,
    Stage,
    UseVersion,
    VersionInfo,
)
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.protocol import Done, Event, Message, Progress
from GenesisSegmentLib.core.rounds import ClassVerdict

VERDICTS = (
    ClassVerdict("liver", True, 6, 0, 0.811, 0.874, 0.016, "better"),
    ClassVerdict("spleen", False, 6, 0, 0.902, 0.899, None, "same"),
)


class FakeLearner(FakeWorker):
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self._steps, self._ends = options.steps, options.ends
        self._goes_on = threading.Event()
        self._goes_on.set()

    def _take(self, message: Message) -> None:
        if isinstance(message, Learn) and message.type not in self._behaviours:
            self._jobs[message.id] = threading.Event()
            threading.Thread(target=self._perform, args=(message,), daemon=True).start()
        else:
            super()._take(message)

    def _answer(self, command: Message) -> Event:
        if isinstance(command, Ingest):
            return self._ingest(command)
        if isinstance(command, LearningStatus):
            return self._state(command.id)
        if isinstance(command, UseVersion):
            kept = _load()
            kept["used"] = command.version
            _save(kept)
            return self._state(command.id)
        if isinstance(command, Pause):
            (self._goes_on.clear if command.is_paused else self._goes_on.set)()
            return Done(command.id)
        return self._learn(command) if isinstance(command, Learn) else super()._answer(command)

    def _ingest(self, command: Ingest) -> Event:
        outbox, kept = Outbox(Path(command.outbox), local_salt(store_folder())), _load()
        added, damaged = 0, []
        for path in outbox.pending():
            try:
                stored = outbox.read(path)
            except InputError:
                damaged.append(outbox.set_aside(path).name)
                continue
            labels = [c.label for c in stored.acceptance.classes]
            kept["accepted"].append({"id": stored.acceptance.id, "case": stored.case, "labels": labels})
            _save(kept)
            outbox.discard(path)
            added += 1
        return Ingested(command.id, added, 0, tuple(damaged))

    def _learn(self, command: Learn) -> Event:
        for step in range(1, self._steps + 1):
            if not self._goes_on.is_set():
                self._send(Stage(command.id, "paused", step))
                while not self._goes_on.wait(0.02):
                    self._check(command)
            self._send(Progress(command.id, "learning", step / self._steps, float(self._steps - step)))
            self._send(Stage(command.id, "learning", step, 1.0 / step))
            self._jobs[command.id].wait(self._pause)
            self._check(command)
        kept = _load()
        kept.update(rounds=kept["rounds"] + 1, used=kept["used"] if self._ends != "promoted" else "v1")
        kept["learned"] = len(kept["accepted"])
        _save(kept)
        report = data_home() / "report.html"
        report.write_text("<p>A report.</p>", encoding="utf-8")
        version = "v1" if self._ends in ("promoted", "unproven") else ""
        return RoundEnded(
            command.id, self._ends, "Liver is better, and nothing else is worse.", version, VERDICTS, str(report)
        )

    def _check(self, command: Learn) -> None:
        if self._jobs[command.id].is_set():
            raise Cancelled("The model in use stays as it is.")

    def _state(self, command_id: str) -> LearningState:
        kept = _load()
        cases = len({accepted["case"] for accepted in kept["accepted"]})
        corrections = len(kept["accepted"])
        version = VersionInfo(
            name="v1",
            title="Starter, round 1",
            parent="starter",
            state="promoted" if self._ends == "promoted" else "unproven",
            created="2026-11-21T10:00:00+00:00",
            is_current=kept["used"] == "v1",
            is_trial=self._ends != "promoted",
        )
        return LearningState(
            command_id,
            cases=cases,
            corrections=corrections,
            fresh=corrections - kept["learned"],
            train=cases,
            validation=0,
            holdout=0,
            versions=(version,) if kept["rounds"] and self._ends in ("promoted", "unproven") else (),
        )


def _file() -> Path:
    return data_home() / "fake_learner.json"


def _load() -> dict[str, Any]:
    empty = {"accepted": [], "learned": 0, "rounds": 0, "used": ""}
    return json.loads(_file().read_text(encoding="utf-8")) if _file().exists() else empty


def _save(kept: dict[str, Any]) -> None:
    _file().write_text(json.dumps(kept), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", action="append", default=[], metavar="TYPE=BEHAVIOUR")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--ends", default="promoted")
    parser.add_argument("--heartbeat", type=float, default=0.05)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds each step takes")
    parser.set_defaults(silent=False, speaks=1, once=None)
    return FakeLearner(parser.parse_args()).serve()


if __name__ == "__main__":
    sys.exit(main())
