"""The published recipe, written plainly with MONAI: the yardstick for everything that is faster.

Liu et al., CLIP-Driven Universal Model for Organ Segmentation and Tumor Detection, ICCV 2023, and its release.

It keeps all logits of the volume, their probabilities and the masks in memory at the same time, as the release does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...core.geometry import Geometry
from ...core.jobs import Advance
from ...core.segmentation import bit_of, pack
from ...core.volume import Volume
from ..postprocess import postprocess_bits
from .preprocess import nothing_seen
from .ring import share_of_one, window_count
from .spec import ModelSpec, Runtime

if TYPE_CHECKING:
    from monai.data import MetaTensor
    from monai.transforms import Compose, Transform


def run_published(
    volume: Volume,
    spec: ModelSpec,
    runtime: Runtime,
    classes: tuple[int, ...],
    overlap: float,
    variant: str,
    advance: Callable[[str, float], None],
    asked: tuple[int, ...] | None = None,
) -> tuple[np.ndarray, int]:
    """Bits (i, j, k) on the CT's own grid, and how many windows were run.

    ``classes`` are computed, ``asked`` (all of them by default) are cleaned and returned: the others are their hosts.
    ``advance`` is told the share done of the stages ``network``, ``cleaning`` and ``restoring``, and may raise to stop.
    """
    import torch
    from monai.inferers import sliding_window_inference

    image, recipe = published_input(volume, spec)
    window = spec.window or _whole(image.shape[1:], spec.multiple)
    total, count = window_total(image.shape[1:], window, overlap), 0

    def predict(piece: torch.Tensor) -> torch.Tensor:
        nonlocal count
        within = share_of_one(lambda share: advance("network", share), count, max(total, count + 1))
        logits = runtime.logits(piece[0, 0].numpy(), spec.channels(classes), within)
        count += 1
        advance("network", count / max(total, count))
        return torch.as_tensor(logits)[None].cpu()

    logits = sliding_window_inference(
        image.as_tensor()[None], window, 1, predict, overlap=overlap, mode="gaussian", sigma_scale=0.125
    )[0]
    hard = torch.sigmoid(logits) > 0.5
    bits = pack(zip(classes, hard.numpy(), strict=True), tuple(hard.shape[1:]))  # type: ignore[arg-type]
    asked = classes if asked is None else asked
    bits = postprocess_bits(bits, classes, variant, spec.spacing_mm, asked, advance=partial(advance, "cleaning"))
    return _inverted(bits, asked, image, recipe, volume.geometry, partial(advance, "restoring")), count


def published_input(volume: Volume, spec: ModelSpec) -> tuple[MetaTensor, Compose]:
    """The image (1, X, Y, Z) that the windows are cut from, and the transforms that made it.

    Raises:
        InputError: nothing is left after the crop.
    """
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Compose, CropForeground, Orientation, Spacing

    recipe = Compose(
        [
            Orientation("RAS", labels=None),
            Spacing(spec.spacing_mm, mode="bilinear", padding_mode="border"),
            _scaling(spec),
            CropForeground(select_fn=lambda x: x > 0, margin=0, allow_smaller=True),
        ]
    )
    voxels = torch.from_numpy(np.ascontiguousarray(volume.voxels)).float()[None]
    image = recipe(MetaTensor(voxels, affine=torch.from_numpy(volume.geometry.ijk_to_ras.copy())))
    if image.numel() == 0:
        raise nothing_seen(spec)
    return image, recipe


def _scaling(spec: ModelSpec) -> Transform:
    """The intensity window; piecewise linear for a model that has more than two knots."""
    import torch
    from monai.transforms import Lambda, ScaleIntensityRange

    if len(spec.window_hu) == 2:
        (low, high), (first, last) = spec.window_hu, spec.window_values
        return ScaleIntensityRange(low, high, first, last, clip=True)

    def scale(image: torch.Tensor) -> torch.Tensor:
        values = np.interp(image.numpy(), spec.window_hu, spec.window_values).astype(np.float32)
        image.copy_(torch.from_numpy(values))
        return image

    return Lambda(scale, track_meta=True)


def window_total(shape: tuple[int, ...], window: tuple[int, int, int], overlap: float) -> int:
    """How many windows MONAI will ask for."""
    return window_count(tuple(max(n, w) for n, w in zip(shape, window, strict=True)), window, overlap)  # type: ignore[arg-type]


def _inverted(
    bits: np.ndarray,
    classes: tuple[int, ...],
    image: MetaTensor,
    recipe: Compose,
    native: Geometry,
    advance: Advance,
) -> np.ndarray:
    """Undoes crop, resampling (nearest) and orientation, class by class."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms.utils import convert_applied_interp_mode

    out = np.zeros(native.shape, dtype=bits.dtype)
    for n, index in enumerate(classes):
        advance(n / len(classes))
        bit = bit_of(index)
        mask = MetaTensor(torch.from_numpy(((bits & bit) != 0).astype(np.float32))[None], meta=image.meta)
        mask.applied_operations = convert_applied_interp_mode(image.applied_operations, mode="nearest")
        back = recipe.inverse(mask)[0].numpy() > 0.5
        out |= np.where(back, bit, bit_of())
    return out


def _whole(shape: tuple[int, ...], multiple: int) -> tuple[int, int, int]:
    i, j, k = (-(-n // multiple) * multiple for n in shape)
    return i, j, k
