"""A whole round with torchrun: one process runs it, the other learns along; the result is that of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import LearningError, ResourceError
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.learning.recipe import Learned
from GenesisSegmentLib.engine.learning.round import run_round
from GenesisSegmentLib.engine.learning.round_folder import RoundFolders, RoundRequest
from GenesisSegmentLib.engine.learning.team import PartnerLostError, Team
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.starter.onnx_file import load_onnx_weights
from round_builders import a_store, surroundings

TESTING = Path(__file__).resolve().parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
LEARN = ("-m", "GenesisSegmentLib.cli", "learn", "--steps", "2", "--device", "cpu", "--json")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo is not in PyTorch for Windows everywhere")


def learn(home: Path, launcher: tuple[str, ...], *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A round of two steps in the home of a person with three accepted cases."""
    if not (home / "cases").is_dir():
        a_store(home / "cases", patients=3).close()
    paths = [str(Path(GenesisSegmentLib.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, HOME_VARIABLE: str(home), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"OMP_NUM_THREADS": "1", **variables}
    command = [*launcher, *LEARN, *options]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=500)


def weights_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    versions = VersionStore.of_this_person()
    (version,) = versions.versions()
    return load_onnx_weights(versions.path_of(version))


def test_two_processes_run_a_round_as_one_does(tmp_path, monkeypatch):
    documents = {}
    for name, launcher in (("two", TORCHRUN), ("one", (sys.executable,))):
        run = learn(tmp_path / name, launcher)
        assert run.returncode == 0, run.stderr
        documents[name] = json.loads(run.stdout)  # one document: the second process says nothing
    one, two = documents["one"], documents["two"]
    assert (two["state"], two["version"], two["steps"]) == (one["state"], "v1", 2) == ("unproven", "v1", 2)
    for here, there in zip(one["scores"], two["scores"], strict=True):
        assert there["dice_after"] == pytest.approx(here["dice_after"], abs=0.02)
    expected, found = (weights_of(tmp_path / name, monkeypatch) for name in ("one", "two"))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


def test_nobody_waits_for_a_round_that_does_not_begin(tmp_path):
    home = tmp_path / "home"
    with RoundFolders(home / "rounds").locked():
        ended = learn(home, TORCHRUN)
    assert ended.returncode != 0
    assert "Another round is running" in ended.stdout + ended.stderr


class Broken:
    """A task that ends in an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def learned(self, *_given: object) -> Learned:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Connection closed by peer [127.0.0.1]:4711\nmore"), PartnerLostError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ResourceError),
        (LearningError("The loss was no number."), LearningError),
    ],
)
def test_the_first_process_says_why_learning_ended(monkeypatch, error, kind):
    team = Team(0, 2)
    monkeypatch.setattr(team, "_tell", lambda task: None)
    with pytest.raises(kind) as caught:
        team.learn(Broken(error), Job(), lambda: None, lambda step, loss: None)
    assert "more" not in str(caught.value)


def test_the_others_leave_that_to_it(monkeypatch, capsys):
    team = Team(1, 2)
    monkeypatch.setattr(team, "_heard", lambda: Broken(LearningError("The loss was no number.")))
    team.help(Job(), lambda: None)
    assert "Process 1: The loss was no number." in capsys.readouterr().err


def test_a_round_whose_partner_was_lost_can_be_gone_on_with(tmp_path):
    def lost(*_given: object) -> Learned:
        raise PartnerLostError("One of 2 processes that learned together ended.")

    around = surroundings(tmp_path, teach=lost)
    with a_store(tmp_path / "cases", patients=3) as store:
        with pytest.raises(PartnerLostError):
            run_round(store, around.versions, RoundRequest(steps=2), surroundings=around)
        assert around.folders.unfinished() is not None
        again = surroundings(tmp_path)
        assert run_round(store, again.versions, RoundRequest(steps=2), surroundings=again).version == "v1"
    assert around.folders.unfinished() is None
