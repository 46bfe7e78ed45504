"""``genesis-segment info``: what a person needs to know of the machine and a script can read."""

from __future__ import annotations

import pytest

from cli_builders import run
from GenesisSegmentLib import __version__
from GenesisSegmentLib.cli import info
from GenesisSegmentLib.engine.inference import selftest
from GenesisSegmentLib.engine.inference.verdicts import PathVerdict
from GenesisSegmentLib.engine.models.catalogue import load_catalogue


@pytest.fixture(scope="module")
def facts():
    return run("info", "--json").document


def test_json_states_versions_devices_models_and_fast_paths(facts, home):
    assert facts["version"] == __version__
    assert {"torch", "monai", "onnxruntime", "SimpleITK"} <= facts["packages"].keys()
    assert facts["packages"]["torch"]
    assert facts["devices"][0]["name"] == "cpu"
    assert 0 < facts["devices"][0]["free_bytes"] <= facts["devices"][0]["total_bytes"]
    assert "CPUExecutionProvider" in facts["onnx_providers"]
    assert facts["models"] == {e.id: "bundled" if e.is_bundled else "missing" for e in load_catalogue()}
    assert facts["data_folder"] == str(home)


def test_every_fast_path_says_why_it_is_on_or_off(facts):
    assert facts["fast_paths"]
    for path in facts["fast_paths"]:
        assert path["device"] == "cpu"
        assert isinstance(path["is_on"], bool)
        assert path["why"]


def test_the_page_for_people_shows_the_same(facts):
    ended = run("info")
    assert ended.code == 0
    for word in (facts["version"], facts["packages"]["torch"], facts["data_folder"], "starter: bundled", "GB free"):
        assert word in ended.out
    for path in facts["fast_paths"]:
        assert path["name"] in ended.out


def test_two_runtimes_that_overwrite_each_other_are_found_with_what_to_do(facts, monkeypatch):
    assert facts["notes"] == []
    monkeypatch.setattr(info.metadata, "version", lambda package: "1.2.3")
    ended = run("info", "--json")
    assert ended.code == 0
    (note,) = ended.document["notes"]
    assert "overwrite each other" in note
    assert "pip uninstall onnxruntime onnxruntime-gpu; then: pip install onnxruntime-gpu" in note
    assert note in run("info").err


def test_no_place_is_needed_to_keep_what_was_found_out(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(selftest, "try_paths", lambda *_: (PathVerdict("bf16", False, "made up"),))
    ended = run("info", "--json")
    assert ended.code == 0
    assert [path["why"] for path in ended.document["fast_paths"]] == ["made up"]


def test_libraries_that_are_known_to_be_wrong_are_named_with_the_path_that_is_off(monkeypatch, tmp_path):
    """In place of an installed PyTorch 2.9: the very check that looks at its version."""
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path))
    real = selftest.known_fault
    monkeypatch.setattr(selftest, "known_fault", lambda name, version, cudnn: real(name, "2.9.1", 91002))
    ended = run("info", "--json")
    assert ended.code == 0
    assert {path["is_on"] for path in ended.document["fast_paths"]} == {False}
    assert any("PyTorch 2.9.1 has faulty 3-D convolutions" in path["why"] for path in ended.document["fast_paths"])
