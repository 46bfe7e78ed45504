"""Checkpoint files: every layout is understood, nothing but an exact fit is accepted, and no code is ever run.

The weights of most files here are single numbers stretched to the published shapes, so the files stay small.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.checkpoints import Checkpoint, initialise_from_genesis, load
from GenesisSegmentLib.engine.networks import build

KEYS = Path(__file__).resolve().parents[1] / "data" / "keys"
INTEGERS = ("num_batches_tracked", "relative_position_index")


def published(name: str) -> dict[str, Tensor]:
    """Weights with the published names and shapes; the n-th is filled with n."""
    shapes = json.loads((KEYS / f"{name}_keys.json").read_text())
    return {
        key: torch.tensor(n, dtype=torch.int64 if key.endswith(INTEGERS) else torch.float32).expand(shape)
        for n, (key, shape) in enumerate(shapes.items())
    }


def written_as(layout: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a universal model with the keys of a published layout."""
    heads = ("organ_embedding", "precls_conv", "GAP", "controller", "text_to_vision")
    match layout:
        case "A":
            return {f"module.{k}": v for k, v in weights.items()}
        case "A twice":
            return {f"module.module.{k}": v for k, v in weights.items()}
        case "B":
            return {f"module.{k.removeprefix('backbone.')}": v for k, v in weights.items()}
        case "B bare":
            return {k.removeprefix("backbone."): v for k, v in weights.items()}
        case "B in part":
            return {f"module.{k.removeprefix('backbone.') if 'encoder' in k else k}": v for k, v in weights.items()}
    assert all(k.startswith(("backbone.", *heads)) for k in weights)
    return weights


@pytest.fixture
def file(tmp_path: Path):
    def save(document: Any, **options: Any) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(document, path, **options)
        return path

    return save


def same(state: Any, weights: dict[str, Tensor]) -> bool:
    return list(state) == list(weights) and all(torch.equal(state[k], weights[k]) for k in weights)


# What is understood


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("universal_unet", "C"),
        ("universal_unetpp", "C"),
        ("genesis_unet3d", "genesis"),
        ("genesis_nnunet", "plain"),
        ("unetpp_nnunet", "plain"),
        ("suprem_segresnet", "plain"),
    ],
)
def test_every_published_network_is_recognised(file, name: str, layout: str) -> None:
    weights = published(name)
    checkpoint = load(file(weights))
    assert (checkpoint.architecture, checkpoint.layout) == (name, layout)
    assert same(checkpoint.state, weights)


@pytest.mark.parametrize(
    ("name", "written", "layout"),
    [
        ("universal_unet", "A", "A"),
        ("universal_unet", "A twice", "A"),
        ("universal_unet", "B", "B"),
        ("universal_unetpp", "B bare", "B"),
        ("universal_swinunetr", "A", "A"),
        ("universal_swinunetr", "B", "B"),
        ("universal_swinunetr", "B in part", "B"),
    ],
)
def test_every_layout_becomes_our_keys(file, name: str, written: str, layout: str) -> None:
    weights = published(name)
    document = {"net": written_as(written, weights), "optimizer": {"state": {}}, "scheduler": {}, "epoch": 620}
    checkpoint = load(file(document), expected=name)
    assert (checkpoint.layout, checkpoint.epoch) == (layout, 620)
    assert same(checkpoint.state, weights)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: OrderedDict(w),
        lambda w: {"net": w},
        lambda w: {"state_dict": w},
        lambda w: {"epoch": 3, "state_dict": w, "optimizer_state_dict": {"param_groups": [{"lr": 0.1}]}, "plot": []},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_bare_and_wrapped_in_new_and_old_files(file, wrap, zipped: bool) -> None:
    weights = published("suprem_segresnet")
    prefixed = {f"module.{k}": v for k, v in weights.items()}
    checkpoint = load(file(wrap(prefixed), _use_new_zipfile_serialization=zipped))
    assert same(checkpoint.state, weights)


def test_order_in_the_file_does_not_matter(file) -> None:
    weights = published("suprem_segresnet")
    assert same(load(file(dict(reversed(weights.items())))).state, weights)


@pytest.mark.parametrize("classes", [9, 25, 38])
@pytest.mark.parametrize("embedding", ["word", "random"])
def test_class_count_and_embedding_are_read_from_the_weights(file, classes: int, embedding: str) -> None:
    network = build("universal_unetpp", classes=classes, embedding=embedding)
    checkpoint = load(file(written_as("A", network.state_dict())))
    assert checkpoint.options == {"classes": classes, "embedding": embedding}
    assert checkpoint.network().classes == classes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("starter", {"classes": 32, "embedding": "random", "filters": 32, "blocks_down": (1, 1, 2)}),
        ("genesis_unet3d", {"classes": 3, "activation": "prelu"}),
        ("suprem_segresnet", {"classes": 9}),
        ("unetpp", {"classes": 4, "level": 4, "heads": (1, 2, 3, 4), "features": (4, 6, 8, 10, 12, 5)}),
        ("unetpp", {"classes": 4, "level": 2, "heads": (2,), "features": (4, 6, 8, 8, 8, 4)}),
        ("unetpp_nnunet", {"classes": 2, "level": 3, "heads": (3,), "base": 4}),
        ("genesis_nnunet", {"classes": 5, "base": 4}),
    ],
)
def test_options_are_read_from_the_weights(file, name: str, options: dict[str, Any]) -> None:
    checkpoint = load(file(build(name, **options).state_dict()))
    assert (checkpoint.architecture, checkpoint.options) == (name, options)


