"""``python -m GenesisSegmentLib.engine.studies.lesions``: synthetic lung lesions only against marked ones only.

The same small network learns for the same number of steps: once from lesions planted on the fly into open CTs that
nobody marked, once from the marked tumours of the other patients. Both are measured on the tumour of a patient who was
kept apart, and on planted lesions of known size in a CT that neither learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

from ...core.errors import GenesisError
from ...core.files import atomic_file
from ..clicking.lesions import plant_lesion
from ..components import components, touching
from ..learning.loss import partial_label_loss
from ..pace import share_of_rate
from .lesion_report import draw, report
from .lesion_scans import MARKED, SPACING, Scan, judging_scan, marked_scans, open_scans
from .records import kept
from .trainer import repeatable

SIDE = 32
WITH_LESION = 0.75
"""Share of crops that hold a lesion, or lie around one."""
FOUND_SHARE = 0.1
"""A lesion is found if so much of it is marked."""
LEAST_VOXELS = 4
"""A finding is at least so large."""
PLANTED = 40
"""Lesions to measure by size, each in a crop of its own."""
WAYS = ("synthetic", "marked")
_LEARNING_RATE = 2e-3
_CHANNELS = (8, 16, 32, 64)


@dataclass(frozen=True)
class Found:
    """A lesion that was looked for: ``mm`` is the diameter of a ball of its volume."""

    scan: str
    mm: float
    is_found: bool
    dice: float


@dataclass(frozen=True)
class LesionRun:
    """One training. ``away`` is the patient kept apart, or ``all`` where no marked one was learnt from.

    ``lesions`` are marked ones and ``planted`` ones as dictionaries of :class:`Found`. ``false_findings`` are those
    that touch no lesion, by scan.
    """

    way: str
    away: str
    seed: int
    steps: int
    loss: float
    lesions: list[dict] = field(default_factory=list)
    planted: list[dict] = field(default_factory=list)
    false_findings: dict[str, int] = field(default_factory=dict)


class Study:
    """The CTs, read when they are first needed."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @cached_property
    def marked(self) -> dict[str, Scan]:
        """By patient."""
        return {scan.name: scan for scan in marked_scans(self._data)}

    @cached_property
    def open(self) -> Sequence[Scan]:
        """Without marks."""
        return open_scans(self._data)

    @cached_property
    def judge(self) -> Scan:
        """Kept out of all training."""
        return judging_scan(self._data)

    def run(self, way: str, away: str, seed: int, steps: int) -> LesionRun:
        """Trains and measures."""
        with repeatable(seed):
            network = make_network()
            scans = self.open if way == "synthetic" else [s for name, s in self.marked.items() if name != away]
            loss = train(network, crops(scans, np.random.default_rng(seed)), steps)
            lesions: list[dict] = []
            false: dict[str, int] = {}
            for scan in [s for name, s in self.marked.items() if away in (name, "all")]:
                found, count = measured(network, scan)
                lesions += [vars(each) for each in found]
                false[scan.name] = count
            false[self.judge.name] = measured(network, self.judge)[1]
            planted = [vars(each) for each in planted_found(network, self.judge)]
        return LesionRun(way, away, seed, steps, loss, lesions, planted, false)


def make_network() -> nn.Module:
    """MONAI's residual U-Net, small: logits of one class. It works at 6 mm and below, which takes seconds a run."""
    from monai.networks.nets import UNet

    norm = ("instance", {"affine": True})
    return UNet(3, 1, 1, channels=_CHANNELS, strides=(2, 2, 2), num_res_units=1, norm=norm)


def intensities(ct: np.ndarray, near: np.ndarray) -> np.ndarray:
    """-1000 to 400 HU as -1 to 1, float32; air where it is not ``near`` lungs, bool."""
    return np.where(near, np.clip((ct.astype(np.float32) + 300) / 700, -1, 1), -1).astype(np.float32)


