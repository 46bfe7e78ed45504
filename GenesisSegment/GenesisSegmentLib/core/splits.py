"""Which patients teach a model, and which only judge it: decided once for each patient, for ever."""

from __future__ import annotations

from .rounds import Split

_STRICTNESS: tuple[Split, ...] = ("train", "validation", "holdout")
_BLOCK = 5


def split_at(ordinal: int) -> Split:
    """The split of the patient who came as number ``ordinal`` (from 0): one fixed sequence of 3 : 1 : 1.

    Blocks of five patients, three of them train, one validation, one holdout. Not drawn by a hash, because with a few
    dozen patients chance would leave some stores without a holdout. The first patients are train, since without them
    there is nothing to judge, then the holdout begins to fill. The places of holdout and validation move by two from
    block to block, so that within 25 patients each of the five places has been each once: a rhythm of the clinic, such
    as five scans a week, does not put one kind of patient into the holdout.

    Raises:
        ValueError: ``ordinal`` is negative.
    """
    if ordinal < 0:
        raise ValueError(f"{ordinal} is no place in a sequence.")
    block, place = divmod(ordinal, _BLOCK)
    if place == (2 + 2 * block) % _BLOCK:
        return "holdout"
    if place == (4 + 2 * block) % _BLOCK:
        return "validation"
    return "train"


def strictest(*splits: Split) -> Split:
    """The one that keeps the most patients from training: holdout before validation before train."""
    return max(splits, key=_STRICTNESS.index)