def test_network_has_the_weights_of_the_file_and_is_in_evaluation_mode(file) -> None:
    torch.manual_seed(0)
    source = build("genesis_unet3d").train()
    source(torch.rand(1, 1, 16, 8, 8))  # Moves the running buffers.
    saved = {f"module.{k}": v for k, v in source.state_dict().items()}
    checkpoint = load(file({"epoch": 1, "state_dict": saved}))
    network = checkpoint.network()
    assert not any(module.training for module in network.modules())
    assert same(network.state_dict(), dict(source.state_dict()))
    window = torch.rand(1, 1, 16, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(window), source.eval()(window))


def test_network_is_a_copy_that_leaves_the_checkpoint_alone(file) -> None:
    checkpoint = load(file(build("suprem_segresnet", classes=1).state_dict()))
    network = checkpoint.network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7)
    assert not torch.equal(checkpoint.state["convInit.conv.weight"], network.state_dict()["convInit.conv.weight"])


def test_text_embedding_passes_unnormalised(file) -> None:
    source = build("universal_unetpp")
    rows = F.normalize(torch.randn(32, 512), dim=1) * torch.linspace(8.1, 9.6, 32)[:, None]
    source.organ_embedding.copy_(rows)
    network = load(file(written_as("A", source.state_dict()))).network()
    assert torch.equal(network.organ_embedding, rows)
    with torch.no_grad():
        expected = F.relu(F.linear(rows, source.text_to_vision.weight, source.text_to_vision.bias))
        torch.testing.assert_close(network.class_embedding(), expected)
    assert torch.equal(network.organ_embedding, rows)


def test_digest_is_that_of_the_file_and_epoch_is_a_number_or_nothing(file) -> None:
    path = file({"net": published("suprem_segresnet"), "epoch": np.float64(12), "best": np.float32(0.5)})
    checkpoint = load(str(path))
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (checkpoint.epoch, checkpoint.path) == (12, path)
    assert load(file({"net": published("suprem_segresnet"), "epoch": "last"})).epoch is None
    assert load(file(published("suprem_segresnet"))).epoch is None


# What does not fit


def test_missing_unknown_and_misshapen_weights_are_named_and_counted(file) -> None:
    weights = published("universal_unet")
    for stage in ("down_tr64", "down_tr128", "up_tr64"):
        for part in ("weight", "bias"):
            del weights[f"backbone.{stage}.ops.1.conv1.{part}"]
    weights["backbone.side_branch.weight"] = torch.zeros(1)
    weights["controller.weight"] = torch.zeros(153, 256, 1, 1, 1)
    with pytest.raises(ModelError) as caught:
        load(file(written_as("A", weights)))
    said = str(caught.value)
    assert "universal_unet; 6 missing (backbone.down_tr64.ops.1.conv1.weight" in said
    assert "and 2 more)" in said
    assert "1 unknown (backbone.side_branch.weight)" in said
    assert "controller.weight: 153 x 256 x 1 x 1 x 1 float32 instead of 153 x 512 x 1 x 1 x 1 float32" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conv_final.2.conv.bias", torch.zeros(25, dtype=torch.int64)),
        ("conv_final.2.conv.bias", torch.zeros(25, dtype=torch.complex64)),
        ("conv_final.2.conv.bias", torch.zeros(25).to_sparse()),
        ("conv_final.2.conv.bias", torch.zeros(25, device="meta")),
        ("conv_final.2.conv.weight", torch.zeros(1).expand(10**9, 16, 1, 1, 1)),
    ],
)
def test_a_weight_of_another_kind_is_refused(file, key: str, value: Tensor) -> None:
    weights = published("suprem_segresnet") | {key: value}
    with pytest.raises(ModelError, match=f"of wrong shape or type \\({key}"):
        load(file(weights))


def test_weights_given_with_and_without_backbone_are_refused(file) -> None:
    weights = published("universal_swinunetr")
    weights["encoder1.layer.conv1.conv.weight"] = weights["backbone.encoder1.layer.conv1.conv.weight"]
    with pytest.raises(ModelError, match=r'both as "encoder1.layer.conv1.conv.weight" and as "backbone.encoder1'):
        load(file(weights))


def test_backbone_is_not_added_a_second_time_nor_taken_off(file) -> None:
    weights = {k.replace("backbone.", "backbone.backbone."): v for k, v in published("universal_unet").items()}
    with pytest.raises(ModelError, match="no known network"):
        load(file(weights))


