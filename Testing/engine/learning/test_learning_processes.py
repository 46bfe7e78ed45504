"""Learning in processes of its own: killed without warning, and two that share the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import GenesisSegmentLib
import learning_child

TESTING = Path(__file__).resolve().parents[2]
CHILD = TESTING / "learning_child.py"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def environment() -> dict[str, str]:
    paths = [str(TESTING), str(Path(GenesisSegmentLib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def child(folder: Path, out: Path, kill_at: int, mode: str = "all", launcher=(sys.executable,)) -> int:
    command = [*launcher, str(CHILD), str(folder), str(out), "4", str(kill_at), mode]
    return subprocess.run(command, env=environment(), check=False, capture_output=True, timeout=500).returncode


def here(folder: Path, out: Path, mode: str = "all") -> dict:
    """The same in this process, to the end."""
    learning_child.main(str(folder), str(out), "4", "0", mode)
    return weights(out)


def weights(path: Path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize(("mode", "kill_at"), [("all", 130), ("head", 40)])
def test_a_killed_run_goes_on_to_the_very_same_weights(tmp_path, mode, kill_at):
    assert child(tmp_path / "cut", tmp_path / "cut.pt", kill_at, mode) == -signal.SIGKILL
    assert weights(tmp_path / "cut" / "state.pt")["step"] in (1, 2, 3)
    whole, cut = (
        here(tmp_path / "whole", tmp_path / "whole.pt", mode),
        here(tmp_path / "cut", tmp_path / "cut.pt", mode),
    )
    assert whole["losses"] == cut["losses"]
    assert all(torch.equal(value, cut["net"][name]) for name, value in whole["net"].items())


@pytest.mark.skipif(sys.platform == "win32", reason="gloo is not in PyTorch for Windows everywhere")
def test_two_processes_learn_what_one_learns(tmp_path):
    two = (*TORCHRUN, "--standalone", "--nproc_per_node=2")
    assert child(tmp_path / "two", tmp_path / "two.pt", 0, launcher=two) == 0
    one, both = here(tmp_path / "one", tmp_path / "one.pt"), weights(tmp_path / "two.pt")
    np.testing.assert_allclose(one["losses"], both["losses"], rtol=1e-4)
    for name, value in one["net"].items():
        if not name.endswith("conv1.bias"):  # without effect before a norm: nothing but rounding moves it
            torch.testing.assert_close(value, both["net"][name], rtol=2e-3, atol=2e-4)
