"""Runs the cases of the benchmark in turn."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError, ModelError
from ...core.jobs import Job
from ...core.segmentation import Segmentation
from .figures import Figure
from .measure import memory_figure, race
from .setting import Setting

if TYPE_CHECKING:
    from torch import Tensor

Case = Callable[[Setting, Job], Iterable[Figure]]
TARGETS = {"channels_last": 2.4, "bf16": 4.5}
"""How many times less processor time a window is to take by the fast paths up to this one."""
LOGITS_DIFFER = 1e-5
"""Largest difference of logits that is aimed at in fp32, as a share of the largest."""


def run(
    setting: Setting,
    job: Job,
    is_learning: bool = False,
    only: Sequence[str] = (),
    tell: Callable[[Sequence[Figure]], None] = lambda figures: None,
) -> list[Figure]:
    """Every figure, case by case; with ``is_learning`` those of learning alone, with ``only`` those of these cases.

    ``tell`` is given all figures so far whenever there is a new one.

    Raises:
        Cancelled: by the job.
        InputError: the CT of the setting cannot be used, or a case does not exist.
    """
    cases = _chosen({learning: 1.0} if is_learning else CASES, only)
    job.plan({case.__name__: weight for case, weight in cases.items()})
    figures: list[Figure] = []
    for case in cases:
        job.advance(case.__name__, 0.0)
        for figure in case(setting, job):
            figures.append(figure)
            tell(figures)
        job.advance(case.__name__, 1.0)
    return figures


def _chosen(cases: dict[Case, float], only: Sequence[str]) -> dict[Case, float]:
    names = [case.__name__ for case in cases]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise InputError(f"There is no case {', '.join(unknown)}.", f"There are: {', '.join(names)}.")
    return {case: weight for case, weight in cases.items() if not only or case.__name__ in only}


def conv_rate(setting: Setting, job: Job) -> list[Figure]:
    """What the machine itself reaches in a large 3-D convolution: the floor of all network times in this run."""
    from .rate import rates

    job.check()
    found, metric = rates(setting.conv_side, setting.rounds), f"3-D convolution, {setting.conv_side}^3"
    wall = [found.gflop / cost.wall for cost in (found.plain, found.last, found.bf16)]
    cpu = [found.gflop / cost.cpu for cost in (found.plain, found.last, found.bf16)]
    note = "convolution 64 to 64 channels, fp32; ours: channels last"
    low = "the same in bfloat16, channels last"
    return [
        Figure(metric, wall[0], wall[1], "GFLOP/s", wall[1] / wall[0], found.share_equal, note, 0.9999),
        Figure(metric, cpu[0], cpu[1], "GFLOP/CPU s", cpu[1] / cpu[0], found.share_equal, note, 0.9999),
        Figure(f"{metric}, bf16", cpu[0], cpu[2], "GFLOP/CPU s", cpu[2] / cpu[0], None, low),
    ]


def head(setting: Setting, job: Job) -> list[Figure]:
    """The universal head on one window."""
    import torch

    from ..networks.universal import HEAD_NUMBERS, HEAD_WIDTH, apply_head
    from .tasks import CLASSES, published_head

    torch.manual_seed(0)
    side = setting.head_side
    features = torch.randn(1, HEAD_WIDTH, side, side, side)
    all_numbers = torch.randn(1, len(CLASSES), HEAD_NUMBERS)
    figures = []
    with torch.no_grad():
        for wanted, target in ((len(CLASSES), 20.0), (5, 50.0)):
            numbers = all_numbers[:, :wanted]
            # The published network computes all classes, however few are wanted.
            found = race(
                lambda: published_head(features, all_numbers),
                lambda n=numbers: apply_head(features, n),  # type: ignore[misc]
                setting.rounds,
                job.check,
            )
            same = _share_close(found.plain_result[:, :wanted], found.our_result)
            note = "published: features copied per class, grouped convolutions"
            figures += found.figures(f"Universal head, {wanted} classes, {side}^3", same, 0.99999, note, target)
    return figures


def windows(setting: Setting, job: Job) -> list[Figure]:
    """Blending windows to masks, with a stand-in for the network."""
    from . import tasks

    image = tasks.aggregate_image(setting)
    found = race(
        lambda: tasks.aggregate_by_monai(image, setting),
        lambda: tasks.aggregate_by_ring(image, setting),
        setting.rounds,
        job.check,
    )
    same = tasks.equal_share(found.plain_result, found.our_result)
    metric = f"Windows to masks, 32 classes, {' x '.join(map(str, setting.aggregate_shape))}"
    memory = memory_figure(metric, ("aggregate-monai", "aggregate-ring"), setting, job.check, 8.0)
    return [*found.figures(metric, same, 0.999999, "published: MONAI's sliding window, sigmoid, threshold"), memory]


def resampling(setting: Setting, job: Job) -> list[Figure]:
    """From the CT to the input of the universal model."""
    from . import tasks

    volume = tasks.a_ct(setting, setting.resample_phantom_mm)
    found = race(lambda: tasks.input_by_monai(volume), lambda: tasks.input_by_ours(volume), setting.rounds, job.check)
    same = tasks.equal_input_share(found.plain_result, found.our_result)
    metric = f"CT {' x '.join(map(str, volume.voxels.shape))} to 1.5 mm"
    note = "published: MONAI transforms; agreement: voxels within 1 HU"
    memory = memory_figure(metric, ("resample-monai", "resample-ours"), setting, job.check, 20.0)
    return [*found.figures(metric, same, 0.999, note, 10.0), memory]


def lattice(setting: Setting, job: Job) -> list[Figure]:
    """How many windows the universal model takes on the phantom."""
    from ..inference.spec import FAST_OVERLAP
    from ..phantom import phantom_ct
    from . import tasks

    job.check()
    published, same, ours = tasks.window_counts(phantom_ct(setting.resample_phantom_mm))
    metric = "Universal model, phantom, windows run"
    places = "same grid, crop and places as published; windows without a body are left out"
    fewer = f"laid over the body, overlap {FAST_OVERLAP:g}: the default"
    return [
        Figure(f"{metric} at the published overlap", published, same, "windows", published / same, None, places),
        Figure(metric, published, ours, "windows", published / ours, None, fewer),
    ]


def network(setting: Setting, job: Job) -> list[Figure]:
    """One window of the universal U-Net with all classes: as published, and by more and more of the fast paths.

    The weights are random, so masks are compared at the median logit of each class.
    """
    import torch

    from ..inference.paths import PATHS, arrange, forward
    from ..inference.selftest import LEAST_DICE, Trial, judge, obstacle, sample_window
    from .rate import gflop_of, rates
    from .tasks import published_head
    from .whole import universal_network

    plain = universal_network()
    gflop, machine = gflop_of(plain, setting.window_side), rates(setting.conv_side, setting.rounds)
    image = torch.from_numpy(sample_window(setting.window_side))[None, None]
    figures = []
    for n, name in enumerate(PATHS, 1):
        if any(obstacle(path, "cpu") for path in PATHS[:n]):
            continue
        paths, fast = frozenset(PATHS[:n]), copy.deepcopy(plain)
        arrange(fast, paths)
        with torch.no_grad():
            found = race(
                lambda: published_head(*plain.features(image)),
                lambda f=fast, p=paths: forward(f, image, None, p),  # type: ignore[misc]
                setting.rounds,
                job.check,
            )
        middle = found.plain_result[0].flatten(1).median(dim=1)[0][:, None, None, None]
        one, other = (Trial((logits[0] - middle).numpy(), 1.0) for logits in (found.plain_result, found.our_result))
        verdict = judge(name, one, other, found.plain.cpu / found.ours.cpu)
        metric = f"Universal U-Net, 32 classes, one window {setting.window_side}^3, {' + '.join(PATHS[:n])}"
        note = f"{'on' if verdict.is_on else 'off'}: {verdict.why}"
        # Of bfloat16 alone it is expected that it may differ, and then it is off; the others are equal to rounding.
        least = LEAST_DICE if verdict.is_on or "bf16" not in paths else 0.0
        floor = gflop / machine.gflop_per_cpu_s("bf16" in paths)
        cpu, wall = found.figures(metric, verdict.agreement, least, note, TARGETS.get(name))
        figures += [replace(cpu, floor=floor), wall]
        if name == "channels_last":
            figures.append(_logit_difference(metric, found.plain_result, found.our_result))
    metric = f"Universal U-Net, 32 classes, one window {setting.window_side}^3, fp32"
    return [*figures, memory_figure(metric, ("window-published", "window-ours"), setting, job.check)]


def _logit_difference(metric: str, plain: Tensor, ours: Tensor) -> Figure:
    """The largest difference of two logits, as a share of the largest logit."""
    largest = float((plain - ours).abs().max() / plain.abs().max())
    return Figure(
        f"{metric}: largest difference of logits", None, largest, "of the largest", None, None, limit=LOGITS_DIFFER
    )


def starter(setting: Setting, job: Job) -> list[Figure]:
    """A whole CT with the starter: both runtimes, and the published recipe."""
    from ..models.store import ModelStore
    from .tasks import a_ct

    metric = "Starter, whole CT"
    try:
        model = ModelStore.of_this_person().resolve("starter")
    except ModelError as error:
        return [Figure.not_measured(metric, error.what)]
    if importlib.util.find_spec("onnx") is None:
        return [Figure.not_measured(metric, "the package onnx is not installed, which torch needs to read the starter")]
    from ..inference.spec import RunOptions
    from ..open_model import open_segmenter

    volume = a_ct(setting, setting.scan_phantom_mm)
    by_torch = open_segmenter(model, Job(), runtime="torch", device="cpu")
    by_onnx = open_segmenter(model, Job(), runtime="onnx", device="cpu")
    runtimes = race(
        lambda: by_torch.segment(volume, RunOptions()).segmentation,
        lambda: by_onnx.segment(volume, RunOptions()).segmentation,
        setting.rounds,
        job.check,
    )
    same = mean_dice(runtimes.plain_result, runtimes.our_result)
    figures = runtimes.figures(f"{metric}: torch, ONNX Runtime", same, 0.99, "same recipe")
    recipes = race(
        lambda: by_torch.segment(volume, RunOptions(recipe="published")).segmentation,
        lambda: by_onnx.segment(volume, RunOptions()).segmentation,
        setting.rounds,
        job.check,
    )
    same = mean_dice(recipes.plain_result, recipes.our_result)
    note = "ours smooths before and interpolates after: not meant to be equal"
    return [*figures, *recipes.figures(f"{metric}: published recipe, ours", same, 0.0, note)]


def whole_ct(setting: Setting, job: Job) -> Iterable[Figure]:
    """A whole CT, and one organ of it, with the universal U-Net."""
    from .whole import whole_ct as measured

    return measured(setting, job)


def starter_ct(setting: Setting, job: Job) -> Iterable[Figure]:
    """The starter on a large CT, up to its files."""
    from .starter_ct import starter_ct as measured

    return measured(setting, job)


def growth(setting: Setting, job: Job) -> Iterable[Figure]:
    """Time and memory against windows, voxels and classes."""
    from .growth import growth as measured

    return measured(setting, job)


def levels(setting: Setting, job: Job) -> Iterable[Figure]:
    """UNet++ at its levels."""
    from .levels import levels as measured

    return measured(setting, job)


def masks_back(setting: Setting, job: Job) -> Iterable[Figure]:
    """From logits on a coarse grid to masks on the CT's own."""
    from .voxels import masks_back as measured

    return measured(setting, job)


