"""Acceptances as rows: what is written when one is added or imported, and read when one is exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone

from sqlalchemy import Connection, RowMapping, insert, select, update

from ...core.errors import InputError
from ...core.i18n import _
from ...core.identity import is_hash
from ...core.rounds import Split
from .patients import Patient, patient_of
from .records import Correction
from .schema import acceptances, cases, corrections, deleted_acceptances, patients

_COLUMNS = ("label", "mask", "changed", "voxels", "changed_voxels")
Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Entry:
    """An acceptance whose voxels are blobs. ``case`` and ``patient`` are hashes; ``spacing`` is in millimetres."""

    id: str
    case: str
    patient: str
    ct: str
    shape: Triple
    spacing: Spacing
    accepted: str
    model: str
    model_sha256: str
    seconds: float
    tools: tuple[str, ...]
    version: str
    corrections: tuple[Correction, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of what was accepted, whichever case and patient it was found to belong to."""
        said = asdict(replace(self, case="", patient="", corrections=tuple(sorted(self.corrections, key=_label))))
        for correction in said["corrections"]:
            del correction["times"]  # it is counted over all acceptances
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8")).hexdigest()

    @property
    def blobs(self) -> set[str]:
        """The names of the blobs that it needs."""
        return {self.ct, *(name for c in self.corrections for name in (c.mask, c.changed) if name)}


def instant() -> str:
    """This moment, UTC, ISO 8601 to the microsecond, so that texts sort as times do."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def as_instant(text: str) -> str:
    """A time in ISO 8601 in the form of :func:`instant`; "" where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def is_known(connection: Connection, acceptance: str) -> bool:
    """Whether an acceptance is there, or was and has been deleted."""
    tables = (acceptances, deleted_acceptances)
    return any(connection.scalar(select(t.c.id).where(t.c.id == acceptance)) is not None for t in tables)


def insert_entry(
    connection: Connection, entry: Entry, split: Split | None = None, scan_keys: Sequence[str] = ()
) -> Patient:
    """Writes the rows of an acceptance that is not known; the patient whom its case belongs to.

    A scan is known by its voxels and grid, else by its hash. Other voxels under the same hash (the scan cropped or
    resampled) are a case of their own, of the same patient. ``split`` is what another store gave to its patient;
    ``scan_keys`` are further hashes of the scan: see :func:`.voxels.scan_keys`.

    Raises:
        InputError: case or patient is no hash.
    """
    if not (is_hash(entry.case) and is_hash(entry.patient)):
        raise InputError(_("The names of case and patient are no hashes."), _("Accept the case again."))
    moment = instant()
    patient = find_patient(connection, entry, moment, split, scan_keys)
    found = connection.scalar(select(cases.c.id).where(cases.c.ct == entry.ct))
    if found is not None:
        case = found
        connection.execute(update(cases).where(cases.c.id == case).values(deleted=None))
    else:
        namesake = connection.scalar(select(cases.c.id).where(cases.c.id == entry.case))
        case = entry.case if namesake is None else hashlib.sha256(f"{entry.case}:{entry.ct}".encode()).hexdigest()
        connection.execute(
            insert(cases).values(
                id=case,
                patient_id=patient.id,
                ct=entry.ct,
                shape=json.dumps(entry.shape),
                spacing=json.dumps(entry.spacing),
                added=moment,
            )
        )
    number = connection.execute(
        insert(acceptances).values(
            id=entry.id,
            case_id=case,
            accepted=entry.accepted,
            received=moment,
            model=_model_column(entry),
            model_sha256=entry.model_sha256,
            seconds=entry.seconds,
            tools=json.dumps(entry.tools),
            version=entry.version,
            digest=entry.digest,
        )
    ).inserted_primary_key
    assert number is not None
    rows = [{"acceptance": number[0], **{name: getattr(c, name) for name in _COLUMNS}} for c in entry.corrections]
    connection.execute(insert(corrections), rows)
    return patient


def find_patient(
    connection: Connection, entry: Entry, moment: str, split: Split | None = None, scan_keys: Sequence[str] = ()
) -> Patient:
    """The patient of an acceptance, by hash or by a scan that is known; remembers both, and the ``scan_keys``."""
    scans = select(cases.c.patient_id).where((cases.c.ct == entry.ct) | (cases.c.id == entry.case))
    keys = (entry.patient, entry.case, *scan_keys)
    return patient_of(connection, keys, set(connection.scalars(scans)), moment, split)


def all_entries(connection: Connection, only: Collection[str] | None = None) -> tuple[tuple[Entry, str], ...]:
    """Every acceptance of the cases that are not deleted, or of ``only`` those, with the digest that was kept.

    In the order of arrival; ``case`` and ``patient`` are those that it was found to belong to.
    """
    rows = connection.execute(
        select(acceptances, cases.c.ct, cases.c.shape, cases.c.spacing, patients.c.hash)
        .select_from(acceptances.join(cases).join(patients))
        .order_by(acceptances.c.number)
    ).mappings()
    chosen = [row for row in rows if only is None or row["case_id"] in only]
    parts: dict[int, list[RowMapping]] = {row["number"]: [] for row in chosen}
    for part in connection.execute(select(corrections)).mappings():
        if part["acceptance"] in parts:
            parts[part["acceptance"]].append(part)
    return tuple((_entry(row, parts[row["number"]]), row["digest"]) for row in chosen)


def _entry(row: RowMapping, parts: list[RowMapping]) -> Entry:
    models = _models(row)
    found = []
    for part in parts:
        how = {**models.get(part["label"], models[""]), "accepted": row["accepted"]}
        found.append(Correction(**{name: part[name] for name in _COLUMNS}, **how))
    return Entry(
        id=row["id"],
        case=row["case_id"],
        patient=row["hash"],
        ct=row["ct"],
        shape=tuple(json.loads(row["shape"])),
        spacing=tuple(json.loads(row["spacing"])),
        accepted=row["accepted"],
        **models[""],
        seconds=row["seconds"],
        tools=tuple(json.loads(row["tools"])),
        version=row["version"],
        corrections=tuple(sorted(found, key=_label)),
    )


def _model_column(entry: Entry) -> str:
    """What stands in the column ``model``: a name, or JSON where models are by class, "" being the acceptance itself.

    The rows of corrections have no column for it.
    """
    models = {c.label: _model(c.model, c.model_sha256) for c in entry.corrections}
    own = _model(entry.model, entry.model_sha256)
    others = {label: model for label, model in models.items() if model != own}
    return json.dumps({"": own, **others}) if others or entry.model.startswith("{") else entry.model


def _models(row: RowMapping) -> dict[str, dict[str, str]]:
    """The models by class, as :func:`_model_column` wrote them."""
    column = row["model"]
    return json.loads(column) if column.startswith("{") else {"": _model(column, row["model_sha256"])}


def _model(name: str, sha256: str) -> dict[str, str]:
    return {"model": name, "model_sha256": sha256}


def _label(correction: Correction) -> str:
    return correction.label
