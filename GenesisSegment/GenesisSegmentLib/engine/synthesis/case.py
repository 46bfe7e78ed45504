"""A CT with synthetic lesions and its files, marked in all of them as no patient's."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...core.classes import class_table
from ...core.files import atomic_file, move_new, safe_name, work_folder
from ...core.segmentation import Segmentation, bit_of
from ...core.volume import Volume
from ..export import write_segmentation
from ..export.images import write_image
from ..export.targets import suffix_of
from .drawing import Lesion, rules_of
from .organ import Organ
from .planting import Planted, plant
from .recipe import PLAIN, Options
from .textures import GRAINS

WARNING = "SYNTHETIC lesions, drawn by GenesisSegment: not a patient's. Never use for diagnosis."
METHOD = "rules of Hu et al., Label-Free Liver Tumor Segmentation, CVPR 2023; pancreas, kidney: Chen et al., CVPR 2024"
_KEPT_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True, eq=False)
class SyntheticCase:
    """A CT with synthetic lesions: ``segmentation`` has them as a class, beside all that was marked before.

    ``positions`` are the middles of the lesions that were drawn, RAS in mm; elastic deformation may shift a lesion off
    its middle by some millimetres.
    """

    original: Volume
    volume: Volume
    organ: Organ
    segmentation: Segmentation
    lesion: np.ndarray
    planted: Planted
    positions: tuple[tuple[float, float, float], ...]
    seed: int
    options: Options

    @property
    def lesion_class(self) -> int:
        """Class of the lesions in the table."""
        return rules_of(self.organ.name).lesion

    @property
    def lesion_ml(self) -> float:
        """Volume of all lesions on the CT's grid."""
        return float(np.count_nonzero(self.lesion)) * self.volume.geometry.voxel_ml


def synthetic_case(
    volume: Volume, organ: Organ, size: str | None = None, seed: int | None = None, options: Options = PLAIN
) -> SyntheticCase:
    """Draws lesions into the organ of a CT of any spacing and orientation; the same for the same ``seed``.

    Raises:
        InputError: the organ is too small for the size, or there is no such size.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    geometry = volume.geometry
    change = geometry.to_ras
    turned = geometry.reoriented(change)
    views = (change.apply(array) for array in (volume.voxels, organ.mask, organ.others))
    hu, mask, others = views
    found = plant(hu, mask, turned.spacing, np.random.default_rng(seed), organ.name, size, options, others)
    voxels, lesion = change.invert(found.hu), change.invert(found.lesion)
    before, index = organ.segmentation, rules_of(organ.name).lesion
    bits = before.bits.copy(order="K")
    bits[lesion] |= bit_of(index, *organ.classes) if not _leaves(found) else bit_of(index)
    classes = tuple(sorted({*before.classes, index}))
    positions = []
    for each in found.plan.lesions:
        x, y, z = (turned.ijk_to_ras @ np.array([*found.position(each.centre), 1.0]))[:3].tolist()
        positions.append((x, y, z))
    return SyntheticCase(
        original=volume,
        volume=replace(volume, voxels=voxels),
        organ=organ,
        segmentation=Segmentation(bits, geometry, classes, before.own),
        lesion=lesion,
        planted=found,
        positions=tuple(positions),
        seed=seed,
        options=options,
    )


def _leaves(found: Planted) -> bool:
    return any(lesion.leaves for lesion in found.plan.lesions)


def write_case(case: SyntheticCase, folder: Path, labels_suffix: str = ".seg.nrrd") -> tuple[Path, ...]:
    """Writes CT, labels, a picture and everything that was drawn; what lies in ``folder`` is not replaced.

    Raises:
        OutputError: they could not be written; nothing was.
    """
    from .picture import write_picture

    path = case.original.source.path
    suffix = suffix_of(path) if path.is_file() else ""
    slug = class_table()[case.lesion_class].slug
    stem = f"{safe_name(case.original.source.name, 'ct')}_synthetic_{slug}"
    with work_folder(folder) as temporary:
        write_image(
            temporary / f"{stem}{suffix if suffix in _KEPT_SUFFIXES else '.nii.gz'}",
            case.volume.voxels,
            case.volume.geometry,
            WARNING,
        )
        write_segmentation(case.segmentation, case.volume, temporary / f"{stem}_labels{labels_suffix}")
        write_picture(temporary / f"{stem}.png", case)
        with atomic_file(temporary / f"{stem}.json") as file:
            file.write_text(json.dumps(document(case), indent=1) + "\n", encoding="utf-8")
        return move_new(temporary, folder, stem)


def document(case: SyntheticCase) -> dict[str, Any]:
    """Everything that was drawn, in plain types."""
    plan = case.planted.plan
    sigma_a, sigma_b = GRAINS[plan.texture]
    lesions = zip(plan.lesions, case.positions, case.planted.volumes_ml, strict=True)
    return {
        "is_synthetic": True,
        "warning": WARNING,
        "method": METHOD,
        "version": __version__,
        "source": str(case.original.source.path),
        "series_uid": case.original.source.series_uid,
        "seed": case.seed,
        "organ": plan.organ,
        "lesion": class_table()[case.lesion_class].slug,
        "size": plan.size,
        "options": asdict(case.options),
        "difference_hu": plan.difference_hu,
        "edge_mm": plan.edge_mm,
        "capsule_hu": plan.capsule_hu,
        "grain_seed": plan.grain,
        "texture": {"number": plan.texture, "sigma_a": sigma_a, "sigma_b": sigma_b, "start_mm": list(plan.start)},
        "lesion_ml": case.lesion_ml,
        "axes": "radii and nodes are along the axes of the CT nearest to right, anterior, superior",
        "lesions": [_described(lesion, position, ml) for lesion, position, ml in lesions],
    }


def _described(lesion: Lesion, position: tuple[float, float, float], ml: float) -> dict[str, Any]:
    return {
        "size": lesion.size,
        "centre_ras_mm": [round(p, 3) for p in position],
        "radii_mm": list(lesion.radii),
        "ml": ml,
        "leaves_organ": lesion.leaves,
        "push": lesion.push,
        "nodes_mm": lesion.nodes.tolist(),
    }
