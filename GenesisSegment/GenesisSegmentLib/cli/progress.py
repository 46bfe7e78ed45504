"""One bar for all cases of a run: stage, share of the whole, time left."""

from __future__ import annotations

import time

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..core.jobs import Job
from ..core.jobs import Progress as JobProgress
from .console import err, say

_WORDS = {"network": "segmenting"}
"""The stage is named after the neural network, which a person might take for the internet."""
_SHARE_TO_JUDGE_BY = 0.05
"""Of a case: from less, no time that is left can be told."""


class CaseBar:
    """Shows the progress of ``job``, which runs the cases one after the other, on stderr.

    Where stderr is no terminal, a line tells when a case begins.
    """

    def __init__(self, job: Job, cases: int) -> None:
        self._job, self._cases = job, cases
        self._number, self._name = 0, ""
        self._skipped = 0
        self._started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        left = TextColumn("{task.fields[left]}")
        hidden = not err.is_terminal
        self._bar = Progress(*columns, TimeElapsedColumn(), left, console=err, transient=True, disable=hidden)
        self._task = self._bar.add_task("starting", total=1.0, left="")

    def __enter__(self) -> CaseBar:
        self._bar.start()
        self._job.report_to(self._show)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, number: int, name: str) -> None:
        """The case with this number, from 0, starts."""
        self._number = number
        self._name = f"{number + 1}/{self._cases} {name}" if self._cases > 1 else name
        self._bar.update(self._task, description=f"{escape(self._name)}: reading", completed=number / self._cases)
        if self._bar.disable and self._cases > 1:
            say(self._name)

    def skip(self) -> None:
        """The case takes no time: it says nothing of how long the others take."""
        self._skipped += 1

    def _show(self, progress: JobProgress) -> None:
        done = self._number + progress.fraction
        left = ""
        if (worked := done - self._skipped) > _SHARE_TO_JUDGE_BY:
            seconds = (time.monotonic() - self._started) / worked * (self._cases - done)
            left = f"{seconds / 60:.0f} min left" if seconds > 90 else f"{seconds:.0f} s left"
        description = f"{escape(self._name)}: {_WORDS.get(progress.stage, progress.stage)}"
        self._bar.update(self._task, completed=done / self._cases, description=description, left=left)
