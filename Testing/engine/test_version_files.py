"""A learned starter is a file that both runtimes open and that computes what the network computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from GenesisSegmentLib.core.errors import LearningError, ModelError
from GenesisSegmentLib.core.resources import resource
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.learning.version_files import (
    facts_of_network,
    load_version_network,
    require_agreement,
    write_network,
)
from GenesisSegmentLib.engine.models.catalogue import load_catalogue, read_metadata
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.starter.onnx_file import load_onnx_weights

TEMPLATE = resource("Models/genesis_starter.onnx")
FACTS = read_metadata(resource("Models/genesis_starter.json"))


def learned_starter(classes: int = 32):
    """The starter with every weight moved a little, the norms that the exporter merged among them."""
    network = build("starter", classes=classes)
    state, rng = load_onnx_weights(TEMPLATE), torch.Generator().manual_seed(1)
    rows = state["organ_embedding.weight"]
    state["organ_embedding.weight"] = torch.cat([rows, rows[: classes - len(rows)]])
    state = {k: v + 0.05 * v.abs().mean() * torch.randn(v.shape, generator=rng) for k, v in state.items()}
    network.load_state_dict(state)
    return network.eval()


@pytest.mark.parametrize("classes", [32, 34])
def test_onnx_runtime_computes_what_the_learned_network_computes(tmp_path, classes):
    network = learned_starter(classes)
    path = write_network(network, facts_of_network(FACTS, network, (6,)), tmp_path)
    assert path.suffix == ".onnx"
    image = np.random.default_rng(3).random((1, 1, 16, 24, 32), dtype=np.float32)
    features, numbers = onnxruntime.InferenceSession(str(path)).run(["features", "numbers"], {"image": image})
    with torch.inference_mode():
        true_features, true_numbers = network.features(torch.from_numpy(image))
    assert numbers.shape == (1, classes, 153)
    # Large weights are stored in half precision.
    assert np.abs(features - true_features.numpy()).max() < 5e-3 * true_features.abs().max()
    assert np.abs(numbers - true_numbers.numpy()).max() < 5e-3 * true_numbers.abs().max()
    shipped = onnxruntime.InferenceSession(str(TEMPLATE)).run(["features"], {"image": image})[0]
    assert np.abs(features - shipped).max() > 0.05 * np.abs(shipped).max(), "these are the weights of the template"


def test_the_facts_beside_it_say_what_is_offered_and_how_many_channels_there_are(tmp_path):
    network = learned_starter(33)
    path = write_network(network, facts_of_network(FACTS, network, (11, 6)), tmp_path)
    facts = read_metadata(path.with_suffix(".json"))
    assert facts.offered == (6, 11)
    assert facts.options["classes"] == 33
    assert facts.preprocessing == FACTS.preprocessing
    loaded = load_version_network(path, facts)
    weights = network.state_dict()
    for key, value in loaded.state_dict().items():
        assert torch.allclose(value, weights[key], rtol=1e-3, atol=1e-3), key


def test_other_networks_are_checkpoints(tmp_path):
    network = build("starter", filters=16, blocks_down=(1, 1), embedding="word")
    facts = load_catalogue()["starter"].facts
    path = write_network(network, facts, tmp_path)
    assert path.suffix == ".pt"
    state = network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in load(path).state.items())


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    network = learned_starter()
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(LearningError, match="no numbers"):
        write_network(network, FACTS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    network = learned_starter()
    with torch.no_grad():
        network.controller.weight.view(-1)[0] = 1e6
    with pytest.raises(LearningError, match="too large"):
        write_network(network, FACTS, tmp_path)


def test_a_file_on_which_the_runtimes_differ_is_found_out(tmp_path):
    path = write_network(learned_starter(), FACTS, tmp_path)
    document = onnx.load(str(path))
    merged = {n for node in document.graph.node for n in node.input}
    bias = next(t for t in document.graph.initializer if t.name in merged and tuple(t.dims) == (128, 1, 1, 1))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(document, str(path))
    with pytest.raises(ModelError, match="do not agree"):
        require_agreement(path)
