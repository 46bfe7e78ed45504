"""``genesis-segment learn``: a round of learning from accepted corrections, proven on cases that it never saw."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ..core.durations import in_seconds
from ..core.errors import Cancelled, GenesisError
from ..core.jobs import Job
from ..core.lease import Lease
from .cases import open_store
from .consent import job_with_bar
from .console import (
    UsageError,
    error_document,
    print_error,
    print_json,
    print_note,
    print_out,
    run_cancellable,
    say,
    short,
)
from .tables import plain_table

if TYPE_CHECKING:
    from ..core.rounds import RoundRecord
    from ..engine.learning.round import RoundRequest
    from ..engine.store import CaseStore

_STANDARD_BUDGET_S = 1800.0


class Part(str, Enum):
    """``--mode``."""

    head = "head"
    decoder = "decoder"
    all = "all"


def learn(
    base: Annotated[str, typer.Option(help="Model or version to start from.")] = "current",
    from_genesis: Annotated[
        bool, typer.Option("--from-genesis", help="Start from Models Genesis weights: for a new structure or site.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="With --from-genesis: a file that `pretrain` wrote.", show_default="installed")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Time to learn, such as 90s, 30m or 2h; judging comes on top.", show_default="30m")
    ] = "",
    steps: Annotated[int, typer.Option(min=0, help="Steps to learn.", show_default="as the budget allows")] = 0,
    mode: Annotated[Part, typer.Option(help="What learns; head takes seconds.")] = Part.all,
    rate: Annotated[float | None, typer.Option(min=1e-8, help="Learning rate.", show_default="by mode")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:0.")] = "auto",
    seed: Annotated[int, typer.Option(help="The same seed, cases and steps give the same model.")] = 7,
    replay: Annotated[bool, typer.Option("--replay/--no-replay", help="Show earlier cases again.")] = True,
    pseudo: Annotated[
        bool, typer.Option("--pseudo/--no-pseudo", help="Hold on to classes that nobody reviewed.")
    ] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Drop a round that was interrupted.")] = False,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of the case store.", show_default="yours", envvar="GENESIS_SEGMENT_STORE"),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="Database URL.", show_default="in the store", envvar="GENESIS_SEGMENT_DATABASE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Learn from accepted corrections, and prove the new model on cases that were never learned from.

    It becomes the current model only when it is proven better; where there are too few cases to tell, it stays a trial
    beside the current one. A round that was interrupted goes on. Several processes learn together with
    torchrun --nproc-per-node N -m GenesisSegmentLib.cli learn ...
    """
    if weights is not None and not from_genesis:
        raise UsageError("--weights was given without --from-genesis.", "Add it, or leave --weights out.")
    if from_genesis and base != "current":
        raise UsageError("Both --base and --from-genesis were given.", "Give one of them.")
    seconds = _seconds(budget) if budget else 0.0 if steps else _STANDARD_BUDGET_S
    asked = {
        "base": base,
        "is_from_genesis": from_genesis,
        "weights": str(weights.absolute()) if weights else "",
        "steps": steps,
        "budget_s": seconds,
        "mode": mode.value,
        "learning_rate": rate,
        "device": device,
        "seed": seed,
        "replay": replay,
        "pseudo": pseudo,
    }
    if os.environ.get("RANK", "0") != "0":
        _help()
        return
    with job_with_bar("Learning") as job:
        record = _run(asked, store, database, restart, job)
    if as_json:
        print_json(document(record))
    if record.state == "failed":
        error = GenesisError(record.reason, record.settings.get("remedy", ""))
        print_error(error)
        raise typer.Exit(int(record.settings.get("exit_code", GenesisError.exit_code)))
    _show(record, as_json)
    if record.state == "cancelled":
        raise typer.Exit(Cancelled.exit_code)


def _help() -> None:
    """Does the share of a process that torchrun started and that is not the first one: it tells nothing."""
    from ..engine.learning.team import Team

    team, job, lease = Team.of_torchrun(), Job(), Lease()

    def work() -> None:
        with team.met():
            team.help(job, lambda: lease.wait_until_free(job))

    run_cancellable(job, work)


def _run(asked: dict[str, Any], folder: Path | None, url: str | None, restart: bool, job: Job) -> RoundRecord:
    from ..engine.learning.round import RoundRequest, abandon
    from ..engine.learning.round_folder import RoundFolders

    if not restart and RoundFolders.of_this_person().unfinished() is not None:
        print_note("A round was interrupted and goes on as it was asked for; --restart drops it.")

    def work() -> RoundRecord:
        with open_store(folder, url) as store:
            if restart:
                abandon(store)
            return _learned(store, RoundRequest(**asked), job)

    try:
        return run_cancellable(job, work)
    except Cancelled:  # it did not end in time, and is left behind with this process
        with open_store(folder, url) as store:
            record = abandon(store)
        if record is None:
            raise
        return record


def _learned(store: CaseStore, request: RoundRequest, job: Job) -> RoundRecord:
    from ..engine.learning.round import run_round
    from ..engine.learning.team import Team
    from ..engine.learning.versions import VersionStore

    lease, team = Lease(), Team.of_torchrun()
    versions = VersionStore.of_this_person()
    with team.met():
        return run_round(store, versions, request, job, lambda: lease.wait_until_free(job), learn=team.learn)


def document(record: RoundRecord) -> dict[str, Any]:
    """A round in plain types."""
    failure = None
    if record.state == "failed":
        failure = error_document(GenesisError(record.reason, record.settings.get("remedy", "")))
        failure["code"] = record.settings.get("error", failure["code"])
    return {
        "round": record.id,
        "state": record.state,
        "reason": record.reason,
        "base": record.base,
        "version": record.version or None,
        "steps": record.steps,
        "cases": list(record.cases),
        "classes": [vars(verdict) for verdict in record.classes],
        "scores": [vars(score) for score in record.scores],
        "report": record.report or None,
        "settings": dict(record.settings),
        "error": failure,
    }


def _show(record: RoundRecord, as_json: bool) -> None:
    if record.classes and not as_json:
        table = plain_table("Class", "Patients", "Before", "After", "Verdict")
        for v in record.classes:
            before, after = (f"{v.before:.3f}", f"{v.after:.3f}") if v.patients else ("", "")
            table.add_row(escape(v.label), str(v.patients), before, after, v.verdict)
        print_out(table)
    say(f"{record.state.capitalize()}. {record.reason}")
    if record.state == "promoted":
        say(f"{record.version} is now the current model. Back: genesis-segment models rollback")
    elif record.state == "unproven":
        say(f"{record.version} is a trial. {_how_to_go_on(record.version)}")
    if record.report:
        say(f"  {short(record.report)}")


def _how_to_go_on(name: str) -> str:
    """What can be done with a trial: one that knows structures of one's own only cannot be the model in use."""
    from ..engine.learning.versions import VersionStore

    versions = VersionStore.of_this_person()
    if name in versions and not versions[name].is_offered:
        return (
            f"It knows structures of your own only. To draw them: genesis-segment segment CT --model {name}. "
            f"To learn it further: genesis-segment learn --base {name}"
        )
    return f"To use it: genesis-segment models use {name}"


def _seconds(text: str) -> float:
    try:
        seconds = in_seconds(text)
    except ValueError as error:
        raise UsageError(str(error), "Write 90s, 30m or 2h.") from error
    if not seconds:
        raise UsageError("Nothing is learned in no time.", "Write 90s, 30m or 2h.")
    return seconds
