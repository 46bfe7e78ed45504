"""Who a scan belongs to, and the split that the patient got once and for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from ...core.rounds import Split
from ...core.splits import split_at, strictest
from .schema import patient_aliases, patients


@dataclass(frozen=True)
class Patient:
    """A row of the table of patients; ``same_as`` is the row of the same person that counts, if it is another one."""

    id: int
    hash: str
    split: Split
    same_as: int | None = None


def all_patients(connection: Connection) -> dict[int, Patient]:
    """Every patient by row, deleted scans or not."""
    columns = (patients.c.id, patients.c.hash, patients.c.split, patients.c.same_as)
    return {row.id: Patient(*row) for row in connection.execute(select(*columns))}


def person(known: Mapping[int, Patient], number: int) -> Patient:
    """The row that counts for the person of a row."""
    patient = known[number]
    while patient.same_as is not None:
        patient = known[patient.same_as]
    return patient


def patient_of(
    connection: Connection, keys: Sequence[str], scans: Iterable[int], moment: str, split: Split | None = None
) -> Patient:
    """The patient with the hashes ``keys``, who is also the one of the rows ``scans``, by scans that are known.

    The hashes are that of the patient and those by which scans of the patient are known; all are remembered.

    Whoever is new gets the next place in the sequence of splits, or ``split`` where another store has decided already.
    Where patients turn out to be one person, the strictest of their splits counts from now on. Scans that belong to a
    less strict one keep it, and are left out of everything: they may have taught a model already, so that they prove
    nothing, and must not teach one any more.
    """
    known = all_patients(connection)
    named = {key: number for key in keys for number in _named(connection, key)}
    people = {person(known, number).id: person(known, number) for number in (*scans, *named.values())}
    if not people:
        first = _new(connection, keys[0], moment, split)
        people, named = {first.id: first}, {keys[0]: first.id}
    strict = strictest(*(each.split for each in people.values()))
    one = next(each for each in people.values() if each.split == strict)
    for each in people.values():
        if each != one:
            connection.execute(update(patients).where(patients.c.id == each.id).values(same_as=one.id))
    for key in dict.fromkeys(keys):
        if key not in named:
            connection.execute(insert(patient_aliases).values(hash=key, patient_id=one.id))
    return one


def _named(connection: Connection, key: str) -> list[int]:
    """The row of the patient who is known by a hash, if there is one."""
    alias = select(patient_aliases.c.patient_id).where(patient_aliases.c.hash == key)
    return list(connection.scalars(select(patients.c.id).where(patients.c.hash == key).union(alias)))


def _new(connection: Connection, key: str, moment: str, split: Split | None) -> Patient:
    """A patient who comes with a split takes no place in the sequence."""
    ordinal = None
    if split is None:
        last = connection.scalar(select(func.max(patients.c.ordinal)))
        ordinal = 0 if last is None else last + 1
        split = split_at(ordinal)
    values = {"hash": key, "ordinal": ordinal, "split": split, "added": moment}
    number = connection.execute(insert(patients).values(values)).inserted_primary_key
    assert number is not None
    return Patient(number[0], key, split)
