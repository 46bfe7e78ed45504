"""Reads the published checkpoints, and our own: restricted loading, every key layout, an exact fit or none.

Only weights are read. A file that asks for anything beyond tensors and plain numbers is refused before any of it runs.
"""

from __future__ import annotations

import math
import numbers
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from ..core.i18n import _
from .models.cache import model_digest
from .networks import build, options_of
from .networks.recognise import recognise

Layout = Literal["A", "B", "C", "genesis", "plain"]
"""How the keys of the Universal Model were written: A with ``module.backbone.``, B without ``backbone.``, C without
``module.``. "genesis" is the Genesis U-Net, "plain" any other network."""

_SAFE_TORCH = (2, 6)
_WRAPPERS = ("net", "state_dict")
_UNIVERSAL_HEADS = ("precls_conv.", "GAP.", "controller.", "organ_embedding", "text_to_vision.")
_BACKBONE_PART = re.compile(r"(swinViT|encoder\d+|decoder\d+|(down|up)_tr\d+|conv_\d_0|upcat_\d_\d)\.")
_DAMAGE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    struct.error,
    OverflowError,
)
_NAMED = 4
_MOST_NUMBERS = 10**9
_SIZES = {"filters", "base", "blocks_down", "features"}
"""Options that decide how large a network is."""
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights of a known network, checked key by key.

    ``architecture`` and ``options`` are what :func:`~.networks.build` takes. ``state`` has our keys in our order;
    ``sha256`` is that of the file; ``epoch`` is None where the file states none.
    """

    path: Path
    architecture: str
    options: Mapping[str, Any]
    layout: Layout
    state: Mapping[str, Tensor]
    epoch: int | None
    sha256: str

    def network(self) -> nn.Module:
        """The network with a copy of these weights, on the CPU, in evaluation mode."""
        network = build(self.architecture, **self.options)
        network.load_state_dict(dict(self.state), strict=True)
        return network.eval()


def load(path: str | Path, expected: str | None = None) -> Checkpoint:
    """Reads a checkpoint file; ``expected`` is the name of the network that it should be, when the caller knows.

    The file may be a bare state dict or hold one under ``net`` or ``state_dict``, in any layout. Keys and shapes must
    be those of the network, without exception.

    Raises:
        ModelError: the file is missing, damaged or unsafe, or does not fit a network; says how.
    """
    path = Path(path)
    digest = model_digest(path)
    document = _read(path)
    weights = _weights_of(path, document)
    try:
        weights, layout = normalise(weights)
        architecture, options = recognise(weights)
        reference = _shapes(architecture, options)
    except ModelError as error:
        raise ModelError(_("{path} cannot be used. {why}").format(path=path, why=error.what), error.remedy) from error
    if expected is not None and architecture != expected:
        raise ModelError(
            _("{path} holds the network {architecture}, not {expected}.").format(
                path=path, architecture=architecture, expected=expected
            ),
            _("Choose the file that belongs to this model."),
        )
    _require_fit(str(path), architecture, reference, weights)
    _require_sane(str(path), {key: weights[key] for key in reference})
    return Checkpoint(
        path=path,
        architecture=architecture,
        options=options,
        layout="genesis" if architecture == "genesis_unet3d" else layout,
        state={key: weights[key].detach() for key in reference},
        epoch=_epoch_of(document),
        sha256=digest,
    )


def normalise(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Layout]:
    """Our keys for weights in layout A, B or C, and which of them it was ("plain" without a universal head).

    ``module.`` is dropped where every key has it, however often; ``backbone.`` is added to a key of a universal
    model's backbone that lacks it.

    Raises:
        ModelError: a weight is there twice, with and without ``backbone.``.
    """
    wrapped = False
    while weights and all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
        wrapped = True
    if not any(key.startswith(_UNIVERSAL_HEADS) for key in weights):
        return dict(weights), "plain"
    named = {key: f"backbone.{key}" if _BACKBONE_PART.match(key) else key for key in weights}
    for key, name in named.items():
        if name != key and name in weights:
            raise ModelError(
                _('It has a weight both as "{key}" and as "{name}".').format(key=key, name=name),
                _("Use the file as it was published."),
            )
    inserted = any(name != key for key, name in named.items())
    return {named[key]: value for key, value in weights.items()}, "B" if inserted else "A" if wrapped else "C"


def initialise_from_genesis(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Copies what Models Genesis pre-trained, all but the output layer ``out_tr``, into a model's backbone.

    The Genesis U-Net fits the Universal U-Net, ``genesis_starter`` the starter.

    Raises:
        ModelError: the checkpoint is neither, or the model's backbone is another.
    """
    from .networks.starter import SegResNetBackbone
    from .networks.unet3d import UNet3dBackbone

    fitting: dict[str, type[nn.Module]] = {
        "genesis_unet3d": UNet3dBackbone,
        "genesis_starter": SegResNetBackbone,
    }
    backbone = getattr(model, "backbone", None)
    if checkpoint.architecture not in fitting or not isinstance(backbone, fitting[checkpoint.architecture]):
        raise ModelError(
            _("{path} ({architecture}) cannot initialise this network.").format(
                path=checkpoint.path, architecture=checkpoint.architecture
            ),
            _(
                "Models Genesis weights of its 3-D U-Net fit the Universal Model with the U-Net backbone; those "
                "of the starter's backbone fit the starter."
            ),
        )
    weights = {key: value for key, value in checkpoint.state.items() if not key.startswith("out_tr.")}
    _require_fit(str(checkpoint.path), checkpoint.architecture, backbone.state_dict(), weights)
    backbone.load_state_dict(weights, strict=True)


