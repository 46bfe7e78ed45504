"""Post-processing: which voxels of the thresholded channels are believed.

Three variants:

``published``
    As released with the Universal Model (Liu et al., ICCV 2023), faults included: it fails where the pancreas is
    empty, and it erases both lungs where they form one component.
``published_abdomenatlas``
    As released with AbdomenAtlas and SuPreM (Li, Yuille and Zhou, ICLR 2024): lesions are cleaned, lungs of very
    unequal size are repaired.
``safe``
    The default. As AbdomenAtlas, but nothing is wiped without a reason:

    * an empty pancreas leaves the portal and splenic vein untouched (as AbdomenAtlas);
    * a single lung stays, on its side of the body; lungs that touch are parted; joined lungs with a fragment do not
      become one class; the channels are a tie-breaker (:func:`GenesisSegmentLib.engine.lungs.safe`);
    * colon and intestine may enter the scan in several pieces (ascending and descending): all pieces of at least a
      tenth of the largest are kept, not the largest alone; of the aorta those that could be the same vessel
      (:func:`GenesisSegmentLib.engine.vessels.one_vessel`);
    * the number of lesions is not limited (the published limit is one pancreas tumour, 20 liver tumours); the
      smallest volume is;
    * every lesion needs a host. Kidney, liver and pancreas tumours and kidney cysts are cut to the host widened by
      3 mm, because there the organ's channel includes its lesions. Lung, colon and hepatic vessel tumours are not part
      of the organ's channel: these are kept whole where they touch the host (for the last: the liver or its vessels).

Structures of a person's own (classes above 32) stay as they are: nothing is known of how they ought to look.

Voxel counts and widths are stated at 1.5 mm; on other grids they are scaled to the same volume and length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.classes import class_table
from ..core.errors import GenesisError, InputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.jobs import Advance
from ..core.layers import color, overlaps, painted
from ..core.segmentation import MAX_CLASSES, bit_of, class_boxes, pack
from . import lungs
from .components import closed, dilated, largest
from .pieces import Pieces
from .vessels import one_vessel

VARIANTS = ("published", "published_abdomenatlas", "safe")
STATED_SPACING_MM = 1.5
HOST_MARGIN_MM = 3.0

LIVER, AORTA, VEIN, PANCREAS, HEPATIC_VESSEL = 6, 8, 10, 11, 15
LUNGS = RIGHT_LUNG, LEFT_LUNG = 16, 17
COLON, INTESTINE = 18, 19
LESIONS = {26: (5, 80), 27: (20, 20), 28: (1, 100), 29: (10, 80), 30: (10, 30), 31: (3, 100), 32: (20, 20)}
"""Per lesion class: how many components AbdomenAtlas keeps, and the voxels at 1.5 mm that each must exceed."""
CUT_TO_HOST = {"published": (26, 27), "published_abdomenatlas": (26, 27), "safe": (26, 27, 28, 32)}
"""Lesions that lose what lies outside their host."""
KEPT_AT_HOST = {"published": (), "published_abdomenatlas": (), "safe": (29, 30, 31)}
"""Lesions that are kept whole where they touch their host."""
IN_PIECES = (COLON, INTESTINE)
PIECE_SHARE = 0.1


class PostprocessError(GenesisError):
    """The published post-processing fails on this prediction, as it does in its release."""

    code = "postprocess"


def postprocess(
    masks: np.ndarray, variant: str = "safe", spacing_mm: Sequence[float] = (STATED_SPACING_MM,) * 3
) -> np.ndarray:
    """Cleans all 32 classes.

    Args:
        masks: boolean (classes, x, y, z) on RAS axes, channel = class - 1; not modified.
        variant: "published", "published_abdomenatlas" or "safe".
        spacing_mm: voxel spacing along x, y, z.

    Returns:
        A new boolean array of the same shape.

    Raises:
        PostprocessError: "published" with an empty pancreas.
        InputError: the variant is unknown, or the array is not of this form.
    """
    masks = np.asarray(masks)
    if masks.ndim != 4 or not 1 <= masks.shape[0] <= MAX_CLASSES:
        raise InputError(
            _("Masks of shape (classes, x, y, z) with up to 32 classes are needed, not {shape}.").format(
                shape=masks.shape
            )
        )
    classes = tuple(range(1, masks.shape[0] + 1))
    _count, x, y, z = masks.shape
    bits = pack(((c, masks[c - 1].astype(bool)) for c in classes), (x, y, z))
    cleaned = postprocess_bits(bits, classes, variant, spacing_mm)
    return np.stack([(cleaned & bit_of(c)) != 0 for c in classes])


def postprocess_bits(
    bits: np.ndarray,
    classes: Iterable[int],
    variant: str = "safe",
    spacing_mm: Sequence[float] = (STATED_SPACING_MM,) * 3,
    asked: Iterable[int] | None = None,
    middle: int | None = None,
    advance: Advance = lambda share: None,
) -> np.ndarray:
    """Cleans the masks of a bit volume.

    Args:
        bits: integers (x, y, z) on RAS axes, bit ``c - 1`` for class ``c``; not modified.
        classes: the classes that were computed. A rule that needs one that is not among them is skipped, and the
            class stays as it is; :func:`needed_classes` says what to compute so that no rule is skipped.
        variant: "published", "published_abdomenatlas" or "safe".
        spacing_mm: voxel spacing along x, y, z.
        asked: the classes to clean and return (default: all computed). The others serve only as hosts.
        middle: first index right of the body's midline (default: the middle of the first axis).
        advance: is told the share of the classes that are done, within a long one several times.

    Returns:
        New bits of the same shape, with the asked classes only.

    Raises:
        PostprocessError: "published", pancreas and portal vein both asked for, and the pancreas is empty.
        InputError: the variant is unknown.
    """
    if variant not in VARIANTS:
        raise InputError(
            _('There is no post-processing "{variant}".').format(variant=variant),
            _("Choose from: {variants}.").format(variants=", ".join(VARIANTS)),
        )
    computed = frozenset(classes)
    wanted = computed if asked is None else computed.intersection(asked)
    middle = bits.shape[0] // 2 if middle is None else middle
    done = 0

    def check() -> None:
        advance(done / len(wanted))

    cleaner = _Cleaner(bits, computed, variant, tuple(float(s) for s in spacing_mm), middle, check)
    if variant == "published" and {VEIN, PANCREAS} <= wanted and PANCREAS not in cleaner.boxes:
        raise PostprocessError(
            _(
                "The published post-processing fails on this scan: no pancreas was found, at whose lower end the "
                "portal and splenic vein is cut."
            ),
            _('Use the post-processing "safe", or leave out one of the two classes.'),
        )
    cleaned = np.zeros(bits.shape, bits.dtype)
    for index in sorted(wanted - cleaner.by_pieces):
        check()
        _draw(cleaned, index, cleaner.clean(index))
        done += 1
    by_pieces = sorted(wanted & cleaner.by_pieces)
    for group in color(overlaps(bits, lambda share: check()), by_pieces) if by_pieces else ():
        pieces = Pieces.of(painted(bits, [group], lambda share: check())[0])
        values = np.zeros(pieces.sizes.size, bits.dtype)
        for index in group:
            check()
            if index in CUT_TO_HOST[variant]:
                _draw(cleaned, index, cleaner.cut(index, pieces))
            else:
                values[cleaner.kept(index, pieces)] = bit_of(index)
            done += 1
        pieces.draw(values, cleaned)
    return cleaned


def _draw(bits: np.ndarray, index: int, region: _Region | None) -> None:
    """Adds a class to ``bits``."""
    if region is not None:
        bits[region.box.slices] |= region.mask * bit_of(index)


def needed_classes(classes: Iterable[int], variant: str = "safe") -> tuple[int, ...]:
    """The classes, ascending, that must be computed so that no rule for ``classes`` is skipped."""
    needed = set(classes)
    for index in tuple(needed):
        if index == VEIN:
            needed.add(PANCREAS)
        elif index in LUNGS:
            needed.update(LUNGS)
        elif index in CUT_TO_HOST[variant] or index in KEPT_AT_HOST[variant]:
            needed.update(_hosts(index))
    return tuple(sorted(needed))


@dataclass(frozen=True, eq=False)
class _Region:
    """A mask (x, y, z) inside a box of the volume."""

    box: Box
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class _Cleaner:
    """The rules. Each reads the raw masks and nothing that another rule made, so their order does not matter."""

    bits: np.ndarray
    computed: frozenset[int]
    variant: str
    spacing_mm: tuple[float, ...]
    middle: int
    check: Callable[[], None]

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """The box of each computed class that is not empty."""
        return {c: box for c, box in class_boxes(self.bits).items() if c in self.computed}

    @cached_property
    def by_pieces(self) -> frozenset[int]:
        """The classes, not empty, whose rules go by the size or the place of whole components."""
        others = {*LUNGS, VEIN, HEPATIC_VESSEL}
        if self.variant == "published":
            others.update(c for c in LESIONS if c not in CUT_TO_HOST[self.variant])
        return frozenset(c for c in self.boxes if c <= MAX_CLASSES and c not in others and self._is_complete(c))

    def clean(self, index: int) -> _Region | None:
        """The cleaned mask of a class that is not among ``by_pieces``, or None where nothing is left of it."""
        if index in LUNGS and self._is_complete(index):
            return self._lungs.get(index)
        if index not in self.boxes:
            return None
        return self._vein(index) if index == VEIN and self._is_complete(index) else self._raw(index)

    def kept(self, index: int, pieces: Pieces) -> np.ndarray:
        """The numbers of those pieces of a class that stay."""
        if index in LESIONS:
            count, above = self._lesion_rule(index)
            numbers = pieces.largest(index, count, above)
            return self._at_host(index, pieces, numbers) if index in KEPT_AT_HOST[self.variant] else numbers
        if self.variant == "safe" and index in (AORTA, *IN_PIECES):
            numbers = pieces.largest(index, None, share=PIECE_SHARE)
            return self._one_vessel(index, pieces, numbers) if index == AORTA else numbers
        return pieces.largest(index)

    def cut(self, index: int, pieces: Pieces) -> _Region | None:
        """A lesion cut to its host, its pieces that are too small left out before and after."""
        count, above = self._lesion_rule(index)
        mask = pieces.mask(pieces.largest(index, None, above))
        box = Box.around(mask)
        if box is None:
            return None
        inside = mask[box.slices] & self._host(index, box, count=len(_hosts(index)))
        return _Region(box, largest(inside, count, above))

    def _lesion_rule(self, index: int) -> tuple[int | None, float]:
        """How many components of a lesion are kept (all for None), and the voxels that each must exceed."""
        if self.variant == "published":
            return None, 0.0
        count, voxels = LESIONS[index]
        above = voxels * STATED_SPACING_MM**3 / float(np.prod(self.spacing_mm))
        return (count if self.variant == "published_abdomenatlas" else None), above

    def _at_host(self, index: int, pieces: Pieces, numbers: np.ndarray) -> np.ndarray:
        """Those pieces that touch the host."""
        mask = pieces.mask(numbers)
        box = Box.around(mask)
        if box is None:
            return numbers
        touching = mask[box.slices] & self._host(index, box, count=None)
        return np.unique(pieces.numbers[box.slices][touching])

    def _one_vessel(self, index: int, pieces: Pieces, numbers: np.ndarray) -> np.ndarray:
        """Those pieces that could be the same vessel."""
        if numbers.size < 2:
            return numbers
        here = self.boxes[index].slices
        kept = one_vessel(pieces.mask(numbers)[here], self.spacing_mm, PIECE_SHARE)
        return np.unique(pieces.numbers[here][kept])

    def _is_complete(self, index: int) -> bool:
        """Whether all classes that the rule for one needs were computed."""
        return self.computed.issuperset(needed_classes((index,), self.variant))

    def _vein(self, index: int) -> _Region:
        """Nothing below the lowest slice of the cleaned pancreas; untouched where there is none."""
        vein = self._raw(index)
        if PANCREAS in self.boxes:
            pancreas = self._raw(PANCREAS)
            lowest = pancreas.box.start[2] + int(np.flatnonzero(largest(pancreas.mask).any(axis=(0, 1)))[0])
            vein.mask[..., : max(0, lowest - vein.box.start[2])] = False
        return vein

    @cached_property
    def _lungs(self) -> dict[int, _Region]:
        if not self.boxes.keys() & set(LUNGS):
            return {}
        box = self._box(LUNGS)
        if self.variant == "published_abdomenatlas":
            box = Box((*box.start[:2], 0), (*box.stop[:2], self.bits.shape[2]))
        right, left = self._mask(box, (RIGHT_LUNG,)), self._mask(box, (LEFT_LUNG,))
        middle = self.middle - box.start[0]
        if self.variant == "published":
            right, left = lungs.published(right | left)
        elif self.variant == "published_abdomenatlas":
            scale = STATED_SPACING_MM**2 / (self.spacing_mm[0] * self.spacing_mm[1])
            right, left = lungs.abdomenatlas(right | left, middle, scale, self.check)
        else:
            right, left = lungs.safe(right, left, middle, self.spacing_mm, self.check)
        return {RIGHT_LUNG: _Region(box, right), LEFT_LUNG: _Region(box, left)}

    def _host(self, index: int, box: Box, count: int | None) -> np.ndarray:
        """The host mask inside ``box``: raw hosts, ``count`` largest components, closed, then widened by 3 mm.

        Closing sees background outside the volume, so it erodes at the edge of the volume, as published. Elsewhere a
        margin keeps that effect away: round the hosts, and round the box for all three steps.
        """
        inside = np.zeros(box.shape, dtype=bool)
        hosts = tuple(c for c in _hosts(index) if c in self.boxes)
        radius = tuple(max(1, round(HOST_MARGIN_MM / s)) for s in self.spacing_mm)
        margin = max(radius)
        if not hosts:
            return inside
        whole = self._box(hosts).grown(margin, self.bits.shape)  # type: ignore[arg-type]
        near = box.grown(3 * margin, self.bits.shape).common(whole)  # type: ignore[arg-type]
        here = None if near is None else box.common(near)
        if near is None or here is None:
            return inside
        host = (
            self._mask(near, hosts) if count is None else largest(self._mask(whole, hosts), count)[near.within(whole)]
        )
        for widen in (closed, dilated):
            self.check()
            host = widen(host, radius)
        self.check()
        inside[here.within(box)] = host[here.within(near)]
        return inside

    def _raw(self, index: int) -> _Region:
        box = self.boxes[index]
        return _Region(box, self._mask(box, (index,)))

    def _box(self, classes: Iterable[int]) -> Box:
        """The smallest box holding all these classes, of which one at least is not empty."""
        return Box.joined(self.boxes[c] for c in classes if c in self.boxes)

    def _mask(self, box: Box, classes: Iterable[int]) -> np.ndarray:
        """The union of these classes inside a box, as a new array."""
        return (self.bits[box.slices] & bit_of(*classes)) != 0


def _hosts(index: int) -> tuple[int, ...]:
    """The organs in which a lesion may lie; a hepatic vessel tumour lies in the liver, beside the vessels."""
    hosts = class_table()[index].hosts
    return (LIVER, *hosts) if hosts == (HEPATIC_VESSEL,) else hosts
