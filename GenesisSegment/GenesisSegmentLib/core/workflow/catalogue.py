"""The models as the catalogue names them: what the panel shows until the worker has said what is really there."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..i18n import _
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


def learned_models(folder: Path) -> tuple[ModelInfo, ...]:
    """The versions that learning made, newest first; before them the one in use, as "current".

    ``folder`` is theirs. What cannot be read is left out: the worker says what is wrong with it.
    """
    found = {path.parent.name: _version_info(path) for path in folder.glob("v*/version.json")}
    infos = {name: info for name, info in found.items() if info is not None}
    names = sorted(infos, key=lambda name: int(name[1:]), reverse=True)
    in_use = _read(folder / "current.json").get("version", "")
    current = (
        replace(infos[in_use], id="current", title=_("Current model ({name})").format(name=in_use))
        if in_use in infos
        else None
    )
    return (*((current,) if current else ()), *(infos[name] for name in names))


def _version_info(path: Path) -> ModelInfo | None:
    """What ``version.json`` says; None where it is damaged, or where the version is not to be used."""
    version, name = _read(path), path.parent.name
    try:
        licence = version["licence"] or {}
        if not name[1:].isdecimal() or version["state"] not in ("promoted", "unproven"):
            return None
        info = ModelInfo(
            id=name,
            title=f"{name}: {version['title']}",
            purpose=_("Learned from the corrections of this machine, from {model}.").format(model=version["parent"]),
            note=version["note"],
            state="installed" if (path.parent / version["file"]).is_file() else "missing",
            usable_for="segmentation",
            offered=tuple(version["facts"]["offered"]),
            is_onnx=version["file"].endswith(".onnx"),
            size_bytes=None,
            licence=licence.get("name", "not known"),
            licence_url=licence.get("url"),
            licence_summary=licence.get("summary", ""),
            commercial_use=licence.get("commercial_use"),
            clinical_use=licence.get("clinical_use"),
            url=None,
            page=None,
            citation="",
            own=tuple(version.get("labels", ())[len(version["facts"].get("classes", ())) :]),
        )
    except (KeyError, TypeError, AttributeError):
        return None
    return info if info.drawn else None


def _read(path: Path) -> dict:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


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