def test_another_network_than_the_expected_is_refused(file) -> None:
    with pytest.raises(ModelError, match="holds the network suprem_segresnet, not universal_unet"):
        load(file(published("suprem_segresnet")), expected="universal_unet")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"backbone.dints_space.cell": torch.zeros(1), "GAP.0.bias": torch.zeros(1)}, "DiNTS"),
        ({"controllers.0.0.weight": torch.zeros(1)}, "controllers.0.0.weight"),
        ({"epoch": 3, "loss": 0.5}, "but epoch, loss"),
        ({"net": {"weight": 3}}, "but weight"),
        ({"net": {0: torch.zeros(1)}}, "but 0"),
        ({}, "but nothing"),
        ([torch.zeros(1)], "but a list"),
        (torch.zeros(3), "but a Tensor"),
    ],
)
def test_files_without_weights_of_a_known_network_are_refused(file, document: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load(file(document))


# What is dangerous or damaged


class Malicious:
    """Makes a folder when it is unpickled, as it could do anything else."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def write_zip(path: Path, document: Any) -> None:
    torch.save(document, path)


def write_legacy(path: Path, document: Any) -> None:
    torch.save(document, path, _use_new_zipfile_serialization=False)


def write_pickle(path: Path, document: Any) -> None:
    path.write_bytes(pickle.dumps(document, protocol=2))


def write_modern_pickle(path: Path, document: Any) -> None:
    path.write_bytes(pickle.dumps(document, protocol=4))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [write_zip, write_legacy, write_pickle, write_modern_pickle])
@pytest.mark.parametrize("where", ["alone", "beside the weights"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, write, where: str) -> None:
    marker, path = tmp_path / "it-ran", tmp_path / "weights.pth"
    code = Malicious(marker)
    write(path, code if where == "alone" else {"net": {"a": torch.zeros(2)}, "epoch": code})
    with pytest.raises(ModelError, match=r"was refused: .* could run code"):
        load(path)
    assert not marker.exists()
    if write is write_pickle and where == "alone":
        pickle.loads(path.read_bytes())
        assert marker.exists(), "the file is not malicious, so this test shows nothing"


def test_a_pickled_network_is_refused_and_the_class_named(file) -> None:
    with pytest.raises(ModelError, match=r"besides weights it asks for torch\.nn\.modules\.linear\.Linear"):
        load(file({"net": nn.Linear(2, 2)}))


@pytest.mark.filterwarnings("ignore:.*TorchScript:UserWarning", "ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "program.pt")
    with pytest.raises(ModelError, match="was refused"):
        load(tmp_path / "program.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.002, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_called_damaged(file, zipped: bool, share: float) -> None:
    path = file({"net": published("suprem_segresnet")}, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match="is damaged or incomplete"):
        load(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged or incomplete"),
        (b"<html>404 not found</html>", "is not a PyTorch checkpoint"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "is not a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is not a PyTorch checkpoint"),
    ],
)
def test_something_else_than_a_checkpoint_is_said_to_be_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load(path)


def test_another_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slices.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("IM0001.dcm", "")
    with pytest.raises(ModelError):
        load(path)


def test_a_file_that_is_missing_or_a_folder_is_said_to_be(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bytes_never_end_in_anything_but_a_model_error(file, zipped: bool) -> None:
    path = file({"net": published("suprem_segresnet")}, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    chance = random.Random(11)
    refused = 0
    for _ in range(25):
        broken = bytearray(content)
        for _ in range(20):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        try:
            load(path)
        except ModelError:
            refused += 1
    assert refused > 10


# Models Genesis as the start


@pytest.fixture
def genesis(file) -> Checkpoint:
    torch.manual_seed(9)
    return load(file({"state_dict": {f"module.{k}": v for k, v in build("genesis_unet3d").state_dict().items()}}))


def test_genesis_initialises_the_universal_unet_with_all_but_its_output_layer(genesis: Checkpoint) -> None:
    model = build("universal_unet")
    heads = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("backbone.")}
    initialise_from_genesis(model, genesis)
    state = model.state_dict()
    copied = [k for k in genesis.state if torch.equal(genesis.state[k], state.get(f"backbone.{k}", torch.empty(0)))]
    assert len(copied) == 104
    assert set(genesis.state) - set(copied) == {"out_tr.final_conv.weight", "out_tr.final_conv.bias"}
    assert all(torch.equal(state[k], heads[k]) for k in heads)


def test_genesis_does_not_initialise_another_network(genesis: Checkpoint, file) -> None:
    with pytest.raises(ModelError, match="cannot initialise this network"):
        initialise_from_genesis(build("universal_unetpp"), genesis)
    with pytest.raises(ModelError, match=r"missing .*activation\.weight"):
        initialise_from_genesis(build("universal_unet", activation="prelu"), genesis)
    other = load(file(published("suprem_segresnet")))
    with pytest.raises(ModelError, match=r"\(suprem_segresnet\) cannot initialise"):
        initialise_from_genesis(build("universal_unet"), other)
