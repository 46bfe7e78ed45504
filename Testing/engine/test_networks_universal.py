"""The head of the Universal Model against a second implementation: a loop over items and classes."""

from __future__ import annotations

from threading import Thread

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from GenesisSegmentLib.engine.networks import universal
from GenesisSegmentLib.engine.networks.universal import UniversalModel, apply_head

CLASSES = 32


class Given(nn.Module):
    """A backbone whose outputs are fixed."""

    deep_channels = 32
    feat_channels = 16

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.deep = torch.randn(batch, self.deep_channels, 2, 3, 1, dtype=torch.float64)
        self.feat = torch.randn(batch, self.feat_channels, 5, 4, 3, dtype=torch.float64)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.deep, self.feat


def looped_head(state: dict[str, Tensor], deep: Tensor, feat: Tensor, text: Tensor) -> Tensor:
    """The published head, one item and one class after the other; ``text`` has one row of 256 per class."""
    items = []
    for item in range(len(deep)):
        x = F.group_norm(deep[item : item + 1], 16, state["GAP.0.weight"], state["GAP.0.bias"], eps=1e-5)
        context = F.conv3d(F.relu(x).mean((2, 3, 4), keepdim=True), state["GAP.3.weight"], state["GAP.3.bias"])
        x = F.group_norm(feat[item : item + 1], 16, state["precls_conv.0.weight"], state["precls_conv.0.bias"])
        features = F.conv3d(F.relu(x), state["precls_conv.2.weight"], state["precls_conv.2.bias"])
        logits = []
        for row in text:
            both = torch.cat([context, row.reshape(1, 256, 1, 1, 1)], dim=1)
            p = F.conv3d(both, state["controller.weight"], state["controller.bias"]).flatten()
            y = F.relu(F.conv3d(features, p[0:64].reshape(8, 8, 1, 1, 1), p[136:144]))
            y = F.relu(F.conv3d(y, p[64:128].reshape(8, 8, 1, 1, 1), p[144:152]))
            logits.append(F.conv3d(y, p[128:136].reshape(1, 8, 1, 1, 1), p[152:153]))
        items.append(torch.cat(logits, dim=1))
    return torch.cat(items)


def text_rows(state: dict[str, Tensor]) -> Tensor:
    if "organ_embedding.weight" in state:
        return state["organ_embedding.weight"]
    return F.relu(state["organ_embedding"] @ state["text_to_vision.weight"].T + state["text_to_vision.bias"])


@pytest.fixture(params=["word", "random"])
def model(request: pytest.FixtureRequest) -> UniversalModel:
    torch.manual_seed(3)
    network = UniversalModel(Given(batch=2), CLASSES, request.param).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    if request.param == "word":
        # Rows as long as the published ones, which are not normalised.
        rows = torch.randn(CLASSES, 512, dtype=torch.float64)
        network.organ_embedding.copy_(
            rows / rows.norm(dim=1, keepdim=True) * torch.linspace(8.1, 9.6, CLASSES)[:, None]
        )
    return network


def test_head_equals_a_loop_over_classes(model: UniversalModel) -> None:
    state = model.state_dict()
    expected = looped_head(state, model.backbone.deep, model.backbone.feat, text_rows(state))
    with torch.no_grad():
        logits = model(torch.empty(0))
    assert logits.shape == (2, CLASSES, 5, 4, 3)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


def test_text_rows_are_used_as_they_are_and_not_normalised(model: UniversalModel) -> None:
    if model.embedding != "word":
        return
    state = model.state_dict()
    shortened = dict(state, organ_embedding=F.normalize(state["organ_embedding"], dim=1))
    other = looped_head(state, model.backbone.deep, model.backbone.feat, text_rows(shortened))
    with torch.no_grad():
        logits = model(torch.empty(0))
    assert (logits - other).abs().max() > 0.1 * logits.abs().max()


def test_asked_channels_are_those_of_the_full_output_in_the_asked_order(model: UniversalModel) -> None:
    with torch.no_grad():
        full = model(torch.empty(0))
        some = model(torch.empty(0), channels=(31, 5, 0))
    torch.testing.assert_close(some, full[:, [31, 5, 0]], rtol=1e-9, atol=1e-9)


def test_head_in_pieces_equals_the_head_at_once_and_with_gradients(monkeypatch) -> None:
    monkeypatch.setattr(universal, "_CHUNK_VOXELS", 7)
    torch.manual_seed(0)
    features = torch.randn(2, 8, 5, 4, 3, dtype=torch.float64)
    numbers = torch.randn(2, 7, 153, dtype=torch.float64, requires_grad=True)
    whole = apply_head(features, numbers)
    with torch.no_grad():
        pieces = apply_head(features, numbers)
    torch.testing.assert_close(pieces, whole.detach(), rtol=1e-9, atol=1e-9)
    whole.sum().backward()
    assert torch.isfinite(numbers.grad).all()
    assert (numbers.grad[:, :, 152] == 60).all()  # The last bias reaches each of the 60 voxels once.


def test_head_leaves_threads_to_those_who_come_after() -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            apply_head(torch.randn(1, 8, 4, 4, 4), torch.randn(1, 2, 153))
        later = Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen == [2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_head_works_in_inference_mode_too() -> None:
    features, numbers = torch.randn(1, 8, 4, 4, 4), torch.randn(1, 2, 153)
    with torch.no_grad():
        expected = apply_head(features, numbers)
    with torch.inference_mode():
        assert torch.equal(apply_head(features.clone(), numbers.clone()), expected)


def test_head_of_bfloat16_is_computed_in_single_precision() -> None:
    features, numbers = torch.randn(1, 8, 4, 4, 4).bfloat16(), torch.randn(1, 2, 153).bfloat16()
    with torch.no_grad():
        found = apply_head(features, numbers)
        assert torch.equal(found, apply_head(features.float(), numbers.float()))


def test_items_of_a_batch_have_their_own_class_weights(model: UniversalModel) -> None:
    backbone = model.backbone
    with torch.no_grad():
        both = model(torch.empty(0))
        backbone.deep, backbone.feat = backbone.deep[1:], backbone.feat[1:]
        alone = model(torch.empty(0))
    torch.testing.assert_close(both[1:], alone, rtol=1e-9, atol=1e-9)
