"""The registry of networks, and the names and shapes of their weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.networks import build, names, options_of

KEYS = Path(__file__).resolve().parents[1] / "data" / "keys"

PARAMETERS = {
    "universal_unet": 19_416_417,
    "universal_swinunetr": 62_595_315,
    "universal_unetpp": 7_256_161,
    "genesis_unet3d": 19_073_665,
    "genesis_nnunet": 30_785_184,
    "unetpp_nnunet": 45_966_784,
    "suprem_segresnet": 4_701_305,
}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_weights_have_the_published_names_shapes_order_and_count(name: str) -> None:
    published = json.loads((KEYS / f"{name}_keys.json").read_text())
    network = build(name)
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert list(ours.items()) == list(published.items())
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_random_embedding_has_no_text_branch_and_its_key_comes_last() -> None:
    word = list(build("universal_unetpp").state_dict())
    random = build("universal_unetpp", embedding="random", classes=9).state_dict()
    assert list(random) == [
        *(k for k in word if k != "organ_embedding" and not k.startswith("text_to_vision")),
        "organ_embedding.weight",
    ]
    assert random["organ_embedding.weight"].shape == (9, 256)


@pytest.mark.parametrize("backbone", ["unet", "unetpp"])
def test_universal_takes_its_backbone_as_an_option(backbone: str) -> None:
    general = build("universal", backbone=backbone, classes=25)
    assert list(general.state_dict()) == list(build(f"universal_{backbone}").state_dict())
    assert general.classes == 25


def test_every_name_is_built_with_the_options_it_states() -> None:
    assert set(PARAMETERS) | {"unetpp", "starter", "genesis_starter"} == set(names())
    for name in ("starter", "genesis_starter", "unetpp", "suprem_segresnet"):
        assert build(name, **options_of(name)).state_dict().keys() == build(name).state_dict().keys()


def test_the_starter_is_a_small_residual_network_under_the_universal_head() -> None:
    network = build("starter", blocks_down=[1, 1]).eval()
    assert network.backbone.multiple == 2
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 4, 4, 6)).shape == (1, 32, 4, 4, 6)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("unet", {}, "universal_unet, universal_swinunetr"),
        ("universal", {"backbone": "dints"}, "unet, swinunetr, unetpp"),
        ("universal_unet", {"clases": 32}, "classes, embedding, activation"),
        ("universal_swinunetr", {"activation": "relu"}, "classes, embedding"),
        ("universal_unet", {"embedding": "clip"}, "word, random"),
        ("genesis_unet3d", {"activation": "gelu"}, "relu, prelu, elu"),
        ("universal_unet", {"classes": 0}, "at least 1"),
        ("unetpp", {"level": 5}, "level from 1 to 4"),
        ("unetpp_nnunet", {"level": 2, "heads": (1,)}, "with 2 among them"),
        ("starter", {"filters": 5}, "Change the options"),
    ],
)
def test_a_wrong_name_or_option_is_refused_and_says_what_exists(name: str, options: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build(name, **options)


def test_importing_the_package_loads_no_deep_learning_library() -> None:
    program = (
        "import sys, GenesisSegmentLib.engine.networks as n\n"
        "assert n.options_of('universal_unet')['classes'] == 32\n"
        "print(sorted({'torch', 'monai', 'numpy'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr
