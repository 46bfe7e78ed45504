"""The axial diameters of a lesion, as a radiologist measures them for RECIST 1.1 (Eisenhauer et al., 2009).

Long axis: the longest line between two points of a lesion's outline in one axial slice, over all slices. Short axis:
the longest line of the same piece in the same slice at right angles to it. What is in pieces in a slice is measured
piece by piece (pixels that share a corner belong together), and both lines stay inside: a line that runs over healthy
tissue, between the arms of a bent lesion, is no diameter of it. It may leave its piece by a pixel, which is how far an
outline on a grid can be trusted. Outlines pass half-way between a pixel of the lesion and its neighbour outside
(marching squares), so that a digitised circle has the diameter of the circle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

_SAME_MM = 1e-6
_BESIDE_MM = 1e-9
_SAME_SHARE = 1e-9
_FIRST_LOOKS = np.arange(1, 8) / 8
_MOST_POINTS = 1000
"""Points of an outline through which lines are looked for; a longer outline gives every second, third... of them."""
_AT_ONCE = 4096
_ALL_NEIGHBOURS, _DIRECT_NEIGHBOURS = np.ones((3, 3), bool), ndimage.generate_binary_structure(2, 1)


class Diameters(NamedTuple):
    """Long and short axis in millimetres."""

    longest_mm: float
    perpendicular_mm: float


def axial_diameters(mask: np.ndarray, spacing_mm: Sequence[float], axial: int) -> Diameters:
    """Diameters of a non-empty mask (i, j, k); slices lie at right angles to axis ``axial``.

    Where several lines are equally long, the one with the longest short axis counts.
    """
    slices = np.moveaxis(mask, axial, 0)
    in_plane = np.array([s for axis, s in enumerate(spacing_mm) if axis != axial])
    # No line is longer than the diagonal of its piece's box: with the largest first, most pieces can be left out.
    pieces = sorted(_pieces(slices, in_plane), key=lambda piece: -piece[0])
    best = Diameters(0.0, 0.0)
    for bound, piece in pieces:
        if bound < best.longest_mm - _SAME_MM:
            break
        found = _Outline.of(piece, in_plane).diameters(at_least=best.longest_mm - _SAME_MM)
        if found.longest_mm > best.longest_mm + _SAME_MM or (
            found.longest_mm > best.longest_mm - _SAME_MM and found.perpendicular_mm > best.perpendicular_mm
        ):
            best = found
    return best


def _pieces(slices: np.ndarray, spacing: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """The pieces of every slice: the diagonal of the box in millimetres, and the mask in it."""
    for plane in slices:
        labels, _ = ndimage.label(plane, _ALL_NEIGHBOURS)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            piece = labels[box] == number
            yield float(np.hypot(*(piece.shape * spacing))), piece


@dataclass(frozen=True, eq=False)
class _Outline:
    """One piece in one slice.

    ``near`` (row, column) are its pixels and their direct neighbours, with two empty pixels around. ``segments``
    (n, 2, 2) are the pieces of its outline and ``points`` (m, 2) their ends, in millimetres from the centre of the
    first pixel of ``near``.
    """

    near: np.ndarray
    segments: np.ndarray
    points: np.ndarray
    spacing: np.ndarray

    @classmethod
    def of(cls, piece: np.ndarray, spacing: np.ndarray) -> _Outline:
        padded = np.pad(piece, 2)
        segments = _marching_squares(padded)
        points = np.unique(segments.reshape(-1, 2), axis=0)
        near = ndimage.binary_dilation(padded, _DIRECT_NEIGHBOURS)
        return cls(near, segments * spacing, points * spacing, spacing)

    def diameters(self, at_least: float) -> Diameters:
        """Both diameters; (0, 0) where the longest is shorter than ``at_least``."""
        lines = self._longest_lines(self.points[ConvexHull(self.points).vertices], at_least, exhaustive=False)
        if lines is None:
            lines = self._longest_lines(_thinned(self.points, _MOST_POINTS), at_least, exhaustive=True)
        if lines is None:
            return Diameters(0.0, 0.0)
        between = lines[:, 1] - lines[:, 0]
        longest = float(np.hypot(*between[0]))
        across = max(self._longest_along(np.array([-y, x]) / longest) for x, y in between)
        return Diameters(longest, min(longest, across))

    def _longest_lines(self, points: np.ndarray, at_least: float, *, exhaustive: bool) -> np.ndarray | None:
        """The longest lines inside (n, 2, 2) between ``points``, all of one length, or None.

        Unless the search is ``exhaustive``, None also where the longest of all lines is not inside: between corners
        of the convex hull no other is sure to be the longest that is.
        """
        a, b = np.triu_indices(len(points), 1)
        lengths = np.hypot(*(points[b] - points[a]).T)
        least = at_least if exhaustive else max(at_least, lengths.max() - _SAME_MM)
        (long,) = np.nonzero(lengths >= least)
        order = long[np.argsort(-lengths[long], kind="stable")]
        for n in range(0, len(order), _AT_ONCE):
            chunk = order[n : n + _AT_ONCE]
            lines = np.stack([points[a[chunk]], points[b[chunk]]], axis=1)
            inside = self._are_inside(lines)
            if inside.any():
                # Lines of the same length in the next chunk are as good, but no better.
                least = lengths[chunk[inside.argmax()]] - _SAME_MM
                return lines[inside & (lengths[chunk] >= least)]
        return None

    def _are_inside(self, lines: np.ndarray) -> np.ndarray:
        """Which of the lines (n, 2, 2) have no point farther outside than a direct neighbour of the piece's pixels."""
        pixels = lines / self.spacing
        left = np.arange(len(lines))
        for share in _FIRST_LOOKS:  # most lines fail on these
            row, column = np.rint(pixels[left, 0] * (1 - share) + pixels[left, 1] * share).astype(int).T
            left = left[self.near[row, column]]
        inside = np.zeros(len(lines), dtype=bool)
        if left.size:
            row, column, is_entered = _entered(pixels[left])
            inside[left] = (self.near[row, column] | ~is_entered).all(axis=1)
        return inside

    def _longest_along(self, direction: np.ndarray) -> float:
        """Length of the longest line inside along a unit vector; it passes beside a point of the outline."""
        sideways = np.array([direction[1], -direction[0]])
        across, along = self.segments @ sideways, self.segments @ direction
        offsets = _thinned(self.points, _MOST_POINTS) @ sideways
        # Just beside the points, so that every line meets the outline an even number of times.
        offsets = np.unique(np.concatenate([offsets - _BESIDE_MM, offsets + _BESIDE_MM]))
        row, n = _crossings(across, offsets)
        part = (offsets[row] - across[n, 0]) / (across[n, 1] - across[n, 0])
        crossing = along[n, 0] + part * (along[n, 1] - along[n, 0])
        order = np.lexsort((crossing, row))
        # Every second crossing enters the piece. The next run on the same line goes on where the gap stays beside it.
        enters, leaves = crossing[order].reshape(-1, 2).T
        row = row[order[::2]]
        gaps = np.stack([leaves[:-1], enters[1:]], axis=1)[..., None] * direction
        goes_on = row[1:] == row[:-1]
        goes_on[goes_on] = self._are_inside((gaps + (offsets[row[:-1], None] * sideways)[:, None])[goes_on])
        starts = np.concatenate([[True], ~goes_on])
        ends = np.concatenate([~goes_on, [True]])
        return float((leaves[ends] - enters[starts]).max())