def _read(path: Path) -> Any:
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < _SAFE_TORCH:
        raise ModelError(
            _("PyTorch {version} cannot load a checkpoint safely (CVE-2025-32434).").format(version=torch.__version__),
            _("Install PyTorch 2.6 or newer."),
        )
    try:
        with torch.serialization.safe_globals(_number_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except _DAMAGE as error:
        if str(error).startswith("Cannot use ``weights_only"):
            raise _refusal(path, str(error)) from error
        raise ModelError(
            _("{path} is damaged or incomplete: it could not be read as a checkpoint.").format(path=path),
            _("Download or copy it again."),
        ) from error


def _number_types() -> list[Any]:
    """What NumPy numbers in a checkpoint (a loss, an epoch) are made of: each holds a number and runs nothing."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(code)) for code in ("f8", "f4", "i8", "i4", "?")]
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]


def _refusal(path: Path, message: str) -> ModelError:
    """Says why the restricted loader did not go on, from what PyTorch says about it."""
    wanted = re.search(r"GLOBAL (\S+)", message)
    with path.open("rb") as stream:
        head = stream.read(2)
    if wanted:
        why = _("besides weights it asks for {wanted}, and loading that could run code").format(wanted=wanted[1])
    elif head == b"PK" or head[:1] == b"\x80":
        why = _("it holds something other than weights, and loading that could run code")
    else:
        return ModelError(
            _("{path} is not a PyTorch checkpoint.").format(path=path),
            _("Choose a .pth, .pt or .model file with weights."),
        )
    return ModelError(
        _("{path} was refused: {why}.").format(path=path, why=why),
        _("Use the publisher's file; if it is your own, save its state dict alone."),
    )


def _weights_of(path: Path, document: Any) -> dict[str, Tensor]:
    """The state dict of a document: the document itself, or what it wraps."""
    if isinstance(document, Mapping):
        wrapped = [document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping)]
        state = wrapped[0] if wrapped else document
        if state and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
            return dict(state)
        entries = ", ".join(map(str, list(state)[:_NAMED])) or "nothing"
    else:
        entries = f"a {type(document).__name__}"
    raise ModelError(
        _("{path} does not hold the weights of a network, but {entries}.").format(path=path, entries=entries),
        _("Choose another file."),
    )


def _epoch_of(document: Any) -> int | None:
    epoch = document.get("epoch")
    known = isinstance(epoch, numbers.Real) and not isinstance(epoch, bool) and math.isfinite(epoch)
    return int(float(epoch)) if known else None


def _require_fit(
    source: str, architecture: str, reference: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Raises a ModelError that names what is missing, unknown or of a wrong shape, unless all fits exactly."""
    wrong = [
        f"{key}: {_describe(weights[key])} instead of {_describe(value)}"
        for key, value in reference.items()
        if key in weights and not _alike(weights[key], value)
    ]
    faults = (
        _count([key for key in reference if key not in weights], "missing"),
        _count([key for key in weights if key not in reference], "unknown"),
        _count(wrong, "of wrong shape or type"),
    )
    if any(faults):
        raise ModelError(
            _("{source} does not fit the network {architecture}; {faults}.").format(
                source=source, architecture=architecture, faults="; ".join(filter(None, faults))
            ),
            _("It is damaged or belongs to another network: download it again or choose another file."),
        )


def _shapes(architecture: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a network, without their memory where a file asks for another size than the published one."""
    published = options_of(architecture)
    is_published = all(options.get(name, published[name]) == published[name] for name in _SIZES & published.keys())
    # Not always without memory: MONAI's Swin transformer cannot be built so, and the first time takes over a second.
    with torch.device("cpu" if is_published else "meta"):
        return build(architecture, **options).state_dict()


def _require_sane(source: str, weights: Mapping[str, Tensor]) -> None:
    """Raises a ModelError where the network is far too large, which a tiny file may ask for, or its weights no numbers.

    The running statistics of batch norms are not looked at: the networks that have them do without them.
    """
    numbers = sum(weight.numel() for weight in weights.values())
    if numbers > _MOST_NUMBERS:
        raise ModelError(
            _("{source} asks for a network of {count} billion weights; known ones have up to 0.1 billion.").format(
                source=source, count=f"{numbers / 1e9:.0f}"
            ),
            _("Choose a file from a publisher that you trust."),
        )
    bad = [
        key
        for key, weight in weights.items()
        if weight.is_floating_point() and not key.endswith(_STATISTICS) and not weight.isfinite().all()
    ]
    if bad:
        raise ModelError(
            _("{source} has weights that are not finite numbers: {damaged}.").format(
                source=source, damaged=_count(bad, "damaged")
            ),
            _("Its training failed or the file is damaged: download it again or choose another file."),
        )


def _alike(weight: Tensor, reference: Tensor) -> bool:
    plain = weight.layout == torch.strided and weight.device.type == "cpu"
    same_kind = weight.is_floating_point() == reference.is_floating_point() and not weight.is_complex()
    return plain and same_kind and weight.shape == reference.shape


def _describe(weight: Tensor) -> str:
    return f"{' x '.join(map(str, weight.shape)) or 'one number'} {str(weight.dtype).removeprefix('torch.')}"


def _count(entries: list[str], fault: str) -> str:
    if not entries:
        return ""
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return f"{len(entries)} {fault} ({', '.join(entries[:_NAMED])}{more})"
