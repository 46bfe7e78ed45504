"""A whole CT of 300 x 300 x 240 mm with the universal U-Net: the published recipe written plainly, and ours."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import GenesisError
from ...core.geometry import Geometry
from ...core.jobs import Advance, Job
from ...core.segmentation import Segmentation, pack
from ...core.volume import Volume
from ..devices import ThisMachine
from ..inference.paths import PATHS
from ..inference.preprocess import ModelInput, model_input
from ..inference.ring import BitSink, slide
from ..inference.runtimes import TorchRuntime
from ..inference.segmenter import Segmenter
from ..inference.selftest import obstacle
from ..inference.spec import FAST_OVERLAP, Array, ModelSpec, RunOptions, RunResult
from ..inference.sweep import Lattice
from ..networks import build
from ..networks.universal import UniversalModel
from ..open_model import StarterFinder
from ..phantom import phantom_ct, phantom_labels
from .figures import Figure
from .measure import Cost, timed
from .rate import gflop_of, rates
from .setting import Setting
from .tasks import CLASSES, OVERLAP, UNIVERSAL, equal_share, published_head

SPLEEN = 1
_LOWEST_MM = 100.0
"""The scan begins this far above the lower end of the phantom."""
_BOARD_HU, _ORGAN_HU, _MOST_HU = -80, 240, 180
LEAST_EQUAL = 0.999
WEIGHTS = "random weights"


@dataclass(frozen=True, eq=False)
class Abdomen:
    """A part of the phantom between two boards, which are in the published crop: ``ct``, and a spleen denser than all
    else in ``marked``; ``spleen`` is its mask."""

    ct: Volume
    marked: Volume
    spleen: np.ndarray


def abdomen(setting: Setting) -> Abdomen:
    """The same part of the body in voxels of any size."""
    spacing, shape = setting.whole_spacing_mm, setting.whole_shape
    labels, geometry = phantom_labels(spacing)
    voxels = phantom_ct(spacing).voxels
    start = ((labels.shape[0] - shape[0]) // 2, (labels.shape[1] - shape[1]) // 2, round(_LOWEST_MM / spacing))
    index = [np.arange(first, first + side) for first, side in zip(start, shape, strict=True)]
    inside = np.ix_(*(np.clip(i, 0, n - 1) for i, n in zip(index, labels.shape, strict=True)))
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = (matrix @ np.array([*start, 1.0]))[:3]
    place = Geometry(shape, matrix)
    ct, spleen = voxels[inside], labels[inside] == SPLEEN
    ct[:, [0, -1]] = _BOARD_HU
    marked = np.where(spleen, _ORGAN_HU, np.minimum(ct, _MOST_HU)).astype(ct.dtype)
    source = phantom_ct(60.0).source
    return Abdomen(Volume(ct, place, source), Volume(marked, place, source), spleen)


def spec_of(setting: Setting) -> ModelSpec:
    """The universal model, with the setting's window and voxels."""
    side, spacing = setting.whole_window, setting.whole_spacing_mm
    return replace(UNIVERSAL, window=(side, side, side), spacing_mm=(spacing, spacing, spacing))


def universal_network() -> UniversalModel:
    """The universal U-Net with random weights, whose classes differ."""
    torch.manual_seed(0)
    network = build("universal_unet").eval()
    assert isinstance(network, UniversalModel)
    nn.init.normal_(cast(Tensor, network.organ_embedding))
    return network


def published_bits(image: np.ndarray, network: UniversalModel, side: int) -> np.ndarray:
    """Bits (x, y, z) of all classes, as the release makes them, in fp32."""
    from monai.inferers import sliding_window_inference

    with torch.no_grad():
        logits = sliding_window_inference(
            torch.from_numpy(np.ascontiguousarray(image))[None, None],
            (side, side, side),
            1,
            lambda piece: published_head(*network.features(piece)),
            overlap=OVERLAP,
            mode="gaussian",
            sigma_scale=0.125,
        )[0]
        hard = torch.sigmoid(logits) > 0.5
    return pack(zip(CLASSES, hard.numpy(), strict=True), image.shape)  # type: ignore[arg-type]


