"""The figures of the README, as ratios within one run: what is used today against what is used here.

:func:`run` measures, :class:`Figure` is one row of the table.
"""

from .cases import run
from .figures import Figure, all_agree, plot_figures, write_json
from .setting import FULL, QUICK, Setting

__all__ = ["FULL", "QUICK", "Figure", "Setting", "all_agree", "plot_figures", "run", "write_json"]
