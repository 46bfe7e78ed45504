"""``genesis-segment models versions|use|rollback``: what learning made, which model is in use, the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .consent import licence_rows
from .console import print_json, print_note, print_out, say
from .tables import plain_table

if TYPE_CHECKING:
    from ..engine.learning.versions import Version, VersionStore

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
STARTER = "starter"


def versions(as_json: AsJson = False) -> None:
    """Show the models that learning made on this machine and which one is in use."""
    store = _store()
    current, found = _name(store.current()), store.versions()
    if as_json:
        print_json({"current": current, "versions": [describe(v, current) for v in found]})
        return
    table = plain_table("Model", "From")
    for heading in ("State", "Made", "Cases", "", "What it is"):
        table.add_column(heading, no_wrap=heading != "What it is")
    table.add_row(STARTER, "", "comes with GenesisSegment", "", "", _mark(STARTER, current), "")
    for v in found:
        state = "trial" if v.is_trial else v.state
        table.add_row(
            v.name, v.parent, state, v.created[:16], str(len(v.cases)), _mark(v.name, current), escape(v.title)
        )
    print_out(table)


def use(
    name: Annotated[str, typer.Argument(help="A version, as shown by `models versions`, or starter.")],
    as_json: AsJson = False,
) -> None:
    """Make a model version the current one, which `segment` uses by default."""
    version = _store().use("" if name == STARTER else name)
    _tell(version, as_json)


def rollback(as_json: AsJson = False) -> None:
    """Go back to the model that was in use before."""
    _tell(_store().rollback(), as_json)


def register(models_app: typer.Typer) -> None:
    """Adds the commands to ``models``."""
    for command in (versions, use, rollback):
        models_app.command()(command)


def describe(version: Version, current: str) -> dict[str, Any]:
    """A version in plain types."""
    facts, licence = version.facts, version.licence
    return {
        "name": version.name,
        "title": version.title,
        "parent": version.parent,
        "base_model": version.base_model,
        "state": version.state,
        "current": version.name == current,
        "trial": version.is_trial,
        "architecture": facts.architecture,
        "offered": [version.labels[facts.classes.index(c)] for c in facts.offered],
        "own": list(facts.own),
        "licence": vars(licence) if licence else None,
        "note": version.note,
        "cases": list(version.cases),
        "round": version.round,
        "sha256": version.sha256,
        "created": version.created,
    }


def info_rows(version: Version, current: str) -> dict[str, str]:
    """What is known of a version, as captions and texts."""
    state = "trial" if version.is_trial else version.state
    return {
        "Model": f"{version.name}: {version.title}",
        "State": f"{state}, in use" if version.name == current else state,
        "Note": version.note,
        "From": version.parent,
        "Made": version.created[:16],
        "Cases": str(len(version.cases)),
        **(licence_rows(version.licence) if version.licence else {"Licence": "not known"}),
        "SHA-256": version.sha256,
    }


def _store() -> VersionStore:
    from ..engine.learning.versions import VersionStore

    return VersionStore.of_this_person()


def _tell(version: Version | None, as_json: bool) -> None:
    name = _name(version)
    if as_json:
        print_json({"current": name})
    if version is not None and version.is_trial:
        print_note(f"{name} is a trial: it is not proven to be better than the model that was in use before.")
    if version is not None and version.note:
        print_note(version.note)
    say(f"The current model is {name}.")


def _name(version: Version | None) -> str:
    return version.name if version else STARTER


def _mark(name: str, current: str) -> str:
    return "[green]in use[/]" if name == current else ""
