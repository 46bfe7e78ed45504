"""Everything that differs between versions of Slicer: made for 5.12 and later, 5.10 as far as it goes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer.util

from ..core.errors import GenesisError
from ..core.i18n import _


def pip_ensure(requirements: list[str], constraints: Path, requester: str) -> None:
    """Installs what is missing, with Slicer's progress window; the person was asked before.

    Raises:
        subprocess.CalledProcessError: pip failed.
        RuntimeError: Slicer could not start it.
    """
    try:
        from slicer import packaging
    except ImportError:  # Slicer 5.10
        slicer.util.pip_install([*requirements, "--constraint", str(constraints)])
        return
    packaging.pip_ensure(
        requirements,
        constraints=str(constraints),
        prompt_install=False,
        prompt_restart=False,
        requester=requester,
    )


def install_torch(requirement: str) -> None:
    """Installs PyTorch through the PyTorch extension, which picks the build for this machine's GPU.

    ``requirement`` is a version specifier such as ``>=2.8``. The extension imports torch into Slicer when it is done.

    Raises:
        GenesisError: the extension is missing, or its function is not the one that we know.
    """
    try:
        import PyTorchUtils
    except ImportError:
        raise GenesisError(
            _("The extension PyTorch of Slicer is not installed."),
            _('Install "PyTorch" in the Extensions Manager, restart Slicer, then press Install again.'),
        ) from None
    install: Callable[..., Any] = PyTorchUtils.PyTorchUtilsLogic().installTorch
    wanted = {"askConfirmation": False, "torchVersionRequirement": requirement}
    if not set(wanted) <= set(inspect.signature(install).parameters):
        raise GenesisError(
            _("This version of the extension PyTorch is not known to GenesisSegment."),
            _("Update both extensions in the Extensions Manager, or install torch {version} by hand.").format(
                version=requirement
            ),
        )
    install(**wanted)


def register_sample_category(logic: Any, category: str) -> None:
    """Makes a section of Sample Data known, where this version of Slicer asks for it."""
    register = getattr(logic, "registerCustomSampleDataCategory", None)
    if register is not None:
        register(category=category, title=category)
