"""Overlapping classes in as few label layers as possible: what a labelmap of a scene can show.

A layer holds classes that share no voxel, so that one uint8 per voxel says all. Which classes share voxels is a graph
of at most 64 nodes; its colouring says how many layers it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .geometry import Geometry
from .i18n import _
from .jobs import Advance
from .segmentation import BITS, Segmentation, bit_of, bits_type

_SLAB_VOXELS = 1 << 18
"""Voxels that are worked on at a time: their intermediate results stay in the processor's cache."""
_FLOAT_EXPONENT, _BIAS = 23, 126
"""The exponent of a float32 starts at this bit; that of 1.0 is 127."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Classes that share no voxel: ``labels`` uint8 (i, j, k), the value of a voxel being its class index or 0."""

    labels: np.ndarray
    classes: tuple[int, ...]


def pack_layers(segmentation: Segmentation, advance: Advance = lambda fraction: None) -> tuple[Layer, ...]:
    """The layers of a segmentation; every class that was looked for lies in exactly one.

    The same segmentation always gives the same layers. Classes that overlap nothing all lie in the first. ``advance``
    is told often on the way.
    """
    return layers_of(segmentation.bits, segmentation.classes, advance)


def layers_of(bits: np.ndarray, classes: Sequence[int], advance: Advance = lambda fraction: None) -> tuple[Layer, ...]:
    """The layers of some of the classes in ``bits`` (i, j, k)."""
    groups = color(overlaps(bits, lambda fraction: advance(0.5 * fraction)), classes)
    layers = painted(bits, groups, lambda fraction: advance(0.5 + 0.5 * fraction))
    return tuple(Layer(labels, group) for labels, group in zip(layers, groups, strict=True))


def painted(
    bits: np.ndarray, groups: Sequence[tuple[int, ...]], advance: Advance = lambda fraction: None
) -> list[np.ndarray]:
    """Labels uint8 (i, j, k) of each group of classes in ``bits``, of which no two may share a voxel."""
    masks = [bit_of(*group) for group in groups]
    layers = [np.zeros_like(bits, dtype=np.uint8) for _ in groups]
    for slab, fraction in _slabs(bits):
        advance(fraction)
        piece = bits[slab]
        used = np.bitwise_or.reduce(piece, axis=None)
        for labels, mask in zip(layers, masks, strict=True):
            if used & mask:
                labels[slab] = _index_of_bit(piece & mask)
    return layers


def unpack_layers(layers: Sequence[Layer], geometry: Geometry, own: tuple[str, ...] = ()) -> Segmentation:
    """The segmentation that layers were made from; ``own`` are the names of the classes from 33 on.

    Raises:
        InputError: a layer does not fit the grid, or holds a class that it does not name.
    """
    kind = bits_type(c for layer in layers for c in layer.classes)
    bits = np.zeros(geometry.shape, dtype=kind)
    classes: list[int] = []
    for layer in layers:
        table = np.zeros(256, dtype=kind)
        table[list(layer.classes)] = [1 << (c - 1) for c in layer.classes]
        strangers = set(np.unique(layer.labels).tolist()) - {0, *layer.classes}
        if layer.labels.shape != geometry.shape or strangers:
            raise InputError(
                _(
                    "A label layer of shape {shape} with the classes {classes} does not fit: the grid is {grid}, "
                    "values not named are {strangers}."
                ).format(
                    shape=str(layer.labels.shape),
                    classes=str(layer.classes),
                    grid=str(geometry.shape),
                    strangers=str(sorted(strangers)),
                ),
                _("Run the segmentation again."),
            )
        bits |= table[layer.labels]
        classes.extend(layer.classes)
    return Segmentation(bits, geometry, tuple(sorted(classes)), own)


def overlaps(bits: np.ndarray, advance: Advance = lambda fraction: None) -> dict[int, int]:
    """Which classes share a voxel in ``bits`` (i, j, k): class -> bits of itself and of those it meets.

    Classes that meet no other are left out. One pass; only voxels of more than one class are looked at closely.
    """
    patterns: set[int] = set()
    for slab, fraction in _slabs(bits):
        advance(fraction)
        piece = bits[slab].ravel(order="K")
        several = piece[(piece & (piece - BITS(1))) != 0]
        if several.size:
            is_first = np.ones(several.size, dtype=bool)
            np.not_equal(several[1:], several[:-1], out=is_first[1:])  # runs of the same pattern count once
            patterns.update(np.unique(several[is_first]).tolist())
    met: dict[int, int] = {}
    for pattern in patterns:
        for index in _classes_of(pattern):
            met[index] = met.get(index, 0) | pattern
    return met


def color(met: dict[int, int], classes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of classes none of which meet, as few as a greedy colouring finds; each class once, groups ascending.

    Two orders are tried: ascending, which keeps the organs together in the first layer, and the classes that meet most
    others first. The second is taken only if it needs fewer groups.
    """
    ascending = sorted(classes)
    busiest = sorted(ascending, key=lambda c: (-met.get(c, 0).bit_count(), c))
    return min((_greedy(met, order) for order in (ascending, busiest)), key=len)


def _greedy(met: dict[int, int], order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    groups: list[tuple[int, list[int]]] = []
    for index in order:
        for n, (mask, members) in enumerate(groups):
            if not met.get(index, 0) & mask:
                groups[n] = mask | 1 << (index - 1), [*members, index]
                break
        else:
            groups.append((1 << (index - 1), [index]))
    return tuple(tuple(sorted(members)) for _, members in groups)


def _classes_of(pattern: int) -> Iterator[int]:
    return (n + 1 for n in range(pattern.bit_length()) if pattern >> n & 1)


def _index_of_bit(single: np.ndarray) -> np.ndarray:
    """Class index of the one bit that is set in each integer, 0 where none is: the exponent of its float32."""
    exponent = single.astype(np.float32).view(np.uint32)
    exponent >>= _FLOAT_EXPONENT
    np.maximum(exponent, _BIAS, out=exponent)
    exponent -= _BIAS
    return exponent


def _slabs(bits: np.ndarray) -> Iterator[tuple[tuple[slice, ...], float]]:
    """Slices along the axis that is slowest in memory, which together cover the array; and the share before each."""
    if not bits.size:
        return
    axis = int(np.argmax(np.abs(bits.strides)))
    step = max(1, _SLAB_VOXELS * bits.shape[axis] // bits.size)
    for start in range(0, bits.shape[axis], step):
        slab = tuple(slice(start, start + step) if a == axis else slice(None) for a in range(bits.ndim))
        yield slab, start / bits.shape[axis]
