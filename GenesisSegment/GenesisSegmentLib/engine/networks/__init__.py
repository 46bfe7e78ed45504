"""The networks, by name: ``build("universal_unet", classes=32)``.

Importing this package loads no deep-learning library; building a network does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...core.errors import ModelError
from ...core.i18n import _

if TYPE_CHECKING:
    from torch import nn

    from .unet3d import Activation
    from .universal import Embedding

UNIVERSAL_BACKBONES = ("unet", "swinunetr", "unetpp")

_CHOICES = {"embedding": ("word", "random"), "activation": ("relu", "prelu", "elu")}


def build(name: str, **options: Any) -> nn.Module:
    """A network with fresh weights. Its state-dict keys and their order are those of the published files.

    ``universal`` takes ``backbone`` ("unet", "swinunetr" or "unetpp") and is then ``universal_<backbone>``. Options
    that are not given have the values of the published network; :func:`options_of` lists them.

    Raises:
        ModelError: the name, an option or its value does not exist; says which do.
    """
    if name == "universal":
        name = _universal_name(options.pop("backbone", "unet"))
    known = options_of(name)
    for option in options:
        if option not in known:
            raise ModelError(
                _('The network {name} has no option "{option}".').format(name=name, option=option),
                _("It has: {names}.").format(names=", ".join(known)),
            )
    for option in options.keys() & _CHOICES.keys():
        _check_choice(name, option, options[option])
    classes = options.get("classes", 1)
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise ModelError(
            _("A network cannot have {classes} classes.").format(classes=repr(classes)),
            _("Give a whole number of at least 1."),
        )
    try:
        return _BUILDERS[name](**options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise ModelError(
            _("The network {name} cannot be built with {given}: {reason}.").format(
                name=name, given=given, reason=error
            ),
            _("Change the options."),
        ) from error


def names() -> tuple[str, ...]:
    """Every name that :func:`build` knows, besides ``universal``."""
    return tuple(_BUILDERS)


def options_of(name: str) -> dict[str, Any]:
    """The options of a network and the values they have when they are not given.

    Raises:
        ModelError: the name does not exist.
    """
    if name not in _BUILDERS:
        known = ", ".join(("universal", *_BUILDERS))
        raise ModelError(
            _('There is no network "{name}".').format(name=name), _("Choose from: {known}.").format(known=known)
        )
    return {option: p.default for option, p in inspect.signature(_BUILDERS[name]).parameters.items()}


def _check_choice(name: str, option: str, value: Any) -> None:
    if value not in _CHOICES[option]:
        raise ModelError(
            _('The network {name} knows no {option} "{value}".').format(name=name, option=option, value=value),
            _("Choose from: {names}.").format(names=", ".join(_CHOICES[option])),
        )


def _universal_name(backbone: str) -> str:
    if backbone not in UNIVERSAL_BACKBONES:
        raise ModelError(
            _('The Universal Model has no backbone "{backbone}".').format(backbone=backbone),
            _("Choose from: {names}.").format(names=", ".join(UNIVERSAL_BACKBONES)),
        )
    return f"universal_{backbone}"


def _universal_unet(classes: int = 32, embedding: Embedding = "word", activation: Activation = "relu") -> nn.Module:
    from .unet3d import UNet3dBackbone
    from .universal import UniversalModel

    return UniversalModel(UNet3dBackbone(activation), classes, embedding)


def _universal_swinunetr(classes: int = 32, embedding: Embedding = "word") -> nn.Module:
    from .swin_unetr import SwinUNETRBackbone
    from .universal import UniversalModel

    return UniversalModel(SwinUNETRBackbone(), classes, embedding)


def _universal_unetpp(classes: int = 32, embedding: Embedding = "word") -> nn.Module:
    from .unetpp import UNetPlusPlusBackbone
    from .universal import UniversalModel

    return UniversalModel(UNetPlusPlusBackbone(), classes, embedding)


def _starter(
    classes: int = 32,
    embedding: Embedding = "random",
    filters: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
) -> nn.Module:
    from .starter import SegResNetBackbone
    from .universal import UniversalModel

    return UniversalModel(SegResNetBackbone(filters, tuple(blocks_down)), classes, embedding)


def _genesis_starter(filters: int = 16, blocks_down: Sequence[int] = (1, 2, 2, 4)) -> nn.Module:
    from .starter import GenesisStarter

    return GenesisStarter(filters, tuple(blocks_down))


def _genesis_unet3d(classes: int = 1, activation: Activation = "relu") -> nn.Module:
    from .unet3d import GenesisUNet3d

    return GenesisUNet3d(classes, activation)


def _genesis_nnunet(classes: int = 2, base: int = 32) -> nn.Module:
    from .genesis_nnunet import GenesisNNUNet

    return GenesisNNUNet(classes, base)


def _unetpp(
    classes: int = 2,
    deep_supervision: bool = False,
    level: int = 4,
    heads: Sequence[int] | None = None,
    features: Sequence[int] = (32, 32, 64, 128, 256, 32),
) -> nn.Module:
    from .unetpp import UNetPlusPlus

    return UNetPlusPlus(classes, deep_supervision, level, heads, features)


def _unetpp_nnunet(
    classes: int = 3,
    deep_supervision: bool = False,
    level: int = 5,
    heads: Sequence[int] | None = None,
    base: int = 32,
) -> nn.Module:
    from .unetpp_nnunet import UNetPlusPlusNNUNet

    return UNetPlusPlusNNUNet(classes, deep_supervision, level, heads, base)


def _suprem_segresnet(classes: int = 25) -> nn.Module:
    from .suprem_segresnet import SuPreMSegResNet

    return SuPreMSegResNet(classes)


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "universal_unet": _universal_unet,
    "universal_swinunetr": _universal_swinunetr,
    "universal_unetpp": _universal_unetpp,
    "genesis_unet3d": _genesis_unet3d,
    "genesis_nnunet": _genesis_nnunet,
    "unetpp": _unetpp,
    "unetpp_nnunet": _unetpp_nnunet,
    "suprem_segresnet": _suprem_segresnet,
    "starter": _starter,
    "genesis_starter": _genesis_starter,
}