def runtime_of(network: nn.Module, paths: frozenset[str]) -> TorchRuntime:
    """A runtime that is ready to run by these paths."""
    runtime = TorchRuntime(copy.deepcopy(network), "cpu", Job(), lambda network, advance: paths)
    runtime.prepare(False, lambda share: None)
    return runtime


def our_bits(prepared: ModelInput, runtime: TorchRuntime, lattice: Lattice, job: Job) -> np.ndarray:
    """Bits (x, y, z) of all classes by the fast recipe."""
    sweep = lattice.everywhere()
    sink = BitSink(prepared.image.shape, CLASSES, sweep.box)  # type: ignore[arg-type]
    channels = UNIVERSAL.channels(CLASSES)
    window, overlap = lattice.window, lattice.overlap
    image, told = prepared.image, lambda share: job.check()
    slide(image, runtime, channels, window, overlap, sink, told, False, sweep.chosen, sweep.box)
    return sink.bits


def whole_ct(setting: Setting, job: Job) -> Iterator[Figure]:
    """All classes of a whole CT by more and more of the fast recipe, and one organ of it."""
    scene, spec, network = abdomen(setting), spec_of(setting), universal_network()
    prepared, side = model_input(scene.marked, spec), setting.whole_window
    metric = f"Whole CT, {' x '.join(map(str, setting.whole_shape))}"
    plain, published = timed(lambda: published_bits(prepared.image, network, side), job.check)
    window = (side, side, side)
    count = Lattice(prepared, window, OVERLAP, True).everywhere().windows
    gflop, machine = gflop_of(network, side), rates(setting.conv_side, setting.rounds)
    found: dict[float, tuple[Cost, np.ndarray]] = {}
    for overlap, is_bf16 in ((OVERLAP, False), (FAST_OVERLAP, False), (FAST_OVERLAP, True)):
        paths = _paths(is_bf16)
        if is_bf16 and "bf16" not in paths:
            continue
        lattice = Lattice(prepared, window, overlap, is_published=overlap == OVERLAP)
        windows, runtime = lattice.everywhere().windows, runtime_of(network, paths)
        cost, bits = timed(partial(our_bits, prepared, runtime, lattice, job), job.check)
        same = equal_share(published, bits)
        name = f"{metric}, 32 classes: {'bf16' if is_bf16 else 'fp32'}, overlap {overlap:g}"
        note = f"{count} windows published, {windows} ours; {WEIGHTS}"
        if is_bf16:
            share = equal_share(found[overlap][1], bits)
            note += f"; {share:.6f} of the class bits as in fp32; used only where the self-test finds the same masks"
        floor = windows * gflop / machine.gflop_per_cpu_s(is_bf16)
        target = 12.0 if overlap != OVERLAP else None
        # Other windows give other masks, and random weights have hardly any clear ones.
        least = LEAST_EQUAL if overlap == OVERLAP else 0.0
        yield from _rows(name, plain, cost, same, least, note, target, floor)
        if not is_bf16:
            found[overlap] = cost, bits
    yield _from_overlap(metric, found)
    yield from _one_organ(setting, scene, spec, network, plain, job)


def exact_paths() -> frozenset[str]:
    """The fast paths that are equal to rounding, and that these libraries have."""
    return all_paths() - {"bf16"}


def all_paths() -> frozenset[str]:
    """The fast paths that this processor and these libraries have."""
    return frozenset(path for path in PATHS if not obstacle(path, "cpu"))


def _paths(is_bf16: bool) -> frozenset[str]:
    return all_paths() if is_bf16 else exact_paths()


def _rows(
    name: str, plain: Cost, ours: Cost, same: float, least: float, note: str, target: float | None, floor: float | None
) -> Iterator[Figure]:
    cpu = Figure(name, plain.cpu, ours.cpu, "CPU s", plain.cpu / ours.cpu, same, note, least, target, floor=floor)
    yield cpu
    yield Figure(name, plain.wall, ours.wall, "wall s", plain.wall / ours.wall, same, note, least)


