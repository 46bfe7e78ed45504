"""Has the texts of the library translated by Slicer."""

from __future__ import annotations

import slicer.i18n

from ..core.i18n import set_translator


def install() -> None:
    """Every text that goes through :func:`..core.i18n._` is translated from now on."""
    # Not `slicer.i18n.tr`: it takes the file of its caller for the context, which would be core/i18n.py for all.
    set_translator(lambda context, text: slicer.i18n.translate(context, text))
