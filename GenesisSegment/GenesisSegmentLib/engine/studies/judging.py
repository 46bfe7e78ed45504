"""How well a trained network finds the organs of a CT that was kept out of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import InputError
from ..starter.cases import TrainingCase, held_out_cases, training_cases
from .crops import ORGANS, SPACING_MM, intensities, known_organs, organ_mask

_OVERLAP = 0.5


def open_cts(data: Path) -> list[TrainingCase]:
    """The openly licensed CTs, with and without labels of the organs, without the patients who judge.

    Raises:
        InputError: ``data`` is not a folder of cases, or none is there.
    """
    found = [case for case in training_cases(data) if case.ct is not None]
    if not found:
        raise InputError(f"{data} has no CT to learn from.", "Give the folder with the labelled CTs.")
    return found


def labelled_cts(data: Path) -> list[TrainingCase]:
    """Those of :func:`open_cts` in which some of the organs were looked for.

    Raises:
        InputError: ``data`` is not a folder of cases, or none is there.
    """
    return [case for case in open_cts(data) if known_organs(case)]


def judge(data: Path) -> TrainingCase:
    """The CT to measure on, at :data:`.crops.SPACING_MM`.

    Raises:
        InputError: it is not in ``data``.
    """
    cases = [case for case in held_out_cases(data, SPACING_MM) if case.ct is not None]
    if len(cases) != 1:
        raise InputError(f"{data} has {len(cases)} CTs to judge by, not one.", "Give the folder with all CTs.")
    return cases[0]


class StudyCases:
    """The CTs of a study, read when they are asked for first."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @cached_property
    def labelled(self) -> list[TrainingCase]:
        """Those to learn from; see :func:`labelled_cts`."""
        return labelled_cts(self._data)

    @cached_property
    def judge(self) -> TrainingCase:
        """The one to measure on; see :func:`judge`."""
        return judge(self._data)


@torch.no_grad()
def dice_by_organ(network: nn.Module, case: TrainingCase, sides: Sequence[int]) -> dict[str, float]:
    """Dice of the raw masks on the coarse grid, by name, of the organs that were drawn in ``case``.

    Windows of the crops' ``sides`` are laid over the CT.
    """
    logits = _logits(network, intensities(np.asarray(case.ct)), sides)
    channels, known = dict(zip(ORGANS, logits, strict=True)), known_organs(case)
    return {name: dice(channels[name] > 0, organ_mask(case.labels, name)) for name in known}


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    both = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(found & truth)) / both if both else 1.0


def mean_dice(by_organ: Mapping[str, float]) -> float:
    """The mean over the organs."""
    return float(np.mean(list(by_organ.values())))


def _logits(network: nn.Module, image: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    from monai.inferers.utils import sliding_window_inference

    def said(window: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(window.contiguous(memory_format=torch.channels_last_3d)).float()

    whole = torch.from_numpy(image)[None, None]
    logits = sliding_window_inference(whole, tuple(sides), 1, said, overlap=_OVERLAP, mode="gaussian")
    assert isinstance(logits, Tensor)
    return logits[0].detach().numpy()
