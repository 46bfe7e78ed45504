"""Which fast paths may be used: each is tried on one window, on this very device, against the plain network.

A path is on only if its masks are those of the plain fp32 forward of the network in use, and if it pays. The verdicts
are remembered per machine, device, model and library versions in the user's data folder.
"""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import OutputError
from ...core.jobs import Advance
from .paths import PATHS, PLAIN, arrange, forward, stages_to_fold
from .verdicts import PathVerdict, VerdictFile, passed

if TYPE_CHECKING:
    import torch

LEAST_DICE = 0.999
SMALLEST_MASK = 50
"""Masks of fewer voxels say nothing about a path."""
LARGEST_DIFFERENCE = 1e-3
"""Between fp32 logits, as a share of the largest logit."""
LEAST_SPEEDUP = 1.05
_SIDE = {"cpu": 48, "cuda": 96}
_REPEATS = 2
_BODY_MM = 230.0
_FAILED = "it failed here"


@dataclass(frozen=True, eq=False)
class Trial:
    """One way to run the network on the test window: its logits (n, X, Y, Z) and seconds."""

    logits: np.ndarray
    seconds: float


def fast_paths(
    network: torch.nn.Module,
    model: str,
    device: str,
    file: VerdictFile | None = None,
    advance: Advance = lambda share: None,
) -> tuple[PathVerdict, ...]:
    """The verdict on every path for ``network`` on ``device``, remembered or found out now, in some seconds.

    ``model`` names the weights (a checksum, say); ``advance`` is called before every forward, so only where something
    is to be found out. The network is left on the device, in evaluation mode and plain.
    """
    file = file or VerdictFile()
    key = f"{model} | {_machine(device)}"
    verdicts = file.all().get(key)
    if verdicts is None or tuple(v.name for v in verdicts) != PATHS:  # remembered before there was a path
        verdicts = try_paths(network, device, advance)
        if not any(v.why.startswith(_FAILED) for v in verdicts):  # memory may have been short just now
            with suppress(OutputError):  # without a place to keep it, it is found out again the next time
                file.remember(key, verdicts)
    return verdicts


