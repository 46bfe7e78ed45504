"""A game of correcting: a crop, a proposal, and prompts that follow what the network answered before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box, Geometry
from ...core.prompts import Prompt, Told, told
from ..refine.channels import channels, nearness
from .crops import Crop, CropMaker
from .damage import any_damage
from .user import SimulatedUser

_DRAWN_WEIGHT = 4.0


@dataclass(frozen=True)
class GameRecipe:
    """How long a game lasts: at most so many prompts, and it ends after each with this probability."""

    most_rounds: int = 8
    end_share: float = 0.2


class Game:
    """What is on the table: the segment now, and everything that the user has said so far."""

    def __init__(self, crop: Crop, proposal: np.ndarray, user: SimulatedUser) -> None:
        self.crop, self.mask, self.rounds = crop, proposal, 0
        self._user = user
        self._prompts: list[Prompt] = []
        self._geometry = Geometry(crop.truth.shape, np.diag([*crop.spacing, 1.0]))
        self.inside, self.outside = np.zeros_like(crop.truth), np.zeros_like(crop.truth)
        self._drawn = self.inside

    def ask(self) -> bool:
        """Lets the user draw the next prompt; False where there is nothing left to correct."""
        prompt = self._user.prompt(self.mask, self.crop.truth, self.crop.spacing)
        if prompt is None:
            return False
        self._prompts.append(prompt)
        said = heard(self._prompts, self._geometry)
        self.inside, self.outside = said.inside, said.outside | said.beyond
        self._drawn = said.inside | said.outside
        self.rounds += 1
        return True

    def channels(self) -> np.ndarray:
        """What the network is shown, float32 (11, X, Y, Z)."""
        return channels(self.crop.hu, self.mask, self.inside, self.outside, self.crop.spacing)

    def weights(self) -> np.ndarray:
        """How much every voxel counts, float32 (X, Y, Z): more beside what was drawn; what is not known, not at all."""
        return (1 + _DRAWN_WEIGHT * nearness(self._drawn)) * self.crop.known

    def answer(self, logits: np.ndarray) -> None:
        """Takes the network's answer, (X, Y, Z); what the user said stands."""
        self.mask = ((logits > 0) | self.inside) & ~self.outside & self.crop.known


def heard(prompts: Sequence[Prompt], geometry: Geometry) -> Told:
    """What prompts say about a whole grid."""
    return told(prompts, geometry, Box.whole(geometry.shape))


class Table:
    """Where one game is played after another, each for a few rounds."""

    def __init__(self, maker: CropMaker, user: SimulatedUser, side: int, recipe: GameRecipe) -> None:
        self._maker, self._user, self._side, self._recipe = maker, user, side, recipe
        self.game = self._new()

    def turn(self, logits: np.ndarray) -> None:
        """Takes the network's answer, and goes on: the user's next prompt, or a new game."""
        self.game.answer(logits)
        is_over = self.game.rounds >= self._recipe.most_rounds or self._maker.rng.uniform() < self._recipe.end_share
        if is_over or not self.game.ask():
            self.game = self._new()

    def _new(self) -> Game:
        while True:
            crop = self._maker.draw(self._side)
            game = Game(crop, any_damage(crop.truth, crop.spacing, self._maker.rng) & crop.known, self._user)
            if game.ask():
                return game
