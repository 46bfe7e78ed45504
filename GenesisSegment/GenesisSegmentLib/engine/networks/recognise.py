"""Which network a set of weights belongs to, read off the names and shapes of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ...core.errors import ModelError
from ...core.i18n import _
from . import names

Weights = Mapping[str, Tensor]
Options = dict[str, Any]

_LARGEST_OPTION = 10_000


def recognise(weights: Weights) -> tuple[str, Options]:
    """The name and the options for :func:`~.build` of the network whose weights these seem to be.

    Only marks are looked at: whether every key and shape is right is for the caller to compare. ReLU and ELU have no
    weights; ReLU, which is published, is assumed.

    Raises:
        ModelError: no network here has such weights.
    """
    for mark, name, options in _MARKS:
        if any(key.startswith(mark) for key in weights):
            return name, options(weights)
    if any(key.startswith("backbone.dints_space.") for key in weights):
        raise ModelError(
            _("These are weights of the Universal Model with a DiNTS backbone, which GenesisSegment does not have."),
            _("Use the checkpoint with the U-Net or the Swin UNETR backbone."),
        )
    raise ModelError(
        _("These are weights of no known network; they begin with {names}.").format(names=", ".join(list(weights)[:3])),
        _("Known are: {known}.").format(known=", ".join(names())),
    )


def _rows(weights: Weights, key: str) -> int | None:
    """Length of the first axis of a weight, if it is there and of a sane size."""
    value = weights.get(key)
    if value is None or value.ndim == 0 or not 1 <= value.shape[0] <= _LARGEST_OPTION:
        return None
    return int(value.shape[0])


def _given(**options: Any) -> Options:
    """Only the options that could be read; the others keep their published values."""
    return {name: value for name, value in options.items() if value is not None}


def _counts(weights: Weights, pattern: str) -> tuple[int, ...]:
    """The numbers that a key pattern with one group meets, ascending."""
    return tuple(sorted({int(m[1]) for m in map(re.compile(pattern).match, weights) if m}))


def _universal(weights: Weights) -> Options:
    if "organ_embedding.weight" in weights:
        return _given(classes=_rows(weights, "organ_embedding.weight"), embedding="random")
    return _given(classes=_rows(weights, "organ_embedding"), embedding="word")


def _prelu(weights: Weights) -> str | None:
    return "prelu" if any(key.endswith(".activation.weight") for key in weights) else None


def _universal_unet(weights: Weights) -> Options:
    return _universal(weights) | _given(activation=_prelu(weights))


def _segresnet(weights: Weights, prefix: str) -> Options:
    keys = [re.match(rf"{re.escape(prefix)}down_layers\.(\d+)\.(\d+)\.norm1\.weight", key) for key in weights]
    stages = [int(m[1]) for m in keys if m]
    blocks = tuple(stages.count(i) for i in range(max(stages, default=0) + 1))
    filters = _rows(weights, f"{prefix}convInit.conv.weight")
    return _given(filters=filters, blocks_down=blocks if len(blocks) > 1 else None)


def _starter(weights: Weights) -> Options:
    return _universal(weights) | _segresnet(weights, "backbone.net.")


def _genesis_starter(weights: Weights) -> Options:
    return _segresnet(weights, "net.")


def _genesis_unet3d(weights: Weights) -> Options:
    return _given(classes=_rows(weights, "out_tr.final_conv.weight"), activation=_prelu(weights))


def _genesis_nnunet(weights: Weights) -> Options:
    base = _rows(weights, "conv_blocks_context.0.blocks.0.conv.weight")
    return _given(classes=_rows(weights, "seg_outputs.4.weight"), base=base)


def _unetpp(weights: Weights) -> Options:
    heads = tuple(j for j in _counts(weights, r"final_conv_0_(\d)\.weight") if 1 <= j <= 4)
    if not heads:
        return {}
    level = heads[-1]
    return _given(
        classes=_rows(weights, f"final_conv_0_{level}.weight"),
        level=level,
        heads=heads,
        features=_unetpp_features(weights),
    )


def _unetpp_features(weights: Weights) -> tuple[int, ...] | None:
    """Channels of X(0,0) .. X(4,0) and of X(0,4). A pruned network has no use for those beyond its level: the last."""
    first = [_rows(weights, "conv_0_0.conv_0.conv.weight")]
    found = first + [_rows(weights, f"conv_{i}_0.convs.conv_0.conv.weight") for i in range(1, 5)]
    known = [count for count in found if count is not None]
    if not known or first[0] is None:
        return None
    known += [known[-1]] * (len(found) - len(known))
    return (*known, _rows(weights, "upcat_0_4.convs.conv_0.conv.weight") or known[0])


def _unetpp_nnunet(weights: Weights) -> Options:
    base = _rows(weights, "conv_blocks_context.0.blocks.0.conv.weight")
    heads = tuple(sorted(5 - n for n in _counts(weights, r"seg_outputs\.(\d)\.weight") if n < 5))
    if not heads:
        return _given(base=base)
    level = heads[-1]
    return _given(
        classes=_rows(weights, f"seg_outputs.{5 - level}.weight"),
        level=level,
        heads=heads,
        base=base,
    )


def _suprem_segresnet(weights: Weights) -> Options:
    return _given(classes=_rows(weights, "conv_final.2.conv.weight"))


_MARKS: tuple[tuple[str, str, Callable[[Weights], Options]], ...] = (
    ("backbone.swinViT.", "universal_swinunetr", _universal),
    ("backbone.down_tr64.", "universal_unet", _universal_unet),
    ("backbone.conv_0_0.", "universal_unetpp", _universal),
    ("backbone.net.", "starter", _starter),
    ("net.convInit.", "genesis_starter", _genesis_starter),
    ("down_tr64.", "genesis_unet3d", _genesis_unet3d),
    ("conv_0_0.", "unetpp", _unetpp),
    ("loc4.", "unetpp_nnunet", _unetpp_nnunet),
    ("conv_blocks_localization.", "genesis_nnunet", _genesis_nnunet),
    ("up_samples.", "suprem_segresnet", _suprem_segresnet),
)
