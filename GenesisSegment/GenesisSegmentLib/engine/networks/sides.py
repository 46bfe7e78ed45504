"""The window sizes a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.errors import InputError
from ...core.i18n import _


def check_sides(image: Tensor, multiples: int | tuple[int, int, int]) -> None:
    """Refuses a window (B, 1, X, Y, Z) whose sides are not multiples of what the network halves, axis by axis.

    A window that shrinks to a single voxel is refused too: its statistics are undefined, and with them every
    normalisation at the bottleneck. Nothing is checked while a graph is traced for export.

    Raises:
        InputError: the window does not fit.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return
    x, y, z = (multiples,) * 3 if isinstance(multiples, int) else multiples
    sides = tuple(image.shape[2:])
    fits = len(sides) == 3 and all(s > 0 and s % m == 0 for s, m in zip(sides, (x, y, z), strict=True))
    if not fits or sides == (x, y, z):
        if x == y == z:
            remedy = _("Its three sides must be multiples of {x}, and larger than {x} x {y} x {z} together.")
        else:
            remedy = _(
                "Its three sides must be multiples of {x}, {y} and {z}, and larger than {x} x {y} x {z} together."
            )
        raise InputError(
            _("A window of {sides} voxels does not fit this network.").format(sides=" x ".join(map(str, sides))),
            remedy.format(x=x, y=y, z=z),
        )
