"""Only known answers give a loss; what nobody reviewed is kept by what the parent says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from GenesisSegmentLib.engine.learning.loss import lesson_loss, partial_label_loss
from GenesisSegmentLib.engine.learning.network import Pupil
from GenesisSegmentLib.engine.learning.pseudo import Parent
from GenesisSegmentLib.engine.learning.sampling import Lesson
from learning_builders import CHANNELS, a_network


def a_lesson(channels=(2,), where=slice(0, 6)) -> Lesson:
    truth = np.zeros((len(channels), 12, 12, 12), dtype=bool)
    truth[0, where] = True
    return Lesson("c", np.zeros((12, 12, 12), np.float32), tuple(channels), truth, truth[0], len(channels))


def test_reviewed_and_pseudo_labels_are_averaged_apart():
    logits, truth = torch.randn(5, 4, 4, 4), torch.rand(5, 4, 4, 4) > 0.5
    found = lesson_loss(logits, truth, 2, pseudo_weight=0.5)
    expected = partial_label_loss(logits[:2], truth[:2].float()) + 0.5 * partial_label_loss(
        logits[2:], truth[2:].float()
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(lesson_loss(logits, truth, 5), partial_label_loss(logits, truth.float()))


def test_a_lesson_without_classes_gives_a_loss_of_zero_that_can_still_be_followed_back():
    logits = torch.randn(0, 4, 4, 4, requires_grad=True)
    loss = lesson_loss(logits, torch.zeros(0, 4, 4, 4), 0)
    loss.backward()
    assert loss.item() == 0


def test_a_class_that_nobody_reviewed_gets_no_gradient():
    network = a_network()
    logits = Pupil(network)(torch.rand(1, 1, 16, 16, 16), [(2,)])
    lesson_loss(logits[0], torch.ones(1, 16, 16, 16), 1).backward()
    rows = network.organ_embedding.weight.grad.abs().sum(dim=1)
    assert rows[2] > 0
    assert rows[[0, 1, 3]].max() == 0


def parent(found: dict[int, slice], kept=(0, 1, 2, 3), most=6) -> Parent:
    """One that finds given slabs along the first axis."""

    def forward(image):
        logits = torch.full((len(kept), 12, 12, 12), -1.0)
        for channel, where in found.items():
            logits[kept.index(channel), where] = 1.0
        return logits

    return Parent(a_network(), CHANNELS, kept, most, seed=0, forward=forward)


def test_reviewed_masks_overrule_what_the_parent_says():
    taught = parent({0: slice(3, 9), 2: slice(0, 12), 3: slice(3, 9)}).teach(a_lesson(), 0)
    assert taught.channels[0] == 2
    assert taught.reviewed == 1
    assert np.array_equal(taught.truth[0], a_lesson().truth[0])
    masks = dict(zip(taught.channels[1:], taught.truth[1:], strict=True))
    assert set(masks) == {0, 1, 3}  # the parent has no say in the liver
    assert not masks[0][:6].any()  # the spleen where the person painted liver
    assert masks[0][6:9].all()
    assert masks[3][3:9].all()  # a tumour of the liver lies in the liver


def test_what_the_parent_has_not_learned_is_not_taught():
    taught = parent({0: slice(3, 9)}, kept=(0, 3)).teach(a_lesson(), 0)
    assert set(taught.channels) == {2, 0, 3}
    assert parent({}, kept=()).teach(a_lesson(), 0).channels == (2,)


def test_of_many_classes_those_that_the_parent_finds_come_first():
    for number in range(6):
        taught = parent({1: slice(6, 12)}, most=1).teach(a_lesson(), number)
        assert taught.channels == (2, 1)


def test_a_real_parent_says_what_it_predicts():
    network = a_network()
    lesson = a_lesson((0,))
    image = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    lesson = Lesson("c", image, (0,), np.zeros((1, 16, 16, 16), bool), np.zeros((16, 16, 16), bool), 1)
    taught = Parent(network, CHANNELS, (0, 1, 2, 3), 6, 0).teach(lesson, 0)
    with torch.no_grad():
        said = (network(torch.from_numpy(image)[None, None])[0] > 0).numpy()
    for channel, mask in zip(taught.channels[1:], taught.truth[1:], strict=True):
        assert np.array_equal(mask, said[channel])
    assert len(taught.channels) == 4


@pytest.mark.parametrize("backbone", ["segresnet", "unet"])
def test_logits_while_learning_are_those_of_the_network(backbone):
    network = a_network(backbone)
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(Pupil(network)(image, [(1, 3)])[0], network(image, (1, 3))[0])
