"""What the recipes need to know of a model and of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ...core.errors import ModelError
from ...core.geometry import Box
from ...core.i18n import _
from ...core.jobs import Advance
from ...core.segmentation import Segmentation
from ..models.catalogue import ModelFacts, PublishedCleaning

Array = Any
"""A numpy array or a torch tensor: the ring and the windows use only what both offer."""

Upsampling = Literal["nearest", "linear"]
FAST_OVERLAP = 0.25
"""Share that windows overlap in the fast recipe; the published ones do by 0.5 or more."""


@dataclass(frozen=True)
class ModelSpec:
    """The facts of a segmentation model that inference depends on.

    ``classes`` are the class indices in channel order, ``offered`` those worth asking for; ``own`` are the names of the
    classes from 33 on. Hounsfield units
    ``window_hu`` become ``window_values``, linear in between and clipped beyond. ``window`` is the side of a window in
    voxels, or None for a model that takes the whole scan in one pass; sides must be multiples of ``multiple``.
    ``upsampling`` says how the masks come back to the CT's grid: the nearest voxel as published, or interpolated logits
    for a coarse model. ``published_cleaning`` is the post-processing of the model's own release.
    """

    id: str
    classes: tuple[int, ...]
    offered: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    window_hu: tuple[float, ...]
    window: tuple[int, int, int] | None
    overlap: float = 0.5
    multiple: int = 32
    upsampling: Upsampling = "nearest"
    is_smoothed: bool = False
    window_values: tuple[float, ...] = (0.0, 1.0)
    published_cleaning: PublishedCleaning = "published"
    own: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: str, facts: ModelFacts) -> ModelSpec:
        """The spec of a model of the catalogue.

        A model without a window takes the whole scan and works on a coarse grid: the scan is smoothed before it is
        sampled, and its logits are interpolated on the way back.
        """
        recipe = facts.preprocessing
        if recipe.spacing_mm is None:
            raise ModelError(
                _("{model} is made for the native grid of its training crops, not for whole CTs.").format(model=model),
                _("Choose another model; models list says which segment."),
            )
        is_coarse = recipe.window is None
        return cls(
            id=model,
            classes=(*facts.classes, *facts.own_classes),
            offered=facts.drawn,
            own=facts.own,
            spacing_mm=recipe.spacing_mm,
            window_hu=recipe.intensity_hu,
            window_values=recipe.intensity_values,
            window=recipe.window,
            overlap=0.5 if recipe.overlap is None else recipe.overlap,
            published_cleaning=facts.published_cleaning,
            multiple=8 if is_coarse else 32,
            upsampling="linear" if is_coarse else "nearest",
            is_smoothed=is_coarse,
        )

    def cleaning(self, asked: Literal["safe", "published"]) -> str:
        """The variant of post-processing that is meant: "published" is that of the release the model comes from."""
        return asked if asked == "safe" else self.published_cleaning

    def overlap_of(self, recipe: Literal["fast", "published"]) -> float:
        """How much windows overlap by default: half as much in the fast recipe, where a CT takes many fewer of them."""
        return self.overlap if recipe == "published" else min(self.overlap, FAST_OVERLAP)

    def channels(self, classes: tuple[int, ...]) -> tuple[int, ...]:
        """The network's channels of the given classes."""
        return tuple(self.classes.index(c) for c in classes)


class Runtime(Protocol):
    """A network on a device."""

    device: str
    """Where it really runs: ``cpu``, ``cuda:0``..."""
    ring_device: str
    """Where logits are handed over and accumulate."""
    notes: tuple[str, ...]
    """What the person should know, such as a fall-back to the CPU."""

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        """Gets ready for a run: plain, as in the published recipe, or by the fast paths that give the same masks.

        ``advance`` is called only where these have to be tried first.
        """

    def logits(self, window: np.ndarray, channels: tuple[int, ...], advance: Advance = lambda share: None) -> Array:
        """One window float32 (X, Y, Z) in 0..1 -> logits (n, X, Y, Z) of the asked channels, where the ring lies.

        Always one window per forward: the universal model's batch norm looks at everything in the batch. The caller
        may change the array. ``advance`` is told the share done, as well as that can be told, and may raise to stop.
        """

    def zeros(self, shape: tuple[int, ...], half: bool) -> Array:
        """Zeros for accumulation, where ``logits`` come from."""

    def to_array(self, values: np.ndarray) -> Array:
        """A numpy array brought to where ``logits`` come from."""

    def to_numpy(self, values: Array) -> np.ndarray:
        """Values brought to the host as float32."""


@dataclass(frozen=True)
class RunOptions:
    """What the person asked for. ``classes`` None means all that the model offers, ``overlap`` None that of the recipe.

    ``everywhere``: classes are looked for in the whole CT, not only where a coarse model sees them.
    """

    classes: tuple[int, ...] | None = None
    recipe: Literal["fast", "published"] = "fast"
    postprocess: Literal["safe", "published"] = "safe"
    overlap: float | None = None
    everywhere: bool = False


@dataclass(frozen=True, eq=False)
class RunResult:
    """A segmentation and how it came about. ``seconds`` per stage; ``notes`` are sentences for the person.

    ``overlap`` is None where there was one window. ``is_everywhere`` says whether the whole body was looked at.
    """

    segmentation: Segmentation
    model: str
    recipe: str
    postprocess: str
    device: str
    windows: int
    seconds: dict[str, float]
    notes: tuple[str, ...] = field(default=())
    overlap: float | None = None
    is_everywhere: bool = True


OnClass = Callable[[int, Box, np.ndarray, bool], None]
"""Receives a class as soon as it is there: its index, a box on the CT's own grid, the boolean mask (i, j, k) in it, and
whether it is preliminary: the mask of the result may differ."""
