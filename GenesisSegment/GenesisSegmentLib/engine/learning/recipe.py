"""How a model learns from corrections, and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ...core.rounds import Mode
from .sampling import SamplingRecipe, Sides

if TYPE_CHECKING:
    from ..networks.universal import UniversalModel

RATES: dict[Mode, float] = {"head": 1e-3, "decoder": 3e-4, "all": 1e-4}
"""Learning rates: the less may change, the faster it may."""


@dataclass(frozen=True)
class LearningRecipe:
    """What learns, on what, how long.

    ``steps`` 0 means no limit but ``budget_s`` (wall time in seconds, pauses not counted), and the other way round;
    only with ``steps`` is the result the same on every run. A step learns from ``batch`` times ``accumulate`` crops,
    ``items_per_forward`` at a time (a network that looks at its batch always takes one). ``crop`` None is the whole
    scan. ``precision`` is that of the convolutions, "auto" bf16 where the device computes it.

    ``taught`` reviewed classes of a crop give a loss, and ``kept`` others by the parent's pseudo-labels, unless
    ``pseudo`` is off. With ``cached`` the head learns on cached features of ``cached_crop``: up to ``cached_lessons``
    of them, ``cache_bytes`` in all.
    """

    mode: Mode = "all"
    steps: int = 0
    budget_s: float = 1800.0
    crop: Sides | None = None
    batch: int = 1
    accumulate: int = 2
    items_per_forward: int = 1
    learning_rate: float | None = None
    weight_decay: float = 1e-5
    clip: float = 1.0
    seed: int = 7
    device: str = "cpu"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    replay: bool = True
    pseudo: bool = True
    pseudo_weight: float = 1.0
    taught: int = 8
    kept: int = 6
    is_varied: bool = True
    replay_share: float = 0.5
    cached: bool = True
    cached_crop: Sides = (48, 48, 48)
    cached_lessons: int = 32
    cache_bytes: int = 2 * 1024**3
    checkpoint_every_s: float = 30.0

    @property
    def items(self) -> int:
        """Crops per step."""
        return self.batch * self.accumulate

    @property
    def rate(self) -> float:
        """The learning rate at its highest."""
        return RATES[self.mode] if self.learning_rate is None else self.learning_rate

    @property
    def is_cached(self) -> bool:
        """Whether the head learns on cached features."""
        return self.mode == "head" and self.cached

    def sampling(self) -> SamplingRecipe:
        """Where crops are drawn."""
        return SamplingRecipe(self.crop, replay_share=self.replay_share, most=self.taught, is_varied=self.is_varied)

    def what_counts(self) -> dict[str, Any]:
        """All that decides what is learned: a run may only be gone on with where this is the same."""
        silent = {"budget_s", "device", "checkpoint_every_s", "precision", "crop", "items_per_forward", "mode"}
        return {name: value for name, value in asdict(self).items() if name not in silent}


@dataclass(frozen=True, eq=False)
class Learned:
    """What came out: the ``network`` in evaluation mode on the CPU, the loss of each step, and how it was learned.

    ``recipe`` is the one that was really followed; ``notes`` say where it differs from the one that was asked for.
    ``seconds`` are those of the steps, pauses not counted, over all runs.
    """

    network: UniversalModel
    steps: int
    losses: tuple[float, ...]
    seconds: float
    recipe: LearningRecipe
    notes: tuple[str, ...] = field(default=())
