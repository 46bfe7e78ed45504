"""The crops that a run learns from and those that it is judged by: cut once, kept on disk, patients apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InputError
from ...core.files import atomic_file
from ...core.jobs import Job
from ..images.reading import CtInput, locate, read_input
from .crops import CropRule, draw_crops
from .levels import Preparation

VALIDATION_SHARE = 2 / 7
"""Of the patients: as the published folds 5-6 beside 0-4."""
_INDEX = "crops.json"


@dataclass(frozen=True)
class Scan:
    """A CT to learn from. Scans of one ``patient`` stay together; ``name`` is for people."""

    ct: CtInput
    name: str
    patient: str


class CropSet:
    """Crops of several scans under one running number; the files are read as needed."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._crops = [np.load(file, mmap_mode="r") for file in files]
        self._ends = np.cumsum([len(crops) for crops in self._crops])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, number: int) -> np.ndarray:
        """A crop as uint16 levels (X, Y, Z)."""
        scan = int(np.searchsorted(self._ends, number, side="right"))
        return np.array(self._crops[scan][number - self._ends[scan]])


@dataclass(frozen=True, eq=False)
class Material:
    """What a run learns from. ``notes`` are for the person; ``fingerprint`` changes with any voxel of any crop."""

    train: CropSet
    validation: CropSet
    scans: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class _Cut:
    """What is known of a scan that was cut: ``digest`` is that of its crops."""

    file: str
    crops: int
    digest: str
    refusal: str


def cut_crops(
    scans: Sequence[Scan], prepared: Preparation, network: str, rule: CropRule, seed: int, folder: Path, job: Job
) -> None:
    """Reads every scan and writes its crops to ``folder``; what is there already is kept.

    Which crops are drawn depends on the seed and the voxels alone. A scan that cannot be read is noted and passed over.

    Raises:
        InputError: a file is gone.
        OutputError: the crops cannot be written.
    """
    groups: dict[str, int] = {}  # patients as numbers: who they are stays off the disk
    known = {cut["file"]: cut for cut in _index(folder).get("cuts", [])}
    recipe = {"network": network, "rule": asdict(rule), "seed": seed, "grid": prepared.grid}
    cuts: list[dict[str, Any]] = []
    for number, scan in enumerate(scans):
        job.advance("reading", number / len(scans))
        located = locate(scan.ct)
        file = f"crops-{_key(located, recipe)}.npy"
        if file not in known or not (folder / file).is_file():
            known[file] = asdict(_cut(located, prepared, rule, seed, folder / file))
        group = groups.setdefault(scan.patient, len(groups))
        cuts.append(known[file] | {"name": scan.name, "group": group})
        with atomic_file(folder / _INDEX) as path:
            path.write_text(json.dumps({"recipe": recipe, "cuts": cuts}, indent=1), encoding="utf-8")


def load_material(folder: Path, seed: int, validation_share: float = VALIDATION_SHARE) -> Material:
    """The crops of ``folder``, patients divided by the seed; with a single patient there is no validation.

    Raises:
        InputError: there is no crop to learn from; says why.
    """
    unique: dict[str, dict[str, Any]] = {}
    notes = []
    for cut in _index(folder).get("cuts", []):
        if cut["refusal"] or not cut["crops"]:
            why = cut["refusal"] or "No window had little enough soft tissue."
            notes.append(f"{cut['name']} is left out. {why}")
        elif cut["digest"] in unique:
            notes.append(f"{cut['name']} is left out: it is the same CT as {unique[cut['digest']]['name']}.")
        else:
            unique[cut["digest"]] = cut
    cuts = list(unique.values())
    if not cuts:
        raise InputError(
            " ".join(["There is nothing to learn from.", *notes]),
            "Give CTs that are larger than a crop; for CTs without lungs, raise --tissue-limit, up to 1.",
        )
    # By its voxels, so that neither the order nor the names of the files decide who judges.
    patients = {group: min(c["digest"] for c in cuts if c["group"] == group) for group in {c["group"] for c in cuts}}
    judges = _judges(sorted(patients.values()), seed, validation_share)
    cuts.sort(key=lambda cut: str(cut["digest"]))
    train = [cut for cut in cuts if patients[cut["group"]] not in judges]
    validation = [cut for cut in cuts if patients[cut["group"]] in judges]
    if not validation:
        notes.append("All CTs are of one patient: nothing is left to judge by, so the last weights are kept.")
    return Material(
        CropSet([folder / cut["file"] for cut in train]),
        CropSet([folder / cut["file"] for cut in validation]),
        {"train": tuple(c["name"] for c in train), "validation": tuple(c["name"] for c in validation)},
        tuple(notes),
        hashlib.sha256(
            "".join([*(c["digest"] for c in train), "|", *(c["digest"] for c in validation)]).encode()
        ).hexdigest(),
    )


def _judges(patients: list[str], seed: int, share: float) -> set[str]:
    """The patients to judge by: at least one of several, never all."""
    count = min(len(patients) - 1, max(1, round(share * len(patients)))) if share > 0 else 0
    order = np.random.default_rng([seed, 1]).permutation(len(patients))
    return {patients[n] for n in order[:count]}


def _cut(located: CtInput, prepared: Preparation, rule: CropRule, seed: int, path: Path) -> _Cut:
    crops, refusal = np.empty((0, *rule.size), np.uint16), ""
    try:
        levels = prepared.levels(read_input(located))
        content = np.frombuffer(hashlib.sha256(levels.tobytes()).digest(), np.uint32)
        crops = draw_crops(levels, prepared.level_of(rule.soft_hu), rule, np.random.default_rng([seed, *content]))
    except InputError as error:
        refusal = error.what
    with atomic_file(path) as temporary:
        np.save(temporary, crops)
    digest = hashlib.sha256(crops.tobytes()).hexdigest()
    return _Cut(path.name, len(crops), digest, refusal)


def _key(located: CtInput, recipe: Mapping[str, Any]) -> str:
    """A name for the crops of these files, cut by this recipe."""
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in located.files]
    return hashlib.sha256(json.dumps([facts, recipe]).encode()).hexdigest()[:24]


def _index(folder: Path) -> dict[str, Any]:
    path = folder / _INDEX
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
