"""Masks for the tests of post-processing, and its rules written a second time, plainly, with scipy alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from GenesisSegmentLib.core.classes import class_table

SHAPE = (24, 22, 20)
CUBE = np.ones((3, 3, 3), bool)
BIG_CUBE = np.ones((5, 5, 5), bool)
SPLEEN, LIVER, AORTA, VEIN, PANCREAS, VESSEL, RIGHT, LEFT, COLON = 1, 6, 8, 10, 11, 15, 16, 17, 18
RIGHT_KIDNEY, LEFT_KIDNEY = 2, 3
KIDNEY_TUMOR, LIVER_TUMOR, PANCREAS_TUMOR, VESSEL_TUMOR, LUNG_TUMOR, COLON_TUMOR, CYST = range(26, 33)


# --- the second implementation: loops over components of the whole volume, scipy only ------------------------------


def reference_components(mask):
    """Components as masks, largest first, then lowest mean index."""
    labels, count = ndimage.label(mask, structure=CUBE)
    parts = [labels == n for n in range(1, count + 1)]
    return sorted(parts, key=lambda p: (-int(p.sum()), *np.argwhere(p).mean(axis=0)))


def reference_largest(mask, count, above=0):
    kept = [p for p in reference_components(mask) if p.sum() > above][:count]
    return np.any(kept, axis=0) if kept else np.zeros_like(mask)


def reference_host(masks, hosts):
    union = np.any([masks[h - 1] for h in hosts], axis=0)
    host = reference_largest(union, len(hosts))
    host = ndimage.binary_closing(host, structure=BIG_CUBE)
    return ndimage.binary_dilation(host, structure=BIG_CUBE)


def reference_two_lungs(union):
    parts = reference_components(union)
    if len(parts) < 2:
        return np.zeros_like(union), np.zeros_like(union)
    left, right = sorted(parts[:2], key=lambda p: np.argwhere(p)[:, 0].mean())
    return right, left


def reference_published(masks):
    result = masks.copy()
    for c in range(1, 33):
        if c == VEIN:
            lowest = np.argwhere(reference_largest(masks[PANCREAS - 1], 1))[:, 2].min()
            result[c - 1, :, :, :lowest] = False
        elif c in (RIGHT, LEFT):
            right, left = reference_two_lungs(masks[RIGHT - 1] | masks[LEFT - 1])
            result[c - 1] = right if c == RIGHT else left
        elif c in (KIDNEY_TUMOR, LIVER_TUMOR):
            result[c - 1] &= reference_host(masks, {26: (2, 3), 27: (6,)}[c])
        elif c < 26 and c != VESSEL:
            result[c - 1] = reference_largest(masks[c - 1], 1)
    return result


def reference_abdomenatlas_lungs(union):
    right, left = (ndimage.binary_fill_holes(lung) for lung in reference_two_lungs(union))
    while max(right.sum(), left.sum()) > 4 * min(right.sum(), left.sum()):
        large = max(right, left, key=np.sum)
        low, high = large[: len(large) // 2].sum() + 1, large[len(large) // 2 :].sum() + 1
        if high > 4 * low:
            return large, np.zeros_like(large)
        if low > 4 * high:
            return np.zeros_like(large), large
        areas = [int(large[..., k].sum()) for k in range(large.shape[2])]
        bulky = [
            k
            for k, area in enumerate(areas)
            if area > np.mean(areas[max(0, k - 10) : k + 10]) + 2 * np.std(areas[max(0, k - 10) : k + 10])
            and area > np.mean(areas[max(0, k - 3) : k + 4]) + 200
        ]
        if bulky:
            union = right | left
            union[..., bulky] = False
            right, left = reference_two_lungs(union)
        else:
            eroded = large
            seeds = None
            while eroded.any() and seeds is None:
                eroded = ndimage.binary_erosion(eroded, structure=CUBE)
                seeds = reference_two_lungs(eroded)
                sizes = sorted(seed.sum() for seed in seeds)
                if sizes[0] == 0 or sizes[1] > 4 * sizes[0]:
                    seeds = None
            if seeds is None:
                return right, left
            distances = [ndimage.distance_transform_edt(~seed) for seed in seeds]
            right, left = large & (distances[0] < distances[1]), large & (distances[1] < distances[0])
        right, left = ndimage.binary_fill_holes(right), ndimage.binary_fill_holes(left)
    return right, left


def random_masks(seed, fill=0.3):
    """32 channels of random blobs; every seed gives other blobs."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((32, *SHAPE)), (0, 1.5, 1.5, 1.5))
    return noise > np.quantile(noise, 1 - fill, axis=(1, 2, 3), keepdims=True)


def zoomed(mask, shape):
    return ndimage.zoom(mask.astype(float), [n / m for n, m in zip(shape, mask.shape, strict=True)], order=1) > 0.5


# --- helpers for the tables ------------------------------------------------------------------------------------------


def box(x, y=(6, 16), z=(6, 16), shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


def channels(shape=SHAPE, **by_name):
    masks = np.zeros((32, *shape), bool)
    slugs = {c.slug: c.index for c in class_table().values()}
    for slug, mask in by_name.items():
        masks[slugs[slug] - 1] = mask
    return masks


def of(masks, index):
    return masks[index - 1]


def mirrored(masks):
    """The patient mirrored: first axis reversed, right and left classes exchanged."""
    swap = {2: 3, 12: 13, 16: 17, 23: 24}
    swap |= {b: a for a, b in swap.items()}
    return np.stack([masks[swap.get(c, c) - 1][::-1] for c in range(1, 33)])
