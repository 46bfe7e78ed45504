"""Draws the numbers of a case: how many lesions, where, how large, how deformed, how dark."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ...core.classes import class_table
from ...core.errors import InputError
from ...core.geometry import Box
from ...core.i18n import _
from .recipe import (
    DIFFERENCE_HU,
    EDGE_MM,
    EROSION,
    FAILURES,
    MIX,
    PLAIN,
    RULES,
    SIZE_NAMES,
    SIZES,
    SLICES,
    Options,
    Rules,
)
from .shapes import draw_nodes
from .textures import GRAINS, SHAPE

Place = tuple[int, int, int]
PUSH = (0.3, 0.6)
"""How strongly a lesion with mass effect pushes."""
CAPSULE_HU = (15.0, 40.0)


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion: its middle as a voxel of the 1 mm grid, its radii in mm and the nodes of its deformation.

    ``leaves``: it may grow out of the organ. ``push`` is the intensity of its mass effect, 0 for none.
    """

    size: str
    centre: Place
    radii: Place
    nodes: np.ndarray
    leaves: bool = False
    push: float = 0.0


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that was drawn for a case. ``texture`` is a number of the bank, ``start`` where its crop begins.

    ``difference_hu`` is by how much the CT is lowered where texture and soft mask are 1, ``edge_mm`` the sigma of the
    soft mask, ``capsule_hu`` by how much its rim is raised, ``grain`` a seed of the noise of what leaves the organ.
    """

    organ: str
    size: str
    lesions: tuple[Lesion, ...]
    texture: int
    start: Place
    edge_mm: float
    difference_hu: float
    capsule_hu: float = 0.0
    grain: int = 0
    notes: tuple[str, ...] = field(default=())


def rules_of(organ: str) -> Rules:
    """The rules for an organ.

    Raises:
        InputError: there are none.
    """
    if organ not in RULES:
        raise InputError(
            _("There is no recipe for lesions of {organ}.").format(organ=organ),
            _("Choose from: {organs}.").format(organs=", ".join(RULES)),
        )
    return RULES[organ]


def draw_plan(
    organ: str,
    mask: np.ndarray,
    rng: np.random.Generator,
    size: str | None = None,
    options: Options = PLAIN,
    vessels: np.ndarray | None = None,
) -> Plan:
    """Draws a case for the organ's ``mask``, bool (R, A, S) at 1 mm; ``vessels`` are avoided where given.

    Raises:
        InputError: no such size, the organ is empty or too small for it, or no place was found.
    """
    rules = rules_of(organ)
    inner, box = _inner(mask)
    size = _drawn_size(organ, rules, inner, size, rng)
    lesions: list[Lesion] = []
    for name in SIZES if size == MIX else (size,):
        if size == MIX and not _has_room(rules, inner, name):
            continue
        low, high = rules.numbers[name] if size != MIX else rules.in_mix.get(name, rules.numbers[name])
        for _n in range(int(rng.integers(low, high + 1))):
            lesions.append(_lesion(rules, inner, box, name, rng, options, vessels))
    return Plan(
        organ=organ,
        size=size,
        lesions=tuple(lesions),
        texture=int(rng.integers(len(GRAINS))),
        start=tuple(int(rng.integers(n)) for n in SHAPE),  # type: ignore[arg-type]
        edge_mm=float(rng.uniform(*EDGE_MM)),
        difference_hu=float(rng.uniform(*DIFFERENCE_HU)),
        capsule_hu=float(rng.uniform(*CAPSULE_HU)) if options.has_capsule else 0.0,
        grain=int(rng.integers(2**31)),
    )


def _inner(mask: np.ndarray) -> tuple[np.ndarray, Box]:
    """The organ in its box, shrunk by one voxel on each side, and where that lies."""
    box = Box.around(mask)
    if box is not None and min(box.shape) > 2:
        box = Box(tuple(a + 1 for a in box.start), tuple(b - 1 for b in box.stop))  # type: ignore[arg-type]
        if (inner := mask[box.slices]).any():
            return inner, box
    raise InputError(
        _("The organ is empty, or less than three millimetres thick."), _("Give a mask in which the organ is marked.")
    )


def _has_room(rules: Rules, inner: np.ndarray, name: str) -> bool:
    """Whether the organ is at least as large as the smallest lesion of a size."""
    return bool(4 / 3 * np.pi * rules.size(name).radii[0] ** 3 <= np.count_nonzero(inner))


def _drawn_size(organ: str, rules: Rules, inner: np.ndarray, size: str | None, rng: np.random.Generator) -> str:
    if size is not None and size not in SIZE_NAMES:
        raise InputError(
            _("There is no size {size}.").format(size=size),
            _("Choose from: {sizes}.").format(sizes=", ".join(SIZE_NAMES)),
        )
    roomy = [name for name in SIZES if _has_room(rules, inner, name)]
    if not roomy or (size in SIZES and size not in roomy):
        raise InputError(
            _("The {organ} of {ml} ml is too small for {size} lesions.").format(
                organ=organ, ml=f"{np.count_nonzero(inner) / 1000:.1f}", size=size or next(iter(SIZES))
            ),
            _("Choose a smaller size, or give a mask of the whole organ."),
        )
    if size is not None:
        return size
    chances = [c if name == MIX or name in roomy else 0.0 for name, c in zip(SIZE_NAMES, rules.chances, strict=True)]
    return str(rng.choice(SIZE_NAMES, p=np.array(chances) / sum(chances)))


def _lesion(
    rules: Rules,
    inner: np.ndarray,
    box: Box,
    name: str,
    rng: np.random.Generator,
    options: Options,
    vessels: np.ndarray | None,
) -> Lesion:
    size = rules.size(name)
    low, high = size.radii
    radii = tuple(int(r) for r in rng.integers(low, high + 1, 3))
    avoided = None if vessels is None else vessels[box.slices]
    is_big = name in ("medium", "large")
    if rules.is_large_centred and name == "large":
        centre = tuple(n // 2 for n in inner.shape)
    else:
        # Vessels run through every large lesion; it only does not sit on one.
        centre = _place(rules, inner, avoided, 0 if is_big else min(radii), rng)
    return Lesion(
        size=name,
        centre=tuple(a + b for a, b in zip(box.start, centre, strict=True)),  # type: ignore[arg-type]
        radii=radii,  # type: ignore[arg-type]
        nodes=draw_nodes(float(rng.uniform(*size.sigma)), rng),
        leaves=bool(is_big and rng.uniform() < rules.leaves),
        push=float(rng.uniform(*PUSH)) if options.has_mass_effect and is_big else 0.0,
    )


def _place(
    rules: Rules, inner: np.ndarray, vessels: np.ndarray | None, distance: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """A voxel of a slice of the organ, ``distance`` voxels from vessels; slices from further out after failures."""
    height = inner.shape[2] - 1
    for failures in range(FAILURES * (len(SLICES) + 2)):
        low, high = SLICES[min(failures // FAILURES, len(SLICES) - 1)]
        k = round(rng.uniform(low, high) * height)
        pixels = inner[:, :, k]
        if rules.is_eroded:
            pixels = ndimage.binary_erosion(pixels, np.ones((EROSION, EROSION), bool))
        places = np.flatnonzero(pixels)
        if not len(places):
            continue
        i, j = (int(n) for n in np.unravel_index(int(rng.choice(places)), pixels.shape))
        if vessels is None or not _is_near(vessels, (i, j, k), distance):
            return i, j, k
    raise InputError(
        _("No place for a lesion was found in the organ: its slices are too small, or vessels are everywhere."),
        _("Choose a smaller size, or do not avoid vessels."),
    )


def _is_near(vessels: np.ndarray, place: Place, distance: int) -> bool:
    around = tuple(slice(max(0, p - distance), p + distance + 1) for p in place)
    hits = np.argwhere(vessels[around]) + [s.start for s in around] - np.array(place)
    return bool(len(hits) and (hits**2).sum(axis=1).min() <= distance**2)


def lesion_class(organ: str) -> str:
    """The slug of the class of an organ's lesions."""
    return class_table()[rules_of(organ).lesion].slug
