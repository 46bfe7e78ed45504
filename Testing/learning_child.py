"""A process that learns, and may kill itself on the way: ``python learning_child.py FOLDER OUT STEPS KILL_AT [MODE]``.

It kills itself without any warning after so many passes of the gate, which lie between and within the steps.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from GenesisSegmentLib.engine.learning.recipe import LearningRecipe
from GenesisSegmentLib.engine.learning.trainer import Learner
from learning_builders import CHANNELS, a_case, a_network


def main(folder: str, out: str, steps: str, kill_at: str, mode: str = "all") -> None:
    """Learns, and writes the weights."""
    torch.set_num_threads(1)
    passes = 0

    def gate() -> None:
        nonlocal passes
        passes += 1
        if passes == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    recipe = LearningRecipe(
        mode=mode,  # type: ignore[arg-type]
        steps=int(steps),
        crop=(16, 16, 16),
        cached_crop=(8, 8, 8),
        learning_rate=1e-3,
        precision="fp32",
        checkpoint_every_s=0,
    )
    network = a_network("unet")
    learner = Learner(network, CHANNELS, [a_case()], recipe, Path(folder), parent=network, gate=gate)
    learned = learner.run()
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save({"net": learned.network.state_dict(), "losses": list(learned.losses)}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
