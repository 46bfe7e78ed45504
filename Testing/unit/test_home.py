from __future__ import annotations

import sys
from pathlib import Path

import pytest

from GenesisSegmentLib.core.home import HOME_VARIABLE, data_home


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch, tmp_path):
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("given", [None, "", "  ", "/kept/here", "relative/folder"])
def test_folder_is_the_one_that_platformdirs_names(monkeypatch, given):
    platformdirs = pytest.importorskip("platformdirs")
    if given is not None:
        monkeypatch.setenv("XDG_DATA_HOME", given)
    assert data_home() == Path(platformdirs.user_data_dir("GenesisSegment", appauthor=False))


@pytest.mark.skipif(sys.platform == "win32", reason="macOS's paths are not those of Windows")
@pytest.mark.parametrize("given", [None, "/kept/here"])
def test_folder_on_macos_is_the_one_that_platformdirs_names(monkeypatch, given):
    macos = pytest.importorskip("platformdirs.macos")
    monkeypatch.setattr(sys, "platform", "darwin")
    if given is not None:
        monkeypatch.setenv("XDG_DATA_HOME", given)
    assert data_home() == Path(macos.MacOS("GenesisSegment", appauthor=False).user_data_dir)


def test_folder_on_windows_is_below_the_local_data_of_the_person(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert data_home() == tmp_path / "local" / "GenesisSegment"
    monkeypatch.delenv("LOCALAPPDATA")
    assert data_home() == Path.home() / "AppData" / "Local" / "GenesisSegment"


def test_environment_variable_decides_and_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, "~/mine")
    assert data_home() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, "here")
    assert data_home() == tmp_path / "here"
