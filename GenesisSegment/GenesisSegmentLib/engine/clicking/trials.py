"""What prompts bring on CTs that the network never saw: a simulated user corrects, and every method answers in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import ndimage

from ...core.classes import class_table
from ...core.errors import InputError
from ...core.files import atomic_file
from ...core.geometry import Box, Geometry
from ...core.prompts import Prompt, drawn
from ...core.volume import Volume
from ..images.reading import read_volume
from ..labels import read_labels
from ..refine.draft import Clicks, Draft
from ..refine.refiner import Refiner
from .damage import Damage, damaged, dice
from .user import SimulatedUser, UserRecipe

MOST_PROMPTS = 10
COUNTS = (0, 1, 2, 3, 5, 10)
"""Numbers of prompts that tables tell of."""
_REACH = 48
"""Voxels around a click in which the size of a brush is looked for."""


@dataclass(frozen=True)
class Target:
    """A structure of a CT, and the proposals that it is corrected from; ``wanted`` is the Dice that is aimed at."""

    case: str
    index: int
    starts: tuple[Damage, ...]
    wanted: float

    @property
    def name(self) -> str:
        """The slug of the class."""
        return class_table()[self.index].slug


_ORGAN_STARTS: tuple[Damage, ...] = ("shifted", "eroded", "dilated", "cut", "leaked", "empty")
_LESION_STARTS: tuple[Damage, ...] = ("empty", "cut", "leaked")
TARGETS = (
    *(Target("cptac_pda/cptac_pda_C3N-00249", index, _ORGAN_STARTS, 0.90) for index in (6, 1, 2, 3, 8)),
    *(
        Target(case, 30, _LESION_STARTS, 0.75)
        for case in (
            "nsclc_radiomics/lung1_001",
            "nsclc_radiomics/lung1_002",
            "ibsi_lung/nsclc_crop_pat2",
            "ibsi_lung/nsclc_crop_pat3",
        )
    ),
)
"""None of these patients is trained on: one is held out, the others' licence forbids it."""


@dataclass(frozen=True)
class Trial:
    """One structure corrected by one method: Dice after 0, 1, 2 ... prompts, and the seconds that each answer took."""

    case: str
    target: str
    start: str
    method: str
    wanted: float
    dice: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def area(self) -> float:
        """Under the curve: the mean Dice after 1 prompt and more."""
        return float(np.mean(self.dice[1:]))

    @property
    def needed(self) -> int | None:
        """Prompts until the wanted Dice was there, or None."""
        return next((n for n, value in enumerate(self.dice) if value >= self.wanted), None)


class Method(Protocol):
    """Somebody or something that turns the newest of all prompts into another mask."""

    def corrected(self, mask: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray) -> np.ndarray:
        """The new mask, bool (i, j, k); ``truth`` is for what a person would judge by eye."""


class Answering:
    """The click network, or a classical method in its place."""

    def __init__(self, volume: Volume, clicks: Clicks) -> None:
        self._refiner = Refiner(volume, clicks)

    def corrected(self, mask: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray) -> np.ndarray:
        """See :class:`Method`."""
        change = self._refiner.answer(Draft.whole(mask), prompts)
        return _with(mask, change.box, change.mask)


class Previewing:
    """What is shown while one draws: geodesic distance."""

    def __init__(self, volume: Volume) -> None:
        self._refiner = Refiner(volume)

    def corrected(self, mask: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray) -> np.ndarray:
        """See :class:`Method`."""
        change = self._refiner.preview(Draft.whole(mask), prompts)
        return _with(mask, change.box, change.mask)


