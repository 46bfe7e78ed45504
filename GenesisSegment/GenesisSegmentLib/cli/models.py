"""``genesis-segment models``: which models there are, what they allow, and the files of them on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..core.classes import class_table, structures
from ..core.errors import ConsentError
from ..engine.models.cache import State
from ..engine.models.catalogue import ModelEntry, ModelFacts
from ..engine.models.store import ModelStore
from . import prune, versions
from .consent import confirmed, consent_of_person, grid, job_with_bar, licence_rows, size_text

models_app = typer.Typer(
    help="List, download, import, check and remove models; see and switch what learning made. Nothing is downloaded "
    "before you agreed to its licence.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="Name of a model, as shown by `models list`.")]
AnyName = Annotated[str, typer.Argument(help="Name of a model, as shown by `models list` or `models versions`.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree in advance, for scripts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

_COLOURS: dict[State, str] = {
    "bundled": "green",
    "installed": "green",
    "missing": "dim",
    "damaged": "red",
    "unchecked": "yellow",
}


def open_store() -> ModelStore:
    """The store that all commands work on."""
    return ModelStore.of_this_person()


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show every model, whether it is installed, and what it may be used for."""
    store = open_store()
    if as_json:
        _print_json([_describe(store, entry) for entry in store.catalogue])
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("Model", "State", "Classes", "Use"):
        table.add_column(heading, no_wrap=True)
    for entry in store.catalogue:
        classes = str(len(entry.facts.offered) or "")
        table.add_row(entry.id, _coloured(store.status(entry.id)), classes, _use(entry))
    Console().print(table)
    _say("More about a model: genesis-segment models info NAME")


@models_app.command("info")
def info(name: AnyName, as_json: AsJson = False) -> None:
    """Show all that is known of a model: classes, preprocessing, licence, source."""
    store = open_store()
    if store.versions is not None and name in store.versions:
        version, current = store.versions[name], store.current_name()
        if as_json:
            _print_json(versions.describe(version, current))
        else:
            Console().print(grid(versions.info_rows(version, current) | _recipe_rows(version.facts)))
        return
    entry = store.catalogue[name]
    if as_json:
        _print_json(_describe(store, entry))
        return
    rows = {
        "Model": f"{entry.id}: {entry.title}",
        "Purpose": entry.purpose,
        "Note": entry.note or "",
        "State": store.status(name),
        **_recipe_rows(entry.facts),
        **licence_rows(entry.licence),
        "From": entry.source.url or "comes with GenesisSegment",
        "Page": entry.source.page or "",
        "Size": size_text(store.size_bytes(name)),
        "SHA-256": store.sha256(name) or "recorded when it is installed",
        "Cite": entry.citation,
    }
    Console().print(grid(rows))


@models_app.command("download")
def download(name: Name, yes: Yes = False, as_json: AsJson = False) -> None:
    """Download a model after showing its size and licence; a broken download goes on where it stopped."""
    store = open_store()
    with job_with_bar(f"Downloading {name}") as job:
        path = store.download(name, consent_of_person(yes), job)
    if as_json:
        _print_json(_state(store, name, path))
    _say(f"{name} is installed: {path}")


@models_app.command("import")
def import_file(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file, as downloaded from the page of the model.")],
    as_json: AsJson = False,
) -> None:
    """Install a model from a file, for machines without a network."""
    store = open_store()
    with job_with_bar(f"Importing {name}") as job:
        path = store.import_file(name, file, job)
    licence = store.catalogue[name].licence
    if as_json:
        _print_json(_state(store, name, path))
    _say(f"{name} is installed: {path}\nIts licence is {licence.name}: {licence.summary}")


@models_app.command("verify")
def verify(
    name: Annotated[str | None, typer.Argument(help="Name of a model; all that are installed by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read installed models in full and compare them with what was published or recorded."""
    store = open_store()
    names = [name] if name else [entry.id for entry in store.catalogue if store.status(entry.id) != "missing"]
    states = {each: store.verify(each) for each in names}
    if as_json:
        _print_json([{"id": each, "state": state, "sha256": store.sha256(each)} for each, state in states.items()])
    else:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for heading in ("Model", "State", "SHA-256"):
            table.add_column(heading, no_wrap=heading != "SHA-256", overflow="fold")
        for each, state in states.items():
            table.add_row(each, _coloured(state), store.sha256(each) or "not recorded")
        Console().print(table)
    for each, state in states.items():
        if state not in ("bundled", "installed"):
            store.path_of(each)  # raises, with the way to mend it


@models_app.command("remove")
def remove(name: Name, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a downloaded or imported model."""
    store = open_store()
    store.check_removable(name)
    question = f"Delete the files of {name} from {store.folder}?"
    if not yes and not confirmed(question, f"Nobody is here to confirm that {name} shall be deleted.", "Add --yes."):
        raise ConsentError(f"You did not agree to delete {name}.", "Nothing was deleted.")
    is_removed = store.remove(name)
    if as_json:
        _print_json({"id": name, "state": store.status(name), "removed": is_removed})
    _say(f"{name} is removed." if is_removed else f"{name} was not installed; there was nothing to remove.")


def _state(store: ModelStore, name: str, path: Path) -> dict[str, Any]:
    """What is told of a model that was installed, or was already."""
    return {"id": name, "state": store.status(name), "sha256": store.sha256(name), "path": str(path)}


def _describe(store: ModelStore, entry: ModelEntry) -> dict[str, Any]:
    """All facts of a model in plain types."""
    facts, licence, recipe = entry.facts, entry.licence, entry.facts.preprocessing
    return {
        "id": entry.id,
        "title": entry.title,
        "purpose": entry.purpose,
        "note": entry.note,
        "usable_for": entry.usable_for,
        "state": store.status(entry.id),
        "architecture": facts.architecture,
        "options": dict(facts.options),
        "classes": [class_table()[index].slug for index in facts.classes],
        "offered": [class_table()[index].slug for index in facts.offered],
        "preprocessing": vars(recipe),
        "licence": vars(licence),
        "source": {"url": entry.source.url, "page": entry.source.page, "file": entry.source.file},
        "size_bytes": store.size_bytes(entry.id),
        "sha256": store.sha256(entry.id),
        "citation": entry.citation,
    }


def _recipe_rows(facts: ModelFacts) -> dict[str, str]:
    """What a model draws, and from what."""
    recipe, table = facts.preprocessing, structures(facts.own)
    low, high = recipe.intensity_hu[0], recipe.intensity_hu[-1]
    return {
        "Network": facts.architecture,
        "Classes": ", ".join(table[index].slug for index in facts.offered),
        "Own structures": ", ".join(table[index].slug for index in facts.own_classes),
        "Grid": f"{_by(recipe.spacing_mm)} mm" if recipe.spacing_mm else "as scanned",
        "Intensity": f"{low:g} to {high:g} HU",
        "Window": f"{_by(recipe.window)} voxels" if recipe.window else "the whole scan",
    }


def _use(entry: ModelEntry) -> str:
    if not entry.licence.commercial_use:
        return "research only"
    return "any" if entry.licence.clinical_use else "not clinical"


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _coloured(state: State) -> str:
    return f"[{_COLOURS[state]}]{state}[/]"


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))


def _say(message: str) -> None:
    typer.echo(message, err=True)


versions.register(models_app)
prune.register(models_app)
