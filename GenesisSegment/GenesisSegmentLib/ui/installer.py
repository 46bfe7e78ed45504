"""Installs what the engine needs into Slicer's Python, after asking once. The only place that runs pip."""

from __future__ import annotations

import importlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

import slicer

from ..core import setup_plan
from ..core.errors import ConsentError, GenesisError
from ..core.i18n import _
from ..core.setup_plan import InstallPlan
from ..core.workflow.ports import SetupReport
from .compat import install_torch, pip_ensure
from .install_errors import explained

_NAME = "GenesisSegment"


class Installer:
    """A :class:`..core.workflow.ports.SetupPort`; what is needed is decided by :mod:`..core.setup_plan`."""

    def check(self, runtime: str) -> SetupReport:
        """What the road still needs, from metadata alone."""
        return setup_plan.check(runtime)

    def install(self, runtime: str, report: Callable[[str], None]) -> SetupReport:
        """Asks, installs, checks again. Blocks, while Slicer's installation window is open.

        Raises:
            ConsentError: the person said no, or nobody is there to ask.
            NetworkError, ResourceError, GenesisError: it did not work; with what to do.
        """
        found = self.check(runtime)
        todo = setup_plan.plan(found)
        if not (todo.pip or todo.torch):
            return found
        if not self.agree(_("Set up GenesisSegment"), consent_text(found, todo)):
            raise ConsentError(_("Nothing was installed."), _("Press Install when you want to."))
        before = _kept_versions()
        needs_restart = False
        with _reported(report) as log:
            if todo.torch:
                report(_("Installing PyTorch"))
                needs_restart = _install_torch(todo.torch, log)
            if todo.pip:
                report(_("Installing packages"))
                _pip(todo.pip, log)
        importlib.invalidate_caches()
        _check_kept(before)
        return replace(self.check(runtime), needs_restart=needs_restart)

    def agree(self, title: str, text: str) -> bool:
        """Asks once. While Slicer is being tested nobody can agree to anything (its own dialog would say yes)."""
        if slicer.app.testingEnabled():
            return False
        return bool(slicer.util.confirmOkCancelDisplay(text, windowTitle=title))


def consent_text(found: SetupReport, todo: InstallPlan) -> str:
    """What the person agrees to: packages, sizes, licences, disk."""
    lines = [
        _("{requirement} ({size} MB, {licence}): {reason}").format(
            requirement=p.requirement, size=p.download_mb, licence=p.licence, reason=p.reason
        )
        for p in found.missing
    ]
    total = sum(package.download_mb for package in found.missing)
    words = [
        _("GenesisSegment needs these Python packages, with what they need themselves:"),
        "\n".join(f"- {line}" for line in lines),
        _("About {size} MB will be downloaded; {free} GB are free on the disk of Slicer.").format(
            size=total, free=f"{found.free_disk_gb:.0f}"
        ),
        _(
            "They come from the Python package index and become part of Slicer's Python. What Slicer itself uses "
            "(such as numpy and SimpleITK) stays as it is. Nothing else is sent or fetched."
        ),
    ]
    if todo.torch:
        words.append(_("PyTorch is installed by Slicer's extension PyTorch; this takes several minutes."))
    return "\n\n".join((*words, *found.warnings, _("Install them now?")))


def _install_torch(specifier: str, log: io.StringIO) -> bool:
    """Whether Slicer must be restarted: the extension imports torch at the end, which some systems refuse until then.

    Raises:
        GenesisError: it did not work.
    """
    try:
        install_torch(specifier)
    except ImportError:
        importlib.invalidate_caches()
        if setup_plan.installed_version("torch") is None:
            raise explained(log.getvalue()) from None
        return True
    except (CalledProcessError, OSError, RuntimeError) as error:
        raise explained(f"{log.getvalue()}\n{error}") from error
    return False


def _pip(requirements: tuple[str, ...], log: io.StringIO) -> None:
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(setup_plan.constraints_text(), encoding="utf-8")
        try:
            pip_ensure(list(requirements), constraints, _NAME)
        except (CalledProcessError, OSError, RuntimeError) as error:
            raise explained(f"{log.getvalue()}\n{error}") from error


def _kept_versions() -> dict[str, str | None]:
    return {name: setup_plan.installed_version(name) for name in setup_plan.KEPT}


def _check_kept(before: dict[str, str | None]) -> None:
    """What Slicer relies on must be as it was.

    Raises:
        GenesisError: something was replaced.
    """
    after = _kept_versions()
    replaced = [
        _("{name} {old} by {new}").format(name=name, old=old, new=after[name] or _("nothing"))
        for name, old in before.items()
        if old is not None and after[name] != old
    ]
    if replaced:
        raise GenesisError(
            _("The installation replaced packages that Slicer relies on: {what}.").format(what=", ".join(replaced)),
            _("Restart Slicer. If something does not work any more, install Slicer again and report this."),
        )


class _Reported(io.StringIO):
    """Keeps what is printed, passes it on, and reports the last line."""

    def __init__(self, report: Callable[[str], None], onward: object) -> None:
        super().__init__()
        self._report, self._onward = report, onward

    def write(self, text: str) -> int:
        if self._onward is not None:
            self._onward.write(text)  # type: ignore[attr-defined]
        if line := text.strip().rpartition("\n")[2]:
            self._report(line[:100])
        return super().write(text)


@contextmanager
def _reported(report: Callable[[str], None]) -> Iterator[io.StringIO]:
    """Slicer prints what pip says, and does not tell it to the caller in any other way."""
    log = _Reported(report, sys.stdout)
    with redirect_stdout(log):
        yield log
