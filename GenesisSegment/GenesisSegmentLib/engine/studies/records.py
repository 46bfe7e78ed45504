"""Results that are kept, so that nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...core.errors import InputError
from ...core.files import atomic_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Result = TypeVar("Result", bound="DataclassInstance")


def check_steps(file: Path, found: int, asked: int) -> None:
    """Refuses to put results of trainings of different lengths into one table.

    Raises:
        InputError: the result in ``file`` is of another number of steps than is asked for.
    """
    if found != asked:
        raise InputError(
            f"{file} is the result of {found} steps, not of {asked}.", f"Add --steps {found}, or give another folder."
        )


def kept(file: Path, kind: type[Result], make: Callable[[], Result]) -> Result:
    """The result in ``file`` if it is there, else that of ``make``, which is written there whole.

    Results are flat dataclasses of plain values, lists and dictionaries.

    Raises:
        OutputError: it could not be written.
    """
    if not file.is_file():
        result = make()
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return kind(**json.loads(file.read_text(encoding="utf-8")))