def try_paths(network: torch.nn.Module, device: str, advance: Advance = lambda share: None) -> tuple[PathVerdict, ...]:
    """Tries every path on top of those that passed before it; ``advance`` is called before every forward."""
    network.to(device).eval()
    side = _SIDE[device.partition(":")[0]]
    multiple = getattr(getattr(network, "backbone", network), "multiple", 32)
    image = sample_window(-(-side // multiple) * multiple)
    obstacles = {name: obstacle(name, device) or idle(name, network) for name in PATHS}
    tried = [name for name in PATHS if not obstacles[name]]
    verdicts: list[PathVerdict] = []
    try:
        for name in PATHS:
            if why := obstacles[name]:
                verdicts.append(PathVerdict(name, False, why))
                continue
            before = passed(verdicts)
            tell = partial(_part, advance, tried.index(name), len(tried))
            try:
                plain, without, with_it = trials(network, image, device, tell, (PLAIN, before, before | {name}))
            except RuntimeError as error:
                verdicts.append(PathVerdict(name, False, f"{_FAILED}: {str(error).splitlines()[0]}"))
                continue
            verdicts.append(judge(name, plain, with_it, without.seconds / with_it.seconds))
    finally:
        arrange(network, PLAIN)
    return tuple(verdicts)


def judge(name: str, plain: Trial, tried: Trial, speedup: float) -> PathVerdict:
    """Compares a path with the plain network; ``speedup`` is what it brings."""
    agreement = lowest_dice(plain.logits, tried.logits)
    verdict = PathVerdict(name, False, "", round(speedup, 3), agreement)
    difference = float(np.abs(tried.logits - plain.logits).max() / max(float(np.abs(plain.logits).max()), 1e-9))
    if not np.isfinite(difference):
        return replace(verdict, why="its logits are not finite")
    if name != "bf16" and difference > LARGEST_DIFFERENCE:
        return replace(verdict, why=f"its logits differ by {difference:.1e} of the largest")
    if name == "bf16" and agreement is None:
        return replace(verdict, why="the test window shows no structure to compare")
    if agreement is not None and agreement < LEAST_DICE:
        return replace(verdict, why=f"its masks differ (Dice {agreement:.4f})")
    if speedup < LEAST_SPEEDUP:
        return replace(verdict, why=f"it does not pay here ({speedup:.2f} times as fast)")
    same = "masks agree" if agreement is None else f"masks agree, Dice {agreement:.4f}"
    return replace(verdict, is_on=True, why=f"{speedup:.2f} times as fast, {same}")


def lowest_dice(one: np.ndarray, other: np.ndarray) -> float | None:
    """The lowest Dice of the classes whose masks, logits (n, X, Y, Z) above 0, are large enough to say something."""
    found = []
    for a, b in zip(one > 0, other > 0, strict=True):
        sizes = np.count_nonzero(a), np.count_nonzero(b)
        if max(sizes) >= SMALLEST_MASK:
            found.append(float(2 * np.count_nonzero(a & b) / sum(sizes)))
    return min(found) if found else None


def idle(name: str, network: torch.nn.Module) -> str | None:
    """Why a path has nothing to do in a network."""
    if name == "folded" and not stages_to_fold(network):
        return "this network has no convolutions that can be folded"
    return None


def obstacle(name: str, device: str) -> str | None:
    """Why a path is not even tried on this device with these libraries: known faults, missing arithmetic."""
    import torch

    is_gpu = device.startswith("cuda")
    fault = known_fault(name, torch.__version__, torch.backends.cudnn.version() if is_gpu else None)
    if fault or name != "bf16":
        return fault
    if is_gpu:
        return None if torch.cuda.get_device_capability(device) >= (8, 0) else "this GPU has no bfloat16 arithmetic"
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return None if has_avx512 else "this processor has no fast bfloat16 arithmetic"


def known_fault(name: str, torch_version: str, cudnn: int | None) -> str | None:
    """Why a pair of libraries is not trusted: PyTorch 2.9 at all, cuDNN before 9.15 with bfloat16 from PyTorch 2.9 on.

    ``cudnn`` is its version as an integer (91002 is 9.10.2), None on the CPU. The faults are wrong results of large
    convolutions and several times the memory (pytorch issues 163539, 166643, 166790).
    """
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    if (major, minor) == (2, 9):
        return f"PyTorch {torch_version} has faulty 3-D convolutions"
    if name == "bf16" and cudnn is not None and (major, minor) >= (2, 9) and cudnn < 91500:
        return f"cuDNN {cudnn} gives wrong results in bfloat16 with PyTorch {torch_version}"
    return None


def sample_window(side: int) -> np.ndarray:
    """A window float32 (side, side, side) in 0..1 from the middle of the phantom: organs, fat, bone and gas."""
    from ..phantom import phantom_ct

    voxels = phantom_ct(_BODY_MM / side).voxels
    first = [(n - side) // 2 for n in voxels.shape]
    window = voxels[tuple(slice(f, f + side) for f in first)]
    return np.clip((window.astype(np.float32) + 175) / 425, 0, 1)


def trials(
    network: torch.nn.Module,
    window: np.ndarray,
    device: str,
    advance: Advance,
    ways: tuple[frozenset[str], ...],
) -> list[Trial]:
    """Every way in turn, and all again; the shortest time counts. CPU seconds on the CPU, where others work too."""
    import torch

    is_gpu = device.startswith("cuda")
    clock = time.perf_counter if is_gpu else time.process_time
    image = torch.from_numpy(window)[None, None].to(device)
    best: dict[frozenset[str], Trial] = {}
    order = (*ways, *(ways[1:] * (_REPEATS - 1)))
    for n, paths in enumerate(order):
        advance(n / len(order))
        arrange(network, paths)
        started = clock()
        logits = forward(network, image, None, paths)[0]
        if is_gpu:
            torch.cuda.synchronize(device)
        seconds = max(clock() - started, 1e-6)
        if paths not in best or seconds < best[paths].seconds:
            best[paths] = Trial(logits.cpu().numpy(), seconds)
    return [best[paths] for paths in ways]


def _part(advance: Advance, n: int, parts: int, share: float) -> None:
    """Tells that ``share`` of part ``n`` is done."""
    advance((n + share) / parts)


def _machine(device: str) -> str:
    """What a verdict holds for beside the model: processor or GPU, and the libraries that compute."""
    import torch

    is_gpu = device.startswith("cuda")
    title = torch.cuda.get_device_name(device) if is_gpu else platform.processor() or platform.machine()
    cudnn = f", cuDNN {torch.backends.cudnn.version()}" if is_gpu else ""
    return f"{platform.node()}, {title} | PyTorch {torch.__version__}{cudnn}"
