"""A person's folder as it is while cases are accepted, kept and learned from, and what must always be true of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.errors import GenesisError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.identity import local_salt
from GenesisSegmentLib.core.outbox import Outbox, StoredAcceptance
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.store import CaseStore

TRIED, PUT = "tried", "put"
OWN_LABEL = "structure of my own"


@dataclass
class World:
    """Outbox, case store and versions in ``folder``; ``ledger`` is what their users know that they did."""

    folder: Path
    splits: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where children print to."""
        return self.folder / "log.txt"

    @property
    def outbox(self) -> Outbox:
        """The outbox, as Slicer's process opens it."""
        return Outbox(self.folder / "outbox", local_salt(self.folder / "cases"))

    @property
    def versions(self) -> VersionStore:
        """The model versions."""
        return VersionStore(self.folder / "versions")

    def store(self) -> CaseStore:
        """The case store, opened."""
        return CaseStore.open(self.folder / "cases")

    def note(self, word: str, what: object) -> None:
        """Adds to the ledger; on disk when this returns."""
        line = json.dumps([word, what]) + "\n"
        handle = os.open(self.folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, line.encode())
        os.fsync(handle)
        os.close(handle)

    def noted(self, word: str) -> list:
        """What stands in the ledger under ``word``."""
        file = self.folder / "ledger"
        lines = file.read_text().splitlines() if file.exists() else []
        return [what for found, what in map(json.loads, lines) if found == word]

    def accept(self, numbers: range) -> None:
        """Accepts cases, as a person does."""
        for number in numbers:
            self.note(TRIED, number)
            self.outbox.put(acceptance(number))
            self.note(PUT, number)

    def next_numbers(self, count: int) -> range:
        """Acceptances that were not tried yet."""
        first = max(self.noted(TRIED), default=-1) + 1
        return range(first, first + count)

    def ingest(self) -> None:
        """Takes all that waits into the store."""
        with self.store() as store:
            report = store.ingest(self.outbox)
        if report.damaged:
            raise AssertionError(f"damaged in the outbox: {report.damaged}")


def acceptance(number: int) -> Acceptance:
    """The acceptance of this number: always the same. Two neighbours are of one patient."""
    chance = np.random.default_rng(number)
    shape = tuple(int(n) for n in chance.integers(8, 20, 3))
    voxels = np.asfortranarray(chance.integers(-1000, 1500, shape, dtype=np.int16))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0.0, -0.8, 0.6], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]) @ np.diag([0.7, 0.8, 2.5])
    matrix[:3, 3] = chance.normal(size=3)
    masks = [chance.random(shape) < share for share in (0.3, 0.35, 0.5)]
    masks[0][: shape[0] // 2] = False
    uid = f"1.2.826.0.{number}" if number % 3 else ""
    return Acceptance(
        id=f"{number:032x}",
        volume=Volume(voxels, Geometry(shape, matrix), Source(Path("made"), "made", series_uid=uid)),
        classes=(AcceptedClass(OWN_LABEL, masks[0], masks[1]), AcceptedClass("liver", masks[2])),
        patient=f"patient {number // 2}",
        model="starter",
        model_sha256="0" * 64,
        seconds=float(number),
        tools=("Paint",),
        accepted="2026-01-01T00:00:00+00:00",
    )


def problems(world: World, is_ingested: bool) -> Iterator[str]:
    """What is wrong; ``is_ingested``: nothing may wait in the outbox any more."""
    try:
        yield from _problems(world, is_ingested)
    except GenesisError as error:
        yield f"{type(error).__name__}: {error}"


def _problems(world: World, is_ingested: bool) -> Iterator[str]:
    waiting = [world.outbox.read(path) for path in world.outbox.pending()]
    with world.store() as store:
        report = store.verify()
        if not report.is_sound or report.foreign:
            yield f"verify: {report}"
        kept = Counter(a.id for case in store.cases() for a in store.case(case.case).acceptances)
        yield from _wrong_in_store(world, store, kept)
        splits = {case.patient: case.split for case in store.cases()}
    yield from _wrong_in_outbox(waiting)
    in_outbox = Counter(stored.acceptance.id for stored in waiting)
    tried = {f"{number:032x}" for number in world.noted(TRIED)}
    for name in [f"{number:032x}" for number in world.noted(PUT)]:
        if not in_outbox[name] and not kept[name]:
            yield f"{name} was accepted and is lost"
        if in_outbox[name] > 1 or kept[name] > 1:
            yield f"{name} is there {in_outbox[name]} times in the outbox, {kept[name]} times in the store"
        if is_ingested and (in_outbox[name] or kept[name] != 1):
            yield f"{name} is there {in_outbox[name]} + {kept[name]} times after all was ingested"
    if foreign := (set(in_outbox) | set(kept)) - tried:
        yield f"nobody accepted {sorted(foreign)}"
    if moved := {patient for patient, split in world.splits.items() if splits.get(patient) != split}:
        yield f"patients changed their split: {sorted(moved)}"
    world.splits.update(splits)


def _wrong_in_outbox(waiting: list[StoredAcceptance]) -> Iterator[str]:
    for stored in waiting:
        found, wanted = stored.acceptance, acceptance(int(stored.acceptance.id, 16))
        if not _is_same_ct(found.volume, wanted.volume):
            yield f"the CT of {found.id} in the outbox is another"
        for mine, own in zip(found.classes, wanted.classes, strict=True):
            pairs = [(mine.mask, own.mask), (mine.proposed, own.proposed)]
            if mine.label != own.label or not all(np.array_equal(a, b) for a, b in pairs):
                yield f"{own.label} of {found.id} in the outbox is another"


def _wrong_in_store(world: World, store: CaseStore, kept: Counter[str]) -> Iterator[str]:
    records = {r.case: r for r in (*store.training(), *store.proving("validation"), *store.proving("holdout"))}
    for name in kept:
        wanted = acceptance(int(name, 16))
        record = records[store.case_of(name).case]
        if not _is_same_ct(store.volume(record), wanted.volume):
            yield f"the CT of {name} in the store is another"
        for own in wanted.classes:
            changed = own.mask if own.proposed is None else own.mask != own.proposed
            if not np.array_equal(store.mask(record, own.label), own.mask):
                yield f"{own.label} of {name} in the store is another"
            if not np.array_equal(store.changed(record, own.label), changed):
                yield f"the changes of {own.label} of {name} in the store are others"


def _is_same_ct(one: Volume, other: Volume) -> bool:
    same_grid = np.array_equal(one.geometry.ijk_to_ras, other.geometry.ijk_to_ras)
    return same_grid and np.array_equal(one.voxels, other.voxels)
