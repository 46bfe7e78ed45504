"""Keeps these tests away from what the person who runs them has on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from GenesisSegmentLib.core.home import HOME_VARIABLE, STORE_VARIABLE
from learning_fakes import LearningBench, opened


@pytest.fixture(scope="session")
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _no_data_of_anybody(monkeypatch: pytest.MonkeyPatch, _empty_home: Path) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(_empty_home))
    monkeypatch.delenv(STORE_VARIABLE, raising=False)


@pytest.fixture
def bench() -> LearningBench:
    """A controller with corrections and a learner, its Learn part unfolded."""
    return opened()


@pytest.fixture
def running(bench: LearningBench) -> LearningBench:
    """One on which a round has begun."""
    bench.controller.learn()
    return bench
