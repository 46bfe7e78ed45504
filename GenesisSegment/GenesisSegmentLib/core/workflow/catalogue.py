"""The models as the catalogue names them: what the panel shows until the worker has said what is really there."""

from __future__ import annotations

import json
from functools import cache

from ..reports import ModelInfo
from ..resources import resource


@cache
def catalogue_models() -> tuple[ModelInfo, ...]:
    """The models that segment. Those that come with GenesisSegment are "bundled", the others "unchecked".

    Raises:
        GenesisError: the installation is incomplete.
    """
    document = json.loads(resource("Models/catalogue.json").read_text(encoding="utf-8"))
    licences = document["licences"]
    entries = (entry for entry in document["entries"] if entry["usable_for"] == "segmentation")
    return tuple(_info(entry, licences[entry["licence"]]) for entry in entries)


def model_of_file(name: str) -> str | None:
    """The id of the model whose published file has this name."""
    document = json.loads(resource("Models/catalogue.json").read_text(encoding="utf-8"))
    return next((e["id"] for e in document["entries"] if e["source"]["file"] == name), None)


def _info(entry: dict, licence: dict) -> ModelInfo:
    source = entry["source"]
    return ModelInfo(
        id=entry["id"],
        title=entry["title"],
        purpose=entry["purpose"],
        note=entry["note"] or "",
        state="unchecked" if source["url"] else "bundled",
        usable_for=entry["usable_for"],
        offered=tuple(entry["offered"]),
        is_onnx=source["file"].endswith(".onnx"),
        size_bytes=source["size_bytes"],
        licence=licence["name"],
        licence_url=licence["url"],
        licence_summary=licence["summary"],
        commercial_use=licence["commercial_use"],
        clinical_use=licence["clinical_use"],
        url=source["url"],
        page=source["page"],
        citation=entry["citation"],
    )
