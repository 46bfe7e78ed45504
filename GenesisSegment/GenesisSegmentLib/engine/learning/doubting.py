"""Cases that neither teach nor judge because their accepted masks do not lie where the CT says that they should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ...core.errors import InputError
from ...core.i18n import _, together
from ..inference.spec import ModelSpec
from .base import Base
from .material import LearningCase, Voxels, seen_by_model
from .plausibility import doubts

if TYPE_CHECKING:
    from ..store.records import ProvingRecord, Record, TrainingRecord


def doubt_of(record: TrainingRecord, case: LearningCase, pause: Callable[[], None] = lambda: None) -> str:
    """Why a case is left out, in a sentence for the person; "" where nothing speaks against it.

    ``pause`` is called before each mask and may wait, or raise to stop.
    """
    return _left_out(record, doubts(case.image, case.masks, case.geometry, record.confirmed, pause))


def doubted_cases(
    base: Base, records: Sequence[ProvingRecord], store: Voxels, pause: Callable[[float], None]
) -> dict[str, str]:
    """Of the cases that judge, those that are left out, with the sentence of :func:`doubt_of`.

    ``pause`` is told the share done before each case and each mask, and may wait, or raise to stop.
    """
    spec, found = ModelSpec.of(base.name, base.facts), {}
    for n, record in enumerate(records):
        here = partial(pause, n / len(records))
        here()
        with suppress(InputError):  # what the model cannot see is told of by the comparison
            image, masks, grid = seen_by_model(record, store, spec)[:3]
            if sentence := _left_out(record, doubts(image, masks, grid, record.confirmed, here)):
                found[record.case] = sentence
    return found


def _left_out(record: Record, found: Sequence[str]) -> str:
    if not found:
        return ""
    what = _("Case {case} was left out: {why} If it is right all the same, accept it once more.")
    return what.format(case=record.case[:12], why=together(*found))
