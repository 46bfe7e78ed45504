"""The catalogue: every model that GenesisSegment knows by name, read from ``Resources/Models/catalogue.json``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...core.classes import FIRST_OWN
from ...core.errors import ModelError
from ...core.i18n import _
from ...core.resources import resource
from .offer import Licence, RemoteFile

Numbers = tuple[float, float, float]
PublishedCleaning = Literal["published", "published_abdomenatlas"]
"""The post-processing of a release: that of the Universal Model, or that of AbdomenAtlas and SuPreM."""


@dataclass(frozen=True)
class Preprocessing:
    """How a CT is prepared for a network.

    ``spacing_mm`` None: the native grid. ``intensity_hu`` are the Hounsfield units that become ``intensity_values``,
    linear in between and clipped beyond. ``window`` None: the whole scan in one pass. ``overlap`` is the published
    share of a window that its neighbour covers again.
    """

    orientation: str | None
    spacing_mm: Numbers | None
    intensity_hu: tuple[float, ...]
    window: tuple[int, int, int] | None
    overlap: float | None
    intensity_values: tuple[float, ...] = (0.0, 1.0)


@dataclass(frozen=True)
class ModelFacts:
    """What inference must know of a model.

    ``architecture`` and ``options`` are for ``engine.networks.build``. ``classes`` is the universal class index of each
    output channel, in channel order; ``offered`` are those that the model was trained to find, ascending. ``own`` are
    the names of the channels behind these: structures that a person taught, which the class table lacks.
    ``published_cleaning`` is the post-processing of the release that the model comes from.
    """

    architecture: str
    options: Mapping[str, Any]
    classes: tuple[int, ...]
    offered: tuple[int, ...]
    preprocessing: Preprocessing
    published_cleaning: PublishedCleaning = "published"
    own: tuple[str, ...] = ()

    @property
    def own_classes(self) -> tuple[int, ...]:
        """The class indices of ``own``: 33, 34, ..."""
        return tuple(range(FIRST_OWN, FIRST_OWN + len(self.own)))

    @property
    def drawn(self) -> tuple[int, ...]:
        """All that the model can draw: the classes that it offers, and the structures of ``own``."""
        return (*self.offered, *self.own_classes)


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue. ``usable_for`` "initialisation": weights to train from, nothing to segment with."""

    id: str
    title: str
    purpose: str
    usable_for: Literal["segmentation", "initialisation"]
    facts: ModelFacts
    licence: Licence
    source: RemoteFile
    citation: str
    note: str | None

    @property
    def is_bundled(self) -> bool:
        """Whether the file comes with GenesisSegment."""
        return self.source.url is None


class Catalogue:
    """Entries by id, in the order of the file."""

    def __init__(self, entries: Iterator[ModelEntry] | list[ModelEntry]) -> None:
        self._entries = {entry.id: entry for entry in entries}

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> ModelEntry:
        """The entry called ``name``.

        Raises:
            ModelError: there is none; the remedy lists the names.
        """
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=1)
            choose = _("Did you mean {name}? Choose from: {names}.") if close else _("Choose from: {names}.")
            raise ModelError(
                _('There is no model "{name}".').format(name=name),
                choose.format(name="".join(close), names=", ".join(self._entries)),
            )
        return self._entries[name]

    def by_file(self, file: str) -> ModelEntry | None:
        """The entry whose file has this name."""
        return next((entry for entry in self if entry.source.file == file), None)

    def default_for(self, architecture: str) -> ModelEntry | None:
        """The first entry with this architecture: it says how a file of unknown origin is used."""
        return next((entry for entry in self if entry.facts.architecture == architecture), None)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Reads and checks a catalogue, by default the one in ``Resources``.

    Raises:
        ModelError: it is missing, not JSON, or does not follow its schema; says where and why.
    """
    path = path or resource("Models/catalogue.json")
    document = _read_json(path)
    _validate(document, path)
    _check_references(document, path)
    licences = {key: Licence(**value) for key, value in document["licences"].items()}
    return Catalogue([_entry(value, licences) for value in document["entries"]])


def read_metadata(path: Path) -> ModelFacts:
    """The facts in the JSON that lies beside a model in ONNX form.

    Raises:
        ModelError: it is missing, not JSON, or does not follow the schema of the catalogue.
    """
    document = _read_json(path)
    _validate(document, path, "metadata")
    return facts_of(document)


def facts_document(facts: ModelFacts) -> dict[str, Any]:
    """The facts as they are written beside a model in ONNX form; :func:`facts_of` reads them back."""
    return asdict(facts) | {"options": dict(facts.options)}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror),
            _("Put it back, or install again."),
        ) from error
    except ValueError as error:
        raise ModelError(
            _("{path} is not valid JSON: {reason}.").format(path=path, reason=error), _("Correct it, or install again.")
        ) from error


def _validate(document: Any, path: Path, definition: str | None = None) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = _read_json(resource("Models/catalogue.schema.json"))
    if definition:
        schema = {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    error = best_match(Draft202012Validator(schema).iter_errors(document))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path) or "its top level"
        raise _invalid(path, where, error.message)


def _check_references(document: Any, path: Path) -> None:
    """What a schema cannot say: unique names, known licences, offered classes that there are."""
    entries = document["entries"]
    for field, values in (("id", [e["id"] for e in entries]), ("file", [e["source"]["file"] for e in entries])):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise _invalid(path, "entries", f"the {field} {twice[0]} occurs twice")
    for entry in entries:
        if entry["licence"] not in document["licences"]:
            raise _invalid(path, f"entry {entry['id']}", f"there is no licence {entry['licence']!r}")
        if not set(entry["offered"]) <= set(entry["classes"]):
            raise _invalid(path, f"entry {entry['id']}", "it offers classes that it does not have")


def _invalid(path: Path, where: str, why: str) -> ModelError:
    return ModelError(
        _("{path} is not valid at {where}: {why}.").format(path=path, where=where, why=why),
        _("Correct it, or install GenesisSegment again."),
    )


def _entry(value: dict[str, Any], licences: Mapping[str, Licence]) -> ModelEntry:
    return ModelEntry(
        id=value["id"],
        title=value["title"],
        purpose=value["purpose"],
        usable_for=value["usable_for"],
        facts=facts_of(value),
        licence=licences[value["licence"]],
        source=RemoteFile(**value["source"], sha256=value["sha256"]),
        citation=value["citation"],
        note=value["note"],
    )


def facts_of(value: Mapping[str, Any]) -> ModelFacts:
    """The facts in a valid document: an entry of the catalogue, or what lies beside a model in ONNX form."""
    recipe = value["preprocessing"]
    return ModelFacts(
        architecture=value["architecture"],
        options=value.get("options", {}),
        classes=tuple(value["classes"]),
        offered=tuple(value["offered"]),
        preprocessing=Preprocessing(
            orientation=recipe["orientation"],
            spacing_mm=tuple(recipe["spacing_mm"]) if recipe["spacing_mm"] else None,  # type: ignore[arg-type]
            intensity_hu=tuple(recipe["intensity_hu"]),
            intensity_values=tuple(recipe.get("intensity_values", (0.0, 1.0))),
            window=tuple(recipe["window"]) if recipe["window"] else None,  # type: ignore[arg-type]
            overlap=recipe["overlap"],
        ),
        published_cleaning=value.get("published_cleaning", "published"),
        own=tuple(value.get("own", ())),
    )
