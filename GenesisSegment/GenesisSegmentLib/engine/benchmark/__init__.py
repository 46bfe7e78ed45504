"""The figures of the README, as ratios within one run: what is used today against what is used here.

:func:`run` measures, :class:`Figure` is one row of the table.
"""

from .cases import run
from .figures import Curve, Figure, all_agree, plot_curves, plot_figures, write_json
from .setting import FULL, QUICK, Setting

__all__ = [
    "FULL",
    "QUICK",
    "Curve",
    "Figure",
    "Setting",
    "all_agree",
    "plot_curves",
    "plot_figures",
    "run",
    "write_json",
]
