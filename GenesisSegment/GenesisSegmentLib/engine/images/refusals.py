"""Refusals that every file format shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import InputError


class LabelMapError(InputError):
    """A label map where a CT was expected: such a file often lies beside the CT that it belongs to."""


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system says while ``path`` is read into an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for what the operating system does not hand out."""
    return InputError(f"{path} could not be read: {error.strerror or error}.", "Check the file and its permissions.")


def truncated(path: Path) -> InputError:
    """The error for a file that ends too early."""
    return InputError(f"{path.name} is truncated: the file ends too early.", "Copy or export the file again.")


def damaged(path: Path, how: str = "") -> InputError:
    """The error for a file whose content contradicts its header or cannot be unpacked."""
    return InputError(f"{path.name} is damaged{': ' + how if how else ''}.", "Copy or export the file again.")


def not_a(kind: str, path: Path) -> InputError:
    """The error for a file whose content is not what its name says."""
    return InputError(f"{path.name} is not a {kind} file.", "Check that it is the right file, or export it again.")


def check_dimensions(shape: tuple[int, ...], path: Path) -> None:
    """Refuse an image that is not a volume.

    Raises:
        InputError: 2-D (a single slice included), or 4-D and more.
    """
    by = " x ".join(str(n) for n in shape)
    if len(shape) > 3:
        raise InputError(
            f"{path.name} is {len(shape)}-D ({by}): it holds several volumes, not one CT.",
            "Save one 3-D volume of it, for example one phase, to a file of its own.",
        )
    if len(shape) < 3 or min(shape) < 2:
        raise InputError(
            f"{path.name} is 2-D ({by}): a single slice, not a volume.", "Give a volume of several slices."
        )
