"""Corrections as material to learn from: the CT and the accepted masks on the grid of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...core.errors import GeometryError, HoldoutError
from ...core.files import atomic_folder
from ...core.geometry import Box, Geometry
from ...core.i18n import _
from ...core.jobs import Advance
from ...core.rounds import Split
from ...core.volume import Volume
from ..inference.preprocess import model_input
from ..inference.resample import add_resampled, matrices, places
from ..inference.spec import ModelSpec

if TYPE_CHECKING:
    from ..store.records import ProvingRecord, TrainingRecord

_DESCRIPTION = "case.json"


class Voxels(Protocol):
    """Where the voxels of accepted cases are kept (:class:`GenesisSegmentLib.engine.store.CaseStore`)."""

    def volume(self, record: TrainingRecord | ProvingRecord) -> Volume:
        """The CT."""

    def mask(self, record: TrainingRecord | ProvingRecord, label: str) -> np.ndarray:
        """The accepted mask, bool (i, j, k) on the grid of the CT."""

    def changed(self, record: TrainingRecord, label: str) -> np.ndarray:
        """Where it differs from what the model had proposed, bool (i, j, k)."""


@dataclass(frozen=True, eq=False)
class LearningCase:
    """A case on the model's grid: ``image`` float32 (X, Y, Z), RAS axes, in the model's values.

    ``masks`` are those of the reviewed classes, bool (X, Y, Z); ``changed`` says where each was corrected. Classes that
    are not in it are unknown. ``is_replayed`` marks an earlier case that is shown again, so that it is not forgotten.

    Raises:
        HoldoutError: the case judges models.
        GeometryError: a mask lies on another grid.
    """

    case: str
    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    changed: Mapping[str, np.ndarray]
    geometry: Geometry
    split: Split = "train"
    is_replayed: bool = False

    def __post_init__(self) -> None:
        check_split(self.case, self.split)
        for label, mask in (*self.masks.items(), *self.changed.items()):
            if mask.shape != self.image.shape or mask.dtype != np.bool_:
                raise GeometryError(
                    _("The mask of {label} does not lie on the grid of the model's input.").format(label=label)
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The reviewed classes."""
        return tuple(self.masks)


def check_split(case: str, split: str) -> None:
    """Lets only cases of the train split pass.

    Raises:
        HoldoutError: it is of another split.
    """
    if split != "train":
        raise HoldoutError(
            _("Case {case} belongs to the {split} split and must never be trained on.").format(
                case=case[:12], split=split
            ),
            _("Please report this: it is a fault of GenesisSegment."),
        )


def learning_case(
    record: TrainingRecord, store: Voxels, spec: ModelSpec, advance: Advance = lambda share: None
) -> LearningCase:
    """The case of a record as the model with ``spec`` sees it: exactly what inference would give to the network.

    Raises:
        HoldoutError: the record judges models.
        InputError: there is no body in the CT, or nothing that the model sees.
    """
    check_split(record.case, record.split)
    image, masks, grid, volume = seen_by_model(record, store, spec, lambda share: advance(0.5 * share))
    changed = {}
    for n, label in enumerate(record.labels):
        advance(0.5 + 0.5 * n / len(record.labels))
        changed[label] = on_grid(store.changed(record, label), volume.geometry, grid)
    return LearningCase(record.case, image, masks, changed, grid, record.split)


def seen_by_model(
    record: TrainingRecord | ProvingRecord, store: Voxels, spec: ModelSpec, advance: Advance = lambda share: None
) -> tuple[np.ndarray, dict[str, np.ndarray], Geometry, Volume]:
    """The image of a case, float32 (X, Y, Z), and its accepted masks as a model with ``spec`` sees them; grid and CT.

    Raises:
        InputError: there is no body in the CT, or nothing that the model sees.
    """
    volume = store.volume(record)
    prepared = model_input(volume, spec, advance)
    masks = {label: on_grid(store.mask(record, label), volume.geometry, prepared.geometry) for label in record.labels}
    return np.ascontiguousarray(prepared.image[prepared.valid]), masks, prepared.geometry, volume


def on_grid(mask: np.ndarray, native: Geometry, grid: Geometry) -> np.ndarray:
    """A mask bool (i, j, k) of a CT as bool (X, Y, Z) on a model's grid, whose axes are those of the CT brought to RAS.

    A voxel belongs to it where the mask fills at least half of it. What is too thin to do so anywhere, such as a small
    lesion on a coarse grid, keeps the voxels that it fills best: it must not be taught as absent.
    """
    straight = native.to_ras
    voxels, fine = straight.apply(mask), native.reoriented(straight)
    out = np.zeros(grid.shape, dtype=bool)
    around = Box.around(voxels)
    if around is None:
        return out
    margin = max(int(np.ceil(3 * coarse / own)) for coarse, own in zip(grid.spacing, fine.spacing, strict=True)) + 2
    box = around.grown(margin, fine.shape)
    part = fine.cropped(box)
    region = _within(part, grid)
    if region is None:
        return out
    field = np.zeros(region.shape, dtype=np.float32)
    add_resampled(voxels[box.slices], matrices(part, grid.cropped(region), is_smoothed=True), field)
    most = float(field.max())
    if most > 1e-3:
        out[region.slices] = field >= (0.5 if most >= 0.5 else most / 2)
    return out


def _within(part: Geometry, grid: Geometry) -> Box | None:
    """The voxels of ``grid`` whose centres lie in ``part``, edges included; None where there are none."""
    start, stop = [], []
    for at, count in zip(places(grid, part), part.shape, strict=True):
        (inside,) = np.nonzero((at > -0.5) & (at < count - 0.5))
        if not inside.size:
            return None
        start.append(int(inside[0]))
        stop.append(int(inside[-1]) + 1)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def on_disk(case: LearningCase, folder: Path) -> LearningCase:
    """The same case with its arrays in files of ``folder``, mapped into memory: for more cases than memory holds.

    Raises:
        OutputError: disk full or read-only; nothing half-written is left.
    """
    with atomic_folder(folder) as temporary:
        np.save(temporary / "image.npy", case.image)
        for n, label in enumerate(case.labels):
            np.save(temporary / f"mask{n}.npy", case.masks[label])
            np.save(temporary / f"changed{n}.npy", case.changed[label])
        document = {
            "case": case.case,
            "labels": case.labels,
            "split": case.split,
            "is_replayed": case.is_replayed,
            "ijk_to_ras": case.geometry.ijk_to_ras.tolist(),
        }
        (temporary / _DESCRIPTION).write_text(json.dumps(document), encoding="utf-8")
    return from_disk(folder)


def from_disk(folder: Path) -> LearningCase:
    """A case that :func:`on_disk` wrote.

    Raises:
        OSError: it is not there.
    """
    facts = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    image = np.load(folder / "image.npy", mmap_mode="r")
    read = {
        kind: {label: np.load(folder / f"{kind}{n}.npy", mmap_mode="r") for n, label in enumerate(facts["labels"])}
        for kind in ("mask", "changed")
    }
    geometry = Geometry(image.shape, np.array(facts["ijk_to_ras"]))
    return LearningCase(
        facts["case"], image, read["mask"], read["changed"], geometry, facts["split"], facts["is_replayed"]
    )


def replayed(case: LearningCase) -> LearningCase:
    """The case as one that is shown again."""
    return replace(case, is_replayed=True)