def _from_overlap(metric: str, found: dict[float, tuple[Cost, np.ndarray]]) -> Figure:
    """What fewer windows alone bring, and how much they change."""
    (half, at_half), (quarter, at_quarter) = found[OVERLAP], found[FAST_OVERLAP]
    name = f"{metric}, 32 classes: the part of overlap {FAST_OVERLAP:g} against {OVERLAP:g}, both ours, fp32"
    note = f"agreement: share of equal class bits; {WEIGHTS}, so it says little of trained ones"
    ratio = half.cpu / quarter.cpu
    return Figure(name, half.cpu, quarter.cpu, "CPU s", ratio, equal_share(at_half, at_quarter), note)


class KnownAnswer:
    """A runtime whose network computes, and whose answer is replaced by what is denser than all else.

    Random weights find no organ, and without one there is no place to look at.
    """

    def __init__(self, real: TorchRuntime) -> None:
        self._real = real
        self.device, self.ring_device, self.notes = real.device, real.ring_device, real.notes
        low, high = UNIVERSAL.window_hu
        self._level = np.float32(((_ORGAN_HU + _MOST_HU) / 2 - low) / (high - low))
        self.prepare, self.zeros = real.prepare, real.zeros
        self.to_array, self.to_numpy = real.to_array, real.to_numpy

    def logits(self, window: np.ndarray, channels: tuple[int, ...], advance: Advance = lambda share: None) -> Array:
        """See :class:`..inference.spec.Runtime`."""
        computed = self._real.logits(window, channels, advance)
        known = torch.from_numpy(np.ascontiguousarray(window - self._level))
        return known.expand(computed.shape).clone()


class _Seen:
    """Answers with the truth, or with what the starter says of the unmarked CT."""

    title = "the starter"
    offered: tuple[int, ...] = (SPLEEN,)

    def __init__(self, scene: Abdomen, real: StarterFinder | None) -> None:
        self._scene, self._real = scene, real

    def find(self, volume: Volume, classes: tuple[int, ...], advance: Advance) -> Segmentation:
        """See :class:`..inference.look.Finder`."""
        if self._real is not None:
            return self._real.find(self._scene.ct, classes, advance)
        bits = pack([(SPLEEN, self._scene.spleen)], volume.geometry.shape)
        return Segmentation(bits, volume.geometry, classes)


def _one_organ(
    setting: Setting, scene: Abdomen, spec: ModelSpec, network: UniversalModel, plain: Cost, job: Job
) -> Iterator[Figure]:
    """From the CT to the mask of its spleen: the windows round it alone, and with the coarse look before."""
    rate = rates(setting.conv_side, setting.rounds)
    gflop = gflop_of(network, setting.whole_window, (0,))
    for is_bf16, with_look in ((False, False), (False, True), (True, True)):
        if (with_look and not setting.is_full) or (is_bf16 and "bf16" not in all_paths()):
            continue
        name = (
            f"One organ of a whole CT: {'bf16' if is_bf16 else 'fp32'}, {'with' if with_look else 'without'} the look"
        )
        runtime = KnownAnswer(runtime_of(network, _paths(is_bf16)))
        try:
            finder = _Seen(scene, StarterFinder(Job()) if with_look else None)
            segmenter = Segmenter(spec, lambda device, r=runtime: r, "cpu", ThisMachine(), Job(), finder)  # type: ignore[misc]
            cost, result = timed(partial(_spleen, segmenter, scene.marked), job.check)
        except GenesisError as error:
            yield Figure.not_measured(name, error.what)
            continue
        same = _dice(result.segmentation.mask(SPLEEN), scene.spleen)
        note = f"{result.windows} windows; the network computes ({WEIGHTS}), its answer is replaced by the known one"
        floor = result.windows * gflop / rate.gflop_per_cpu_s(is_bf16)
        yield from _rows(name, plain, cost, same, 0.99, note, 100.0 if with_look else None, floor)


def _spleen(segmenter: Segmenter, volume: Volume) -> RunResult:
    return segmenter.segment(volume, RunOptions(classes=(SPLEEN,)))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    sizes = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(one & other)) / max(1, sizes)
