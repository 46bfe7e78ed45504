"""Runs rounds: each in a process that is stopped, followed, and started again where it died half-way.

Whether the device is wanted is looked at between any two messages of that process and at least every ``LOOK_S``, and
the system stops the process wherever it is. So nothing that a round does, however long it takes in one piece, makes a
prediction wait; only a lock that others need is first let go of (:mod:`.brake`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...core.errors import Cancelled, GenesisError, ResourceError
from ...core.i18n import _, together
from ...core.jobs import Job
from ...core.learning_messages import Learn, Stage
from ...core.lease import LOOK_S, Lease
from ...core.protocol import EVENTS, IN_BETWEEN, Event, Message
from ...core.worker_process import Ended
from .brake import Brake
from .child import TRAINING, Child

LEARNING, WAITING, PAUSED, RESUMING = "learning", "waiting", "paused", "resuming"
"""States of :class:`.Stage`."""
_DEATHS = 3
_GRACE_S = 0.4
"""Who cancels gets an answer within 0.7 s; see :class:`...core.watchdog.Limits`."""


class Rounds:
    """Runs one round at a time. ``argv`` starts its process; ``is_in_the_way`` is explained in :mod:`.brake`."""

    def __init__(
        self,
        argv: tuple[str, ...] = TRAINING,
        lease: Lease | None = None,
        is_in_the_way: Callable[[], bool] = lambda: False,
        on_abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self._argv, self._lease = argv, lease or Lease()
        self._is_in_the_way, self._on_abandoned = is_in_the_way, on_abandoned
        self._is_paused = self._is_leaving = False

    def pause(self, is_paused: bool) -> None:
        """Stops the round that runs, or lets it go on; from any thread."""
        self._is_paused = is_paused

    def leave(self) -> None:
        """This process ends: a round that is broken off from now on is not cancelled, but left to be gone on with."""
        self._is_leaving = True

    def run(self, command: Learn, job: Job, send: Callable[[Event], None]) -> Event:
        """The final event of a round; progress and stages go to ``send``.

        Raises:
            Cancelled: the person cancelled it, or this process ends.
            ResourceError: its process was ended again and again, probably because the memory ran out.
            GenesisError: its process cannot be started, or dies again and again.
        """
        self._is_paused, steps = False, 0
        for death in range(1, _DEATHS + 1):
            run = _Run(self._started(command), command, send, self._is_in_the_way)
            event = self._follow(run, job)
            if event is not None:
                return event
            ended = run.child.wait()
            job.check()
            if death == _DEATHS or run.step <= steps:
                break
            steps = run.step
            send(Stage(command.id, RESUMING, steps))
        raise _lost(ended, max(steps, run.step))

    def _started(self, command: Learn) -> Child:
        try:
            return Child(self._argv, command)
        except OSError as error:
            what = _("The process that learns could not be started: {reason}").format(reason=error)
            raise GenesisError(what, _("Check the set-up of GenesisSegment.")) from error

    def _follow(self, run: _Run, job: Job) -> Event | None:
        """The last word of a process; None where it died without one."""
        try:
            while True:
                if job.is_cancelled:
                    self._break_off(run)
                run.obey(self._wanted())
                message = run.child.next(LOOK_S)
                if message is not None and (event := run.hear(message)) is not None:
                    run.child.leave()
                    run.child.wait(_GRACE_S)
                    return event
        except EOFError:
            return None
        finally:
            run.brake.end()

    def _wanted(self) -> str:
        if self._is_paused:
            return PAUSED
        return WAITING if self._lease.is_taken() else LEARNING

    def _break_off(self, run: _Run) -> None:
        """Asks first, then ends it.

        Raises:
            Cancelled: always.
        """
        run.brake.release()
        if self._is_leaving:
            run.child.leave()
        else:
            run.child.cancel(run.command.id)
        is_over = run.child.wait(_GRACE_S) is not None
        run.brake.end()
        if not is_over and not self._is_leaving:
            self._on_abandoned()
        raise Cancelled(_("The model in use stays as it is."))


class _Run:
    """A process and what is known of it."""

    def __init__(
        self, child: Child, command: Learn, send: Callable[[Event], None], is_in_the_way: Callable[[], bool]
    ) -> None:
        self.child, self.command, self._send = child, command, send
        self.brake = Brake(child.pid, is_in_the_way)
        self.step = 0
        self._state = LEARNING

    def obey(self, state: str) -> None:
        """Stops it or lets it go on, and says so; to be called again and again."""
        if state == LEARNING:
            self.brake.release()
        else:
            self.brake.pull()
        if state == self._state:
            return
        self._state = state
        self._send(Stage(self.command.id, state, self.step))

    def hear(self, message: Message) -> Event | None:
        """Passes on what it says; its last word is returned."""
        if message.id != self.command.id or message.type not in EVENTS:
            return None
        if isinstance(message, Stage):
            self.step = max(self.step, message.step)
            message = replace(message, state=self._state)  # it may have been said before it was stopped
        if not isinstance(message, IN_BETWEEN):
            return message  # type: ignore[return-value]
        self._send(message)
        return None


def _lost(ended: Ended | None, steps: int) -> GenesisError:
    kept = (
        _("What was learned so far is kept: the next round goes on from there.") if steps else _("Nothing was changed.")
    )
    if ended is not None and ended.is_out_of_memory:
        return ResourceError(
            _("The process that learns was ended, probably because the memory ran out."),
            _("Close other programs, or learn the head only; then try again. {kept}").format(kept=kept),
        )
    said = _("Its last words: {words}").format(words=ended.words) if ended is not None and ended.words else ""
    code = ended.code if ended is not None else None
    what = _("The process that learns ended unexpectedly (exit code {code}).").format(code=str(code))
    return GenesisError(
        together(what, said),
        _("Try again. {kept}").format(kept=kept),
    )