def _entered(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels that lines (n, 2, 2), in pixels, pass through: rows and columns (n, m), and which of these count."""
    start, along = lines[:, 0], lines[:, 1] - lines[:, 0]
    shares: list[np.ndarray] = [np.zeros((len(lines), 1)), np.ones((len(lines), 1))]
    for axis in range(2):
        low, high = lines[..., axis].min(axis=1), lines[..., axis].max(axis=1)
        edges = np.ceil(low - 0.5)[:, None] + 0.5 + np.arange(int(np.ceil((high - low).max())) + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossed = (edges - start[:, axis, None]) / along[:, axis, None]
        shares.append(np.where((crossed > 0) & (crossed < 1), crossed, 1.0))
    ordered = np.sort(np.concatenate(shares, axis=1), axis=1)
    middle = (ordered[:, 1:] + ordered[:, :-1]) / 2
    row, column = np.rint(start[:, :, None] + along[:, :, None] * middle[:, None]).astype(int).transpose(1, 0, 2)
    return row, column, np.diff(ordered, axis=1) > _SAME_SHARE


def _crossings(across: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the lines, at ascending ``offsets``, crosses which segment with ends ``across`` (n, 2): index pairs."""
    first = np.searchsorted(offsets, across.min(axis=1), side="right")
    count = np.searchsorted(offsets, across.max(axis=1), side="right") - first
    segment = np.repeat(np.arange(len(across)), count)
    return np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count), segment


def _marching_squares(mask: np.ndarray) -> np.ndarray:
    """The outline of a padded mask (row, column) in pixels, as (n, 2, 2) segments between edge midpoints."""
    corners = mask[:-1, :-1], mask[1:, :-1], mask[:-1, 1:], mask[1:, 1:]
    (first, below, beside, opposite) = corners
    crossed = np.stack([first != below, first != beside, below != opposite, beside != opposite], axis=-1)
    midpoints = np.array([(0.5, 0), (0, 0.5), (1, 0.5), (0.5, 1)])
    plain = crossed.sum(axis=-1) == 2
    cell = np.argwhere(plain)
    ends: list[tuple[np.ndarray, np.ndarray]] = [(cell, np.nonzero(crossed[plain])[1].reshape(-1, 2))]
    # Where pixels meet at a corner alone the outline passes around both.
    saddle = crossed.all(axis=-1)
    for pixels, pairs in ((saddle & first, ((0, 2), (1, 3))), (saddle & ~first, ((0, 1), (2, 3)))):
        cell = np.argwhere(pixels)
        ends += [(cell, np.broadcast_to(pair, (len(cell), 2))) for pair in pairs]
    return np.concatenate([cell[:, None] + midpoints[pair] for cell, pair in ends])


def _thinned(points: np.ndarray, most: int) -> np.ndarray:
    return points[:: -(-len(points) // most)]