def crops(scans: Sequence[Scan], rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image float32, lesion bool and where that is known, (32, 32, 32), without end.

    A lesion is planted where a scan has none.
    """
    while True:
        scan = scans[int(rng.integers(len(scans)))]
        is_wanted = rng.uniform() < WITH_LESION
        ct, near, lungs, lesion, unsure = cut(scan, _middle(scan, is_wanted, rng))
        hu = ct.astype(np.float32)
        if is_wanted and not scan.lesion.any():
            hu, lesion = plant_lesion(hu, lungs, SPACING, True, rng)
        lesion = lesion & near
        known = near & (lesion | ~unsure)
        if not known.any():
            continue
        image = intensities(hu + rng.normal(0, 20) + rng.normal(0, rng.uniform(0, 25), hu.shape), near)
        flips = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _axis in range(3))
        yield tuple(np.ascontiguousarray(array[flips]) for array in (image, lesion, known))  # type: ignore[misc]


def _middle(scan: Scan, is_wanted: bool, rng: np.random.Generator) -> tuple[int, ...]:
    region = scan.lesion if is_wanted and scan.lesion.any() else scan.lungs
    place = np.unravel_index(int(rng.choice(np.flatnonzero(region))), region.shape)
    return tuple(int(p) + int(rng.integers(-8, 9)) for p in place)


def cut(scan: Scan, middle: tuple[int, ...]) -> list[np.ndarray]:
    """CT, where lungs are near, lungs, lesion and what is unsure, (32, 32, 32) around a voxel; air beyond the scan."""
    start = [m - SIDE // 2 for m in middle]
    low = [max(0, s) for s in start]
    high = [min(n, s + SIDE) for s, n in zip(start, scan.ct.shape, strict=True)]
    target = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    parts = []
    for array in (scan.ct, scan.near, scan.lungs, scan.lesion, scan.unsure):
        part = np.full((SIDE,) * 3, -1024 if array is scan.ct else False, array.dtype)
        part[target] = array[source]
        parts.append(part)
    return parts


def train(network: nn.Module, material: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], steps: int) -> float:
    """Trains in place, one crop a step; the mean loss of the last tenth."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
    network.train()
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * share_of_rate(step, step / steps)
        image, lesion, known = next(material)
        logits = network(torch.from_numpy(image)[None, None])[0, :1, torch.from_numpy(known)]
        loss = partial_label_loss(logits, torch.from_numpy(lesion[known]).float()[None])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    network.eval()
    return float(np.mean(losses[-max(1, steps // 10) :]))


@torch.no_grad()
def predicted(network: nn.Module, ct: np.ndarray, near: np.ndarray) -> np.ndarray:
    """What is called a lesion in a CT or a crop of it, bool."""
    padded = np.pad(intensities(ct, near), [(0, -n % 8) for n in ct.shape], constant_values=-1)
    logits = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    return (logits[tuple(slice(n) for n in ct.shape)] > 0) & near


def measured(network: nn.Module, scan: Scan) -> tuple[list[Found], int]:
    """The lesions of a scan, and how many findings touch none of them."""
    mask = predicted(network, scan.ct, scan.near)
    lesions = components(scan.lesion)
    found = [_judged(scan.name, mask, lesions.mask(rank)) for rank in range(len(lesions))]
    findings = components(mask & ~touching(mask, scan.lesion))
    return found, int(np.count_nonzero(findings.sizes >= LEAST_VOXELS))


def planted_found(network: nn.Module, scan: Scan) -> list[Found]:
    """Planted lesions, the same for every network."""
    rng = np.random.default_rng(0)
    found: list[Found] = []
    while len(found) < PLANTED:
        ct, near, lungs, _lesion, _unsure = cut(scan, _middle(scan, False, rng))
        hu, lesion = plant_lesion(ct.astype(np.float32), lungs, SPACING, True, rng)
        if np.count_nonzero(lesion) >= LEAST_VOXELS:
            found.append(_judged(scan.name, predicted(network, hu, near), lesion))
    return found


def _judged(name: str, mask: np.ndarray, lesion: np.ndarray) -> Found:
    both, size = int(np.count_nonzero(mask & lesion)), int(np.count_nonzero(lesion))
    # The findings that the lesion belongs to, not all that is marked elsewhere in the scan.
    joined = int(np.count_nonzero(touching(mask, lesion)))
    mm = (6 / np.pi * size * float(np.prod(SPACING))) ** (1 / 3)
    return Found(name, round(float(mm), 1), both >= FOUND_SHARE * size, round(2 * both / (joined + size), 4))


def lesion_runs(
    data: Path, out: Path, seeds: int, steps: int, tell: Callable[[str], None], is_reported_only: bool = False
) -> list[LesionRun]:
    """Every training of the study, seed by seed; what lies in ``out`` is not run again.

    Raises:
        InputError: CTs are missing.
        OutputError: a result could not be written.
    """
    study, runs = Study(data), []
    for seed in range(seeds):
        for way, away in (("synthetic", "all"), *(("marked", name) for name in MARKED)):
            file = out / "lesions" / f"{way}-{away}-{steps}-{seed}.json"
            if is_reported_only and not file.is_file():
                continue
            run = kept(file, LesionRun, lambda w=way, a=away, s=seed: study.run(w, a, s, steps))  # type: ignore[misc]
            tell(f"{way}, kept apart: {away}, seed {seed}: loss {run.loss:.3f}")
            runs.append(run)
    return runs


def main(
    data: Annotated[Path, typer.Argument(help="Folder with the CTs.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Results; what lies there is not run again.")] = Path(
        "lesions-shown"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="How often everything is done.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Of each training.")] = 500,
    is_reported_only: Annotated[
        bool, typer.Option("--report-only", help="Table and picture of what was run already.")
    ] = False,
) -> None:
    """Synthetic lung lesions only against marked ones only: sensitivity by size, and false findings."""
    try:
        runs = lesion_runs(data, out, seeds, steps, typer.echo, is_reported_only)
        text = report(runs)
        with atomic_file(out / "lesions.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        draw(out / "lesions.png", runs)
    except GenesisError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
