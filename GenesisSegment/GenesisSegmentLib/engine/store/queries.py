"""What the store tells: records for learning and judging, rows for people, and rounds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TypeVar

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from ...core.errors import InputError
from ...core.i18n import _
from ...core.rounds import RoundRecord, Split
from ...core.wire import MisfitError, build
from .entries import Entry, all_entries, as_instant, instant
from .patients import Patient, all_patients, person
from .records import AcceptanceSummary, CaseDetail, CaseSummary, Correction, ProvingRecord, StoreCounts, TrainingRecord
from .schema import acceptances, cases, rounds

AnyRecord = TypeVar("AnyRecord", TrainingRecord, ProvingRecord)


def records(connection: Connection, split: Split, kind: type[AnyRecord]) -> tuple[AnyRecord, ...]:
    """The cases of the patients of ``split``, in the order in which they came; see :func:`.patients.patient_of`."""
    known = all_patients(connection)
    found = []
    for case, entries in _cases(connection):
        patient, one = known[case["patient_id"]], person(known, case["patient_id"])
        if patient.split == one.split == split:
            latest = _latest(entries)
            found.append(kind(case["id"], one.hash, split, tuple(c.label for c in latest), case["ct"], latest))
    return tuple(found)


def summaries(connection: Connection) -> tuple[CaseSummary, ...]:
    """All cases, in the order in which they came."""
    known = all_patients(connection)
    return tuple(_summary(case, entries, known) for case, entries in _cases(connection))


def detail(connection: Connection, name: str) -> CaseDetail:
    """The case whose hash is, or alone begins with, ``name``.

    Raises:
        InputError: there is none, or several.
    """
    found = [(case, entries) for case, entries in _cases(connection) if name and case["id"].startswith(name)]
    if len(found) != 1:
        what = _('Several cases begin with "{name}".') if found else _('There is no case "{name}".')
        raise InputError(what.format(name=name), _("Run `genesis-segment cases list` to see all."))
    case, entries = found[0]
    summary = _summary(case, entries, all_patients(connection))
    return CaseDetail(summary, case["ct"], tuple(_described(entry) for entry in entries))


def case_of(connection: Connection, acceptance: str) -> CaseSummary:
    """The case that an acceptance belongs to.

    Raises:
        InputError: it is not in the store.
    """
    name = connection.scalar(select(acceptances.c.case_id).where(acceptances.c.id == acceptance))
    if name is None:
        raise InputError(_("The acceptance is not in the case store."), _("Look for a damaged file in the outbox."))
    return detail(connection, name).summary


def counts(connection: Connection) -> StoreCounts:
    """How much there is."""
    per_split: dict[Split, int] = {"train": 0, "validation": 0, "holdout": 0}
    corrections, known = 0, all_patients(connection)
    for case, entries in _cases(connection):
        per_split[known[case["patient_id"]].split] += 1
        corrections += len(entries)
    return StoreCounts(sum(per_split.values()), corrections, **per_split)


def save_round(connection: Connection, record: RoundRecord) -> None:
    """Writes a round, or replaces what was written of it before; what it had seen stays."""
    values = {"state": record.state, "started": record.started, "document": json.dumps(asdict(record))}
    if connection.scalar(select(rounds.c.id).where(rounds.c.id == record.id)) is not None:
        connection.execute(update(rounds).where(rounds.c.id == record.id).values(values))
        return
    started = instant() if record.state == "running" else as_instant(record.started)
    seen = connection.scalar(select(func.max(acceptances.c.number)).where(acceptances.c.received <= started))
    connection.execute(insert(rounds).values(id=record.id, seen=seen or 0, **values))


def all_rounds(connection: Connection) -> tuple[RoundRecord, ...]:
    """The rounds, in the order in which they were first saved.

    Raises:
        InputError: a row is damaged.
    """
    documents = connection.scalars(select(rounds.c.document).order_by(rounds.c.number))
    try:
        return tuple(build(RoundRecord, json.loads(document)) for document in documents)
    except (ValueError, MisfitError) as error:
        raise InputError(_("A round in the case store is damaged."), _("Run: genesis-segment cases verify")) from error


def fresh_since(connection: Connection, name: str | None) -> int:
    """How many acceptances arrived after a round began; all of them where ``name`` is None or not known."""
    seen = connection.scalar(select(rounds.c.seen).where(rounds.c.id == name)) if name else None
    return connection.scalar(select(func.count()).where(acceptances.c.number > (seen or 0))) or 0


def _cases(connection: Connection) -> list[tuple[RowMapping, list[Entry]]]:
    """The cases that are not deleted, and what was accepted of each, in the order of arrival."""
    rows = connection.execute(
        select(cases).where(cases.c.deleted.is_(None)).order_by(cases.c.added, cases.c.id)
    ).mappings()
    entries: dict[str, list[Entry]] = {}
    for entry, _digest in all_entries(connection):
        entries.setdefault(entry.case, []).append(entry)
    return [(row, entries[row["id"]]) for row in rows if row["id"] in entries]


def _latest(entries: list[Entry]) -> tuple[Correction, ...]:
    """The mask of each class that was accepted last; where two were at the same time, the one that came last.

    Only who accepts all the same once more confirms it: who accepts structure by structure hands over the earlier
    ones each time.
    """
    found: dict[str, tuple[Correction, frozenset[tuple[str, str]]]] = {}
    times: Counter[frozenset[tuple[str, str]]] = Counter()
    for entry in sorted(entries, key=lambda entry: as_instant(entry.accepted)):  # stable
        whole = frozenset((c.label, c.mask) for c in entry.corrections)
        found |= {c.label: (c, whole) for c in entry.corrections}
        times[whole] += 1
    return tuple(replace(c, times=times[whole]) for _label, (c, whole) in sorted(found.items()))


def _summary(case: RowMapping, entries: list[Entry], known: dict[int, Patient]) -> CaseSummary:
    latest, patient = _latest(entries), known[case["patient_id"]]
    one = person(known, patient.id)
    return CaseSummary(
        case=case["id"],
        patient=one.hash,
        split=patient.split,
        labels=tuple(c.label for c in latest),
        shape=entries[0].shape,
        spacing=entries[0].spacing,
        acceptances=len(entries),
        added=case["added"],
        accepted=max((entry.accepted for entry in entries), key=as_instant),
        is_left_out=patient.split != one.split,
    )


def _described(entry: Entry) -> AcceptanceSummary:
    return AcceptanceSummary(
        id=entry.id,
        accepted=entry.accepted,
        model=entry.model,
        model_sha256=entry.model_sha256,
        seconds=entry.seconds,
        tools=entry.tools,
        version=entry.version,
        changed_voxels={c.label: c.changed_voxels for c in entry.corrections},
        voxels={c.label: c.voxels for c in entry.corrections},
        models={c.label: c.model for c in entry.corrections},
    )
