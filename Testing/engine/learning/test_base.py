"""What a round starts from keeps its names, its terms and its honesty about what it has learned."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.learning.base import (
    OWN_GENESIS,
    derived_note,
    genesis_base,
    offered_after,
    open_base,
)
from GenesisSegmentLib.engine.learning.teaching import known_channels
from GenesisSegmentLib.engine.learning.versions import Version, VersionStore
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.engine.networks import build

CATALOGUE = load_catalogue()


@pytest.fixture
def models(tmp_path) -> ModelStore:
    versions = VersionStore(tmp_path / "versions")
    return ModelStore(tmp_path / "models", CATALOGUE, versions=versions)


def test_the_current_model_is_the_starter_at_first(models):
    base = open_base("current", models)
    assert (base.name, base.base_model, base.is_fresh) == ("starter", "starter", False)
    assert base.channels.labels[5] == "liver"
    assert len(base.channels) == base.network.classes == 32
    assert base.rival.name == "starter"
    offered = CATALOGUE["starter"].facts.offered
    assert known_channels(base) == tuple(c - 1 for c in offered), "untrained channels give no pseudo-labels"


def test_a_version_brings_its_own_names_and_the_terms_of_its_root(models):
    network = build("starter", classes=33)
    state = {"net": network.state_dict()}

    def fill(folder):
        torch.save(state, folder / "model.pt")

    def digest(folder):
        fill(folder)
        return hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()

    entry = CATALOGUE["starter"]
    made = models.folder.parent / "made"
    made.mkdir()
    sha256 = digest(made)
    labels = (*open_base("starter", models).channels.labels, "sarcoma")
    facts = replace(entry.facts, options={**entry.facts.options, "classes": 33})
    version = Version("t", "starter", "starter", "promoted", facts, labels, "model.pt", sha256, "now", entry.licence)
    models.versions.add(version, lambda folder: (folder / "model.pt").write_bytes((made / "model.pt").read_bytes()))
    models.versions.use("v1")
    base = open_base("current", models)
    assert (base.name, base.base_model, base.title) == ("v1", "starter", "Starter")
    assert base.channels.own() == ("sarcoma",)
    assert 32 in known_channels(base)
    assert base.network.classes == 33
    other = open_base("starter", models)
    assert (other.name, other.rival.name, other.rival_labels) == ("starter", "v1", labels), "what is in use is to beat"


def test_what_has_no_universal_head_is_refused(models, tmp_path):
    path = tmp_path / "supervised_suprem_segresnet_2100.pth"
    torch.save({"net": build("suprem_segresnet").state_dict()}, path)
    with pytest.raises(ModelError):
        open_base(str(path), models)


def test_own_genesis_weights_start_a_fresh_network(models):
    models.folder.mkdir(parents=True)
    weights = build("genesis_starter").state_dict()
    torch.save({"state_dict": weights}, models.folder / OWN_GENESIS)
    base = genesis_base(models)
    assert base.is_fresh
    assert base.facts.offered == ()
    assert base.rival.name == "starter"
    assert known_channels(base) == ()
    assert torch.equal(base.network.backbone.net.convInit.conv.weight, weights["net.convInit.conv.weight"])
    assert torch.equal(
        genesis_base(models, seed=3).network.controller.weight, genesis_base(models, seed=3).network.controller.weight
    )
    assert "terms of the CTs" in base.note()


def test_other_weights_are_no_genesis_weights(models, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(build("starter").state_dict(), path)
    with pytest.raises(ModelError, match="no Genesis-style weights"):
        genesis_base(models, path)


def test_without_any_genesis_weights_it_says_how_to_get_them(models):
    with pytest.raises(ModelError, match="no Models Genesis weights") as told:
        genesis_base(models)
    assert "models download genesis_chest_ct" in told.value.remedy
    assert "genesis-segment pretrain" in told.value.remedy


def test_what_must_not_be_passed_on_is_said_of_what_is_learned_from_it():
    universal, starter = CATALOGUE["universal_unet"], CATALOGUE["starter"]
    assert derived_note(universal.title, universal.licence, universal.id) == (
        "Adapted from Universal Model, U-Net (CC BY-NC-ND 4.0, Johns Hopkins University): do not distribute."
    )
    assert derived_note(starter.title, starter.licence, starter.id) == "Adapted from Starter (Apache-2.0)."
    assert "do not distribute" in derived_note("x.pth", None, "x.pth")


def test_what_is_learned_is_offered_too_but_for_what_the_table_lacks(models):
    base = open_base("starter", models)
    assert offered_after(base, ["pancreas", "liver", "sarcoma"]) == (1, 2, 3, 6, 8, 11, 16, 17)
