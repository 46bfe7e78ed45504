"""Runs the cases of the benchmark in turn."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from typing import cast

import numpy as np

from ...core.errors import ModelError
from ...core.jobs import Job
from ...core.segmentation import Segmentation
from .figures import Figure
from .measure import memory_figure, race
from .setting import Setting

Case = Callable[[Setting, Job], list[Figure]]
TARGETS = {"channels_last": 2.4, "bf16": 4.5}
"""How many times less processor time a window is to take by the fast paths up to this one."""


def run(setting: Setting, job: Job, is_learning: bool = False) -> list[Figure]:
    """Every figure, case by case; with ``is_learning`` those of learning alone.

    Raises:
        Cancelled: by the job.
        InputError: the CT of the setting cannot be used.
    """
    cases = {learning: 1.0} if is_learning else CASES
    job.plan({case.__name__: weight for case, weight in cases.items()})
    figures: list[Figure] = []
    for case in cases:
        job.advance(case.__name__, 0.0)
        figures += case(setting, job)
        job.advance(case.__name__, 1.0)
    return figures


def conv_rate(setting: Setting, job: Job) -> list[Figure]:
    """What the machine itself reaches in a large 3-D convolution: the floor of all network times in this run."""
    import torch

    side = setting.conv_side
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(64, 64, 3, padding=1, bias=False)
    image = torch.rand(1, 64, side, side, side)
    last = image.contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        found = race(lambda: conv(image), lambda: conv(last), setting.rounds, job.check)
    gflop = 2 * 64 * 64 * 27 * side**3 / 1e9
    rates = gflop / found.plain.wall, gflop / found.ours.wall
    note = "convolution 64 to 64 channels, fp32; ours: channels last"
    same = _share_close(found.plain_result, found.our_result)
    return [Figure(f"3-D convolution, {side}^3", *rates, "GFLOP/s", rates[1] / rates[0], same, note, 0.9999)]


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
    from ..phantom import phantom_ct
    from . import tasks

    job.check()
    published, ours = tasks.window_counts(phantom_ct(setting.resample_phantom_mm))
    note = "same grid, crop and places as published; windows without a body are left out"
    return [Figure("Universal model, phantom, windows run", published, ours, "windows", published / ours, None, note)]


def network(setting: Setting, job: Job) -> list[Figure]:
    """One window of the universal U-Net with all classes: as published, and by more and more of the fast paths.

    The weights are random, so masks are compared at the median logit of each class.
    """
    import torch

    from ..inference.paths import PATHS, arrange, forward
    from ..inference.selftest import LEAST_DICE, Trial, judge, obstacle, sample_window
    from ..networks import build
    from ..networks.universal import UniversalModel
    from .tasks import published_head

    torch.manual_seed(0)
    plain = cast(UniversalModel, build("universal_unet").eval())
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
        least = LEAST_DICE if verdict.is_on else 0.0
        figures += found.figures(metric, verdict.agreement, least, note, TARGETS.get(name))
    return figures


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


def learning(setting: Setting, job: Job) -> list[Figure]:
    """A step of learning."""
    from .learning import learning as measured

    return measured(setting, job)


CASES: dict[Case, float] = {conv_rate: 3, head: 12, windows: 25, resampling: 20, lattice: 5, network: 30, starter: 10}
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
