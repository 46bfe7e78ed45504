"""Refusals that every file format shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import InputError
from ...core.i18n import _


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
    return InputError(
        _("{path} could not be read: {reason}.").format(path=path, reason=error.strerror or error),
        _("Check the file and its permissions."),
    )


def truncated(path: Path) -> InputError:
    """The error for a file that ends too early."""
    return InputError(
        _("{file} is truncated: the file ends too early.").format(file=path.name), _("Copy or export the file again.")
    )


def damaged(path: Path, how: str = "") -> InputError:
    """The error for a file whose content contradicts its header or cannot be unpacked."""
    what = _("{file} is damaged: {how}.").format(file=path.name, how=how) if how else ""
    return InputError(what or _("{file} is damaged.").format(file=path.name), _("Copy or export the file again."))


def not_a(kind: str, path: Path) -> InputError:
    """The error for a file whose content is not what its name says."""
    return InputError(
        _("{file} is not a {kind} file.").format(file=path.name, kind=kind),
        _("Check that it is the right file, or export it again."),
    )


def check_dimensions(shape: tuple[int, ...], path: Path) -> None:
    """Refuse an image that is not a volume.

    Raises:
        InputError: 2-D (a single slice included), or 4-D and more.
    """
    by = " x ".join(str(n) for n in shape)
    if len(shape) > 3:
        raise InputError(
            _("{file} is {dimensions}-D ({by}): it holds several volumes, not one CT.").format(
                file=path.name, dimensions=len(shape), by=by
            ),
            _("Save one 3-D volume of it, for example one phase, to a file of its own."),
        )
    if len(shape) < 3 or min(shape) < 2:
        raise InputError(
            _("{file} is 2-D ({by}): a single slice, not a volume.").format(file=path.name, by=by),
            _("Give a volume of several slices."),
        )