def islands(setting: Setting, job: Job) -> Iterable[Figure]:
    """The largest piece of every organ."""
    from .voxels import islands as measured

    return measured(setting, job)


def refining(setting: Setting, job: Job) -> Iterable[Figure]:
    """What a prompt does, and how long a person waits for it."""
    from .refining import refining as measured

    return measured(setting, job)


def synthesis(setting: Setting, job: Job) -> Iterable[Figure]:
    """Synthetic lesions, and their texture."""
    from .synthesis import synthesis as measured

    return measured(setting, job)


def learning(setting: Setting, job: Job) -> list[Figure]:
    """A step of learning."""
    from .learning import learning as measured

    return measured(setting, job)


CASES: dict[Case, float] = {
    conv_rate: 3,
    head: 12,
    windows: 25,
    resampling: 20,
    masks_back: 10,
    islands: 10,
    lattice: 5,
    network: 30,
    levels: 10,
    starter: 10,
    starter_ct: 10,
    refining: 10,
    synthesis: 10,
    growth: 20,
    whole_ct: 60,
}
"""The cases, with the share of the time that each takes."""


def mean_dice(one: Segmentation, other: Segmentation) -> float:
    """The mean over the classes that either found; 1 where neither found any."""
    found = []
    for index in sorted({*one.present(), *other.present()}):
        a, b = one.mask(index), other.mask(index)
        found.append(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
    return float(np.mean(found)) if found else 1.0


def _share_close(one, other) -> float:  # type: ignore[no-untyped-def]
    """The share of numbers of two tensors that are equal to 1e-5 of the largest."""
    limit = 1e-5 * float(one.abs().max())
    return float(((one - other).abs() <= limit).double().mean())
