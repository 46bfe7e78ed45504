"""Channels have names; new ones come behind the others and change nothing about them."""

from __future__ import annotations

import pytest
import torch

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.learning.channels import Channels, widened
from learning_builders import CHANNELS, LABELS, a_network

STANDARD = Channels.of_classes()


def test_the_classes_of_the_table_have_their_published_channels():
    assert len(STANDARD) == 32
    assert (STANDARD.channel("spleen"), STANDARD.channel("kidney_right"), STANDARD.channel("kidney_cyst")) == (0, 1, 31)


def test_structures_of_ones_own_come_behind_in_the_order_they_were_added():
    wider = STANDARD.extended(["sarcoma", "liver"]).extended(["femur head", "sarcoma"])
    assert (wider.channel("sarcoma"), wider.channel("femur head")) == (32, 33)
    assert wider.own() == ("sarcoma", "femur head")
    with pytest.raises(InputError, match="femur"):
        STANDARD.channel("femur head")


def test_a_model_with_other_classes_keeps_its_own_order():
    few = Channels.of_classes((8, 4, 3), own=("sarcoma",))
    assert few.channel("gall_bladder") == 1
    assert few.extended(["spleen"]).channel("spleen") == 4


@pytest.mark.parametrize("embedding", ["random", "word"])
@pytest.mark.parametrize("backbone", ["segresnet", "unet"])
def test_new_channels_leave_the_logits_of_the_others_the_same_to_the_bit(backbone, embedding):
    network = a_network(backbone, embedding=embedding)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wide = widened(network, len(LABELS) + 3)
    image = torch.rand(1, 1, 16, 16, 24)
    with torch.no_grad():
        old, new = network(image), wide(image)
    assert new.shape[1] == len(LABELS) + 3
    assert torch.equal(new[:, : len(LABELS)], old)
    assert not any(torch.equal(new[:, n], old[:, k]) for n in range(len(LABELS), 7) for k in range(len(LABELS)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_no_more_structures_are_learned_than_can_be_drawn():
    most = STANDARD.extended(f"own {n}" for n in range(32))
    assert len(most) == 64
    assert most.extended(["own 3", "liver"]) == most
    with pytest.raises(InputError, match="32 structures of your own; with these it would have 33"):
        most.extended(["one more"])


def test_a_new_row_of_text_features_is_at_right_angles_to_all_others():
    network = a_network(embedding="word")
    rows = widened(network, 7).organ_embedding.double()
    cosines = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T
    assert cosines[4:, :4].abs().max() < 1e-5
    assert cosines[4:, 4:].fill_diagonal_(0).abs().max() < 1e-5
    assert rows[4:].norm(dim=1) == pytest.approx(rows[:4].norm(dim=1).mean().item(), rel=1e-4)


def test_a_new_row_of_a_learned_embedding_is_learned_too():
    wide = widened(a_network(), 5)
    assert wide.organ_embedding.weight.requires_grad
    assert "organ_embedding.weight" in dict(wide.named_parameters())


def test_a_network_is_not_narrowed():
    with pytest.raises(InputError):
        widened(a_network(), 2)


@pytest.mark.parametrize(
    ("kept", "reviewed", "is_cleared"),
    [
        ("spleen", "liver", True),
        ("liver", "liver_tumor", False),  # the lesion lies in its host
        ("liver_tumor", "liver", False),
        ("spleen", "liver_tumor", True),
        ("liver_tumor", "spleen", True),
        ("hepatic_vessel", "liver", False),
        ("kidney_tumor", "kidney_cyst", False),
        ("sarcoma", "liver", False),
        ("liver", "sarcoma", False),
    ],
)
def test_which_classes_exclude_each_other(kept, reviewed, is_cleared):
    channels = STANDARD.extended(["sarcoma"])
    assert channels.cleared_by(channels.channel(kept), channels.channel(reviewed)) is is_cleared


def test_the_tests_have_names_for_their_channels():
    assert CHANNELS.labels == LABELS
