"""``genesis-segment models``: asks before it fetches, prints JSON alone on stdout, and fails with a code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from runpy import run_path

import pytest
from typer.testing import CliRunner

from GenesisSegmentLib.cli import consent, models
from GenesisSegmentLib.core.errors import ConsentError, ModelError
from GenesisSegmentLib.core.files import sha256_of
from GenesisSegmentLib.engine.models.catalogue import Catalogue, load_catalogue
from GenesisSegmentLib.engine.models.store import ModelStore

# Test modules are imported by path, and so is what they share.
FileServer = run_path(str(Path(__file__).parents[1] / "local_file_server.py"))["FileServer"]
CONTENT = bytes(range(256)) * 400
NAME = "universal_unet"


@dataclass(frozen=True)
class StandInCheckpoint:
    architecture: str
    sha256: str
    options: dict = field(default_factory=dict)


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def store(tmp_path, server, monkeypatch):
    """The store that the commands open: real catalogue, local host, files that are all a Universal U-Net."""
    catalogue = Catalogue(
        [
            entry if entry.is_bundled else replace(entry, source=replace(entry.source, url=server.url(entry.id)))
            for entry in load_catalogue()
        ]
    )
    store = ModelStore(tmp_path / "models", catalogue, lambda path: StandInCheckpoint(NAME, sha256_of(path)))
    monkeypatch.setattr(models, "open_store", lambda: store)
    monkeypatch.setenv("COLUMNS", "80")
    return store


@pytest.fixture
def run(store):
    def run(*arguments, answer=None):
        return CliRunner().invoke(models.models_app, list(arguments), input=answer)

    return run


@pytest.fixture
def somebody_is_there(monkeypatch):
    monkeypatch.setattr(consent, "is_interactive", lambda: True)


def test_list_names_every_model_in_full_on_a_narrow_terminal(run, store):
    result = run("list")
    assert result.exit_code == 0
    for entry in store.catalogue:
        assert entry.id in result.stdout
    assert "research only" in result.stdout


def test_list_as_json_is_nothing_but_json(run, store):
    document = json.loads(run("list", "--json").stdout)
    assert [entry["id"] for entry in document] == [entry.id for entry in store.catalogue]
    by_id = {entry["id"]: entry for entry in document}
    assert by_id[NAME]["state"] == "missing"
    assert by_id[NAME]["licence"]["commercial_use"] is False
    assert by_id["supervised_suprem_segresnet_2100"]["classes"][0] == "aorta"


def test_info_shows_licence_source_and_classes(run, server):
    result = run("info", NAME)
    assert "CC BY-NC-ND 4.0" in result.stdout
    assert "Johns Hopkins University" in result.stdout
    assert server.url(NAME) in result.stdout
    assert "hepatic_vessel_tumor" in result.stdout
    assert json.loads(run("info", NAME, "--json").stdout)["preprocessing"]["window"] == [96, 96, 96]


def test_an_unknown_name_is_a_model_error(run):
    assert isinstance(run("info", "universal").exception, ModelError)


def test_download_shows_the_terms_asks_and_takes_no_for_an_answer_by_default(run, server, somebody_is_there):
    result = run("download", NAME, answer="\n")
    assert "CC BY-NC-ND 4.0" in result.stderr
    assert "not stated by the publisher" in result.stderr
    assert "[y/N]" in result.stderr
    assert isinstance(result.exception, ConsentError)
    assert server.requests == []


def test_download_goes_ahead_after_a_yes(run, store, server, somebody_is_there):
    result = run("download", NAME, answer="y\n")
    assert result.exit_code == 0
    assert store.verify(NAME) == "installed"
    assert run("download", NAME).exit_code == 0
    assert len(server.requests) == 1


def test_download_without_anybody_to_ask_needs_yes(run, server):
    result = run("download", NAME)
    assert isinstance(result.exception, ConsentError)
    assert result.exception.exit_code == 8
    assert "--yes" in result.exception.remedy
    assert server.requests == []


def test_download_with_yes_still_shows_the_terms(run, store):
    result = run("download", NAME, "--yes")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "CC BY-NC-ND 4.0" in result.stderr
    assert store.status(NAME) == "installed"


def test_import_installs_a_file_and_says_its_licence(run, store, server, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(CONTENT)
    result = run("import", NAME, str(file))
    assert result.exit_code == 0
    assert "CC BY-NC-ND 4.0" in result.stderr
    assert store.verify(NAME) == "installed"
    assert server.requests == []


def test_import_of_another_network_fails(run, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(CONTENT)
    assert isinstance(run("import", "universal_swinunetr", str(file)).exception, ModelError)


def test_verify_lists_what_is_installed_and_fails_on_damage(run, store):
    run("download", NAME, "--yes")
    (installed,) = [each for each in json.loads(run("verify", "--json").stdout) if each["id"] == NAME]
    assert installed == {"id": NAME, "state": "installed", "sha256": store.sha256(NAME)}
    store.path_of(NAME).write_bytes(CONTENT[::-1])
    result = run("verify")
    assert "damaged" in result.stdout
    assert isinstance(result.exception, ModelError)


def test_verify_of_a_missing_model_fails_with_the_remedy(run):
    result = run("verify", NAME)
    assert isinstance(result.exception, ModelError)
    assert f"models download {NAME}" in result.exception.remedy


def test_remove_asks_and_keeps_the_model_by_default(run, store, somebody_is_there):
    run("download", NAME, "--yes")
    assert isinstance(run("remove", NAME, answer="\n").exception, ConsentError)
    assert store.status(NAME) == "installed"
    assert run("remove", NAME, answer="y\n").exit_code == 0
    assert store.status(NAME) == "missing"


def test_remove_without_anybody_to_ask_needs_yes(run, store):
    run("download", NAME, "--yes")
    assert isinstance(run("remove", NAME).exception, ConsentError)
    assert run("remove", NAME, "--yes").exit_code == 0
    assert store.status(NAME) == "missing"
    assert "nothing to remove" in run("remove", NAME, "--yes").stderr


def test_the_starter_cannot_be_removed(run):
    refusal = run("remove", "starter", "--yes").exception
    assert isinstance(refusal, ModelError)
    assert "cannot be removed" in refusal.what
    assert "download." not in str(refusal)


def test_what_was_done_is_told_as_json_alone_on_stdout(run, store, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(CONTENT)
    told = {"id": NAME, "state": "installed", "sha256": sha256_of(file)}
    for arguments in (("download", NAME, "--yes"), ("import", NAME, str(file))):
        document = json.loads(run(*arguments, "--json").stdout)
        assert document == told | {"path": str(store.path_of(NAME))}
        removed = json.loads(run("remove", NAME, "--yes", "--json").stdout)
        assert removed == {"id": NAME, "state": "missing", "removed": True}
    assert json.loads(run("remove", NAME, "--yes", "--json").stdout)["removed"] is False
