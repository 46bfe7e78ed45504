"""Draws what is learned next: crops around corrected voxels, lightly varied, never mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import LearningError
from ...core.i18n import _
from .channels import Channels
from .material import LearningCase

Sides = tuple[int, int, int]
_MOST_PLACES = 50_000
"""Of a large mask every n-th voxel is a centre: more would only take memory."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One crop to learn from: ``image`` float32 (X, Y, Z), ``truth`` bool (n, X, Y, Z) of ``channels``.

    The first ``reviewed`` of the channels are a person's, the others the parent's. ``changed`` bool (X, Y, Z) is where
    anything was corrected.
    """

    case: str
    image: np.ndarray
    channels: tuple[int, ...]
    truth: np.ndarray
    changed: np.ndarray
    reviewed: int


@dataclass(frozen=True)
class SamplingRecipe:
    """Where crops are centred, and how much they are varied.

    ``changed_share`` of the crops lie around a corrected voxel, ``inside_share`` around a voxel of a reviewed class,
    the rest anywhere. ``crop`` None takes the whole scan. ``most`` reviewed classes are taken of a crop, those that are
    in it first. ``replay_share`` of the crops are of cases that are shown again. Angles in degrees.
    """

    crop: Sides | None
    changed_share: float = 0.5
    inside_share: float = 0.3
    replay_share: float = 0.5
    most: int = 8
    is_varied: bool = True
    turn_degrees: float = 8.0
    scale: float = 0.1
    noise: float = 0.02
    shift: float = 0.05


class Sampler:
    """Draws lessons. The n-th is the same whenever and wherever it is drawn, so that learning can go on after a kill.

    ``multiple`` is what the network wants the sides of a window to be a multiple of.
    """

    def __init__(
        self,
        cases: Sequence[LearningCase],
        channels: Channels,
        recipe: SamplingRecipe,
        multiple: int,
        seed: int,
    ) -> None:
        self._fresh = [c for c in cases if c.labels and not c.is_replayed]
        self._earlier = [c for c in cases if c.labels and c.is_replayed]
        if not self._fresh and not self._earlier:
            raise LearningError(
                _("There is nothing to learn from: no case has a reviewed class."), _("Accept a case first.")
            )
        self._channels, self._recipe, self._multiple, self._seed = channels, recipe, multiple, seed
        # Every draw needs places of a mask, and finding them takes longest: by case and label.
        self._found: dict[tuple[str, str, bool], np.ndarray] = {}

    def draw(self, number: int) -> Lesson:
        """Lesson ``number``, from 0."""
        rng = np.random.default_rng([self._seed, number])
        case = self._case(rng)
        crop = self._recipe.crop
        sides = crop or _rounded_up(case.image.shape, self._multiple)
        room = _with_room(sides) if crop is not None and self._recipe.is_varied else sides
        start = _start(self._center(case, rng), room, case.image.shape) if crop is not None else (0, 0, 0)
        image = cut(case.image, start, room)
        masks = {label: cut(case.masks[label], start, room) for label in self._chosen(case, start, room, rng)}
        changed = np.zeros(room, dtype=bool)
        for mask in case.changed.values():
            changed |= cut(mask, start, room)
        stack = np.stack([*masks.values(), changed])
        if self._recipe.is_varied:
            image, stack = varied(image, stack, sides, self._recipe, rng)
        numbers = [self._channels.channel(label) for label in masks]
        return Lesson(case.case, image, tuple(numbers), stack[:-1], stack[-1], len(numbers))

    def _case(self, rng: np.random.Generator) -> LearningCase:
        is_earlier = not self._fresh or (bool(self._earlier) and rng.uniform() < self._recipe.replay_share)
        cases = self._earlier if is_earlier else self._fresh
        return cases[int(rng.integers(len(cases)))]

    def _center(self, case: LearningCase, rng: np.random.Generator) -> tuple[int, ...]:
        fate = rng.uniform()
        is_changed = fate < self._recipe.changed_share
        labels = list(case.labels)
        rng.shuffle(labels)
        if fate < self._recipe.changed_share + self._recipe.inside_share:
            # Where nothing was corrected, the class itself is what there is to show.
            for from_changed in (True, False) if is_changed else (False,):
                for label in labels:
                    places = self._places(case, label, from_changed)
                    if len(places):
                        return tuple(int(v) for v in np.unravel_index(rng.choice(places), case.image.shape))
        return tuple(int(rng.integers(n)) for n in case.image.shape)

    def _places(self, case: LearningCase, label: str, is_changed: bool) -> np.ndarray:
        key = (case.case, label, is_changed)
        if key not in self._found:
            mask = (case.changed if is_changed else case.masks).get(label)
            places = np.flatnonzero(mask) if mask is not None else np.empty(0, dtype=np.int64)
            self._found[key] = places[:: -(-len(places) // _MOST_PLACES) or 1].copy()
        return self._found[key]

    def _chosen(self, case: LearningCase, start: Sides, sides: Sides, rng: np.random.Generator) -> list[str]:
        """At most ``most`` reviewed classes: those with a voxel in the crop first, then some that are known absent."""
        labels = list(case.labels)
        if len(labels) <= self._recipe.most:
            return labels
        rng.shuffle(labels)
        inside = {label: bool(cut(case.masks[label], start, sides).any()) for label in labels}
        return sorted(labels, key=lambda label: not inside[label])[: self._recipe.most]


def cut(array: np.ndarray, start: Sides, sides: Sides) -> np.ndarray:
    """The window of ``sides`` from ``start`` on, which may be negative; zeros where it reaches beyond the array."""
    out = np.zeros(sides, dtype=array.dtype)
    low = [max(0, s) for s in start]
    high = [min(n, s + side) for s, side, n in zip(start, sides, array.shape, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        place = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        out[place] = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return out


def varied(
    image: np.ndarray, masks: np.ndarray, sides: Sides, recipe: SamplingRecipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Another pose, another scanner: ``image`` (X, Y, Z) and ``masks`` (n, X, Y, Z) turned and scaled alike, cut to
    ``sides`` around the middle; noise, sharpness and brightness of the image changed. Left stays left.
    """
    from monai.transforms import (
        Compose,
        RandAffined,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandScaleIntensityd,
        RandShiftIntensityd,
    )

    turn = float(np.radians(recipe.turn_degrees))
    variation = Compose(
        [
            RandAffined(
                ["image", "masks"],
                prob=0.7,
                rotate_range=(turn, turn, turn),
                scale_range=(recipe.scale,) * 3,
                spatial_size=sides,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandGaussianSmoothd("image", (0.3, 0.8), (0.3, 0.8), (0.3, 0.8), prob=0.15),
            RandScaleIntensityd("image", recipe.shift, prob=0.5),
            RandShiftIntensityd("image", recipe.shift, prob=0.5),
            RandGaussianNoised("image", prob=0.3, std=recipe.noise),
        ]
    )
    variation.set_random_state(seed=int(rng.integers(2**31)))
    low, high = float(image.min()), float(image.max())
    out = variation({"image": image[None], "masks": masks.astype(np.float32)})
    bent = np.clip(np.asarray(out["image"], dtype=np.float32)[0], low, high)
    return np.ascontiguousarray(bent), np.ascontiguousarray(np.asarray(out["masks"]) > 0.5)


def _start(center: tuple[int, ...], sides: Sides, shape: tuple[int, ...]) -> Sides:
    """Where a window around ``center`` begins: inside the array as far as it fits, else with that in its middle."""
    i, j, k = (
        min(max(0, c - side // 2), n - side) if n >= side else -((side - n) // 2)
        for c, side, n in zip(center, sides, shape, strict=True)
    )
    return i, j, k


def _with_room(sides: Sides) -> Sides:
    """Larger by a quarter, so that a window that is turned still shows the patient in its corners."""
    i, j, k = (side + 2 * (side // 8) for side in sides)
    return i, j, k


def _rounded_up(shape: tuple[int, ...], multiple: int) -> Sides:
    i, j, k = (max(2 * multiple, -(-n // multiple) * multiple) for n in shape)
    return i, j, k