class SphereBrush:
    """Painting: each touch is a ball, as large as fits into the mistake that it corrects."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry

    def corrected(self, mask: np.ndarray, prompts: Sequence[Prompt], truth: np.ndarray) -> np.ndarray:
        """See :class:`Method`."""
        prompt = prompts[-1]
        place = np.rint(prompt.points[0]).astype(int)
        low, high = np.maximum(place - _REACH, 0), np.minimum(place + _REACH + 1, mask.shape)
        near = Box(tuple(low.tolist()), tuple(high.tolist()))
        wrong = (mask != truth)[near.slices]
        depth = ndimage.distance_transform_edt(np.pad(wrong, 1), sampling=self._geometry.spacing)[1:-1, 1:-1, 1:-1]
        radius = float(depth[tuple(place - low)]) - 0.5 * min(self._geometry.spacing)
        touch = Prompt("scribble", prompt.points, prompt.is_positive, max(0.0, radius))
        painted = mask.copy()
        painted[near.slices][drawn(touch, self._geometry, near)] = prompt.is_positive
        return painted


def run_trials(
    data: Path,
    out: Path,
    methods: Mapping[str, Callable[[Volume], Method]],
    recipe: UserRecipe,
    report: Callable[[str], None],
    targets: Sequence[Target] = TARGETS,
    most: int = MOST_PROMPTS,
) -> list[Trial]:
    """Every target from every start by every method; those whose result lies in ``out`` are not run again.

    Raises:
        InputError: a case is missing in ``data``, or does not know the structure.
    """
    trials = []
    for target in targets:
        scene: _Scene | None = None
        for start in target.starts:
            for name, make in methods.items():
                file = out / "trials" / f"{Path(target.case).name}-{target.name}-{start}-{name}.json".replace(" ", "_")
                if not file.is_file():
                    scene = scene or _Scene.of(data / target.case, target)
                    trial = _trial(scene, target, start, name, make(scene.volume), recipe, most)
                    _write(file, trial)
                    report(f"{trial.target} {start} {name}: " + " ".join(f"{d:.2f}" for d in trial.dice))
                trials.append(read_trial(file))
    return trials


def read_trial(file: Path) -> Trial:
    """A result that was written before."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return Trial(**{**found, "dice": tuple(found["dice"]), "seconds": tuple(found["seconds"])})


@dataclass(frozen=True, eq=False)
class _Scene:
    volume: Volume
    truth: np.ndarray

    @classmethod
    def of(cls, folder: Path, target: Target) -> _Scene:
        reference = read_labels(folder).segmentation
        if target.index not in reference.classes:
            raise InputError(f"{folder} was not looked through for {target.name}.", "Take another case.")
        return cls(read_volume(folder / "ct.nii.gz"), reference.mask(target.index).astype(bool))


def _trial(
    scene: _Scene, target: Target, start: Damage, name: str, method: Method, recipe: UserRecipe, most: int
) -> Trial:
    """One curve. Every method begins with the same proposal, and with the same user."""
    truth, spacing = scene.truth, scene.volume.geometry.spacing
    user = SimulatedUser(recipe, np.random.default_rng(5))
    mask = _damaged_in_place(truth, spacing, start)
    dices, seconds, prompts = [dice(mask, truth)], [], []
    for _ in range(most):
        prompt = user.prompt(mask, truth, spacing)
        if prompt is None:
            dices.append(dices[-1])
            continue
        prompts.append(prompt)
        begun = time.perf_counter()
        mask = method.corrected(mask, prompts, truth)
        seconds.append(round(time.perf_counter() - begun, 4))
        dices.append(dice(mask, truth))
    rounded = tuple(round(d, 4) for d in dices)
    return Trial(Path(target.case).name, target.name, start, name, target.wanted, rounded, tuple(seconds))


def _damaged_in_place(truth: np.ndarray, spacing: tuple[float, float, float], start: Damage) -> np.ndarray:
    """The proposal that a trial starts from; the same for everybody."""
    around = Box.around(truth)
    if around is None:
        raise InputError("A structure to be corrected is empty.", "Take another case.")
    box = around.grown(40, truth.shape)  # type: ignore[arg-type]
    mask = np.zeros_like(truth)
    mask[box.slices] = damaged(truth[box.slices], spacing, start, np.random.default_rng(3))
    return mask


def _with(mask: np.ndarray, box: Box, part: np.ndarray) -> np.ndarray:
    changed = mask.copy()
    changed[box.slices] = part
    return changed


def _write(file: Path, trial: Trial) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(asdict(trial)) + "\n", encoding="utf-8")
