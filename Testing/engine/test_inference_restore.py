"""Masks come back to the CT's own grid at the right place in the patient, whatever its axes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.segmentation import BITS, bit_of, bits_type, pack
from GenesisSegmentLib.engine.inference import bands, resample
from GenesisSegmentLib.engine.inference.resample import matrices
from GenesisSegmentLib.engine.inference.restore import _covered, restore_linear, restore_nearest
from inference_builders import LIVER, ORIENTATIONS, ROTATIONS, SPLEEN, ball_distance, dice, grid, positions

CENTER = (12.0, -30.0, 400.0)
BALL_AT = (17.0, -27.0, 395.0)  # off the middle along all three axes
LIVER_BIT, SPLEEN_BIT = BITS(1 << (LIVER - 1)), BITS(1 << (SPLEEN - 1))


def model_grid(native: Geometry, spacing: float) -> Geometry:
    return native.reoriented(native.to_ras).resampled((spacing,) * 3)


def half_space(geometry: Geometry) -> np.ndarray:
    """How far every voxel lies right of, in front of and above the centre, in mm: an oblique plane."""
    normal = np.array([0.8, 0.36, 0.48])
    return np.tensordot(normal, positions(geometry) - np.array(CENTER).reshape(3, 1, 1, 1), axes=1)


def restored(method: str, distance: np.ndarray, model: Geometry, native: Geometry) -> np.ndarray:
    bits = np.where(distance > 0, LIVER_BIT, BITS(0))
    if method == "nearest":
        return restore_nearest(bits, model, native)
    return restore_linear(bits, distance[None].astype(np.float16), (LIVER,), model, native)


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("degrees", ROTATIONS)
def test_masks_lie_where_they_lay_for_every_order_of_the_axes(method, degrees) -> None:
    straight = grid((16, 14, 10), (1.5, 1.7, 3.0), degrees, CENTER)
    for orientation in ORIENTATIONS:
        native = straight.reoriented(orientation)
        model = model_grid(native, 2.0)
        # An error of half a model voxel along each axis, and the little that half precision loses.
        blur = np.sqrt(3.0) if method == "nearest" else 0.75
        for shape in (lambda g: ball_distance(g, BALL_AT, 8.0), half_space):
            found = restored(method, shape(model), model, native)
            inside = shape(native)
            assert found.shape == native.shape
            assert (found[inside > blur] == LIVER_BIT).all()
            assert (found[inside < -blur] == 0).all()
            assert (inside > blur).any()
            assert (inside < -blur).any()


@given(
    shape=st.tuples(*[st.integers(6, 24)] * 3),
    spacing=st.tuples(*[st.floats(0.6, 5.0)] * 3),
    degrees=st.sampled_from(ROTATIONS),
    orientation=st.sampled_from(ORIENTATIONS),
    model_spacing=st.sampled_from([1.5, 2.0, 4.0]),
)
@settings(max_examples=60, deadline=None)
def test_a_plane_through_any_grid_comes_back_in_place(shape, spacing, degrees, orientation, model_spacing) -> None:
    native = grid(shape, spacing, degrees, CENTER).reoriented(orientation)
    model = model_grid(native, model_spacing)
    inside, blur = half_space(native), 0.5 * np.sqrt(3) * model_spacing + 0.01
    for method in ("nearest", "linear"):
        found = restored(method, half_space(model), model, native)
        assert (found[inside > blur] == LIVER_BIT).all()
        assert (found[inside < -blur] == 0).all()


def test_interpolated_logits_are_nearer_to_the_truth_than_nearest_voxels() -> None:
    native = grid((40, 40, 40), (1.0, 1.0, 1.0), center=CENTER)
    model = model_grid(native, 4.0)
    truth = ball_distance(native, BALL_AT, 11.0) > 0
    quality = {
        method: dice(restored(method, ball_distance(model, BALL_AT, 11.0), model, native) != 0, truth)
        for method in ("nearest", "linear")
    }
    assert quality["linear"] > 0.96
    assert quality["linear"] > quality["nearest"] + 0.05


@pytest.mark.parametrize("method", ["nearest", "linear"])
@pytest.mark.parametrize("spacing", [0.75, 0.9, 3.0])
@pytest.mark.parametrize("n", [7, 8, 9, 10])
def test_every_border_voxel_of_the_ct_can_be_set(method, spacing, n) -> None:
    """Also where the model's last voxel ends exactly at the centre of the CT's last one (8 x 0.75 at 1.5 mm)."""
    native = grid((n, n, n), (spacing,) * 3).reoriented(ORIENTATIONS[29])
    model = model_grid(native, 1.5)
    assert (restored(method, np.ones(model.shape), model, native) == LIVER_BIT).all()


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_nothing_is_set_outside_the_crop(method) -> None:
    native = grid((30, 28, 26), (1.0, 1.0, 1.0), ROTATIONS[1]).reoriented(ORIENTATIONS[13])
    whole = model_grid(native, 2.0)
    box = Box((3, 4, 5), (9, 8, 11))
    crop = whole.cropped(box)
    found = restored(method, np.ones(crop.shape), crop, native)
    index = np.linalg.inv(crop.ijk_to_ras) @ np.vstack(
        [positions(native).reshape(3, -1), np.ones(np.prod(native.shape))]
    )
    outside = np.zeros(index.shape[1])
    for axis in range(3):
        outside = np.maximum(outside, np.abs(index[axis] - (crop.shape[axis] - 1) / 2) - crop.shape[axis] / 2)
    outside = outside.reshape(native.shape)
    assert (found[outside > 1e-6] == 0).all()
    assert (found[outside < 1e-6] == LIVER_BIT).all()


def test_a_mask_between_two_thick_slices_is_not_smeared_onto_them() -> None:
    native = grid((20, 20, 5), (1.0, 1.0, 10.0))
    model = model_grid(native, 1.0)
    distance = np.full(model.shape, -4.0)
    distance[5:15, 5:15, 14:17] = 4.0  # the slices lie at 0, 10, 20...
    for method in ("nearest", "linear"):
        assert (restored(method, distance, model, native) == 0).all()


def two_balls(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    return ball_distance(geometry, (2.0, -30.0, 400.0), 6.0), ball_distance(geometry, (24.0, -30.0, 400.0), 6.0)


def test_what_post_processing_removed_stays_removed() -> None:
    native = grid((44, 24, 24), (1.0, 1.0, 1.0), ROTATIONS[1], CENTER)
    model = model_grid(native, 2.0)
    left, right = two_balls(model)
    logits = np.maximum(left, right)[None].astype(np.float16)
    kept = np.where(right > 0, LIVER_BIT, BITS(0))
    found = restore_linear(kept, logits, (LIVER,), model, native) != 0
    inside_left, inside_right = two_balls(native)
    assert not found[inside_left > -2].any()
    assert dice(found, inside_right > 0) > 0.9


def test_what_was_removed_between_two_parts_that_stay_is_removed() -> None:
    native = grid((60, 20, 20), (1.0, 1.0, 1.0), ROTATIONS[0], CENTER)
    model = model_grid(native, 2.0)

    def balls(geometry: Geometry) -> list[np.ndarray]:
        return [ball_distance(geometry, (x, -30.0, 400.0), 6.0) for x in (-8.0, 12.0, 32.0)]

    parts = balls(model)
    kept = np.where(np.maximum(parts[0], parts[2]) > 0, LIVER_BIT, BITS(0))
    found = restore_linear(kept, np.max(parts, axis=0)[None].astype(np.float16), (LIVER,), model, native) != 0
    left, middle, right = balls(native)
    assert not found[middle > -2].any()
    assert dice(found, np.maximum(left, right) > 0) > 0.9


def test_a_class_that_post_processing_emptied_stays_empty() -> None:
    native = grid((20, 20, 20), (1.0, 1.0, 1.0), center=CENTER)
    model = model_grid(native, 2.0)
    ball = ball_distance(model, BALL_AT, 6.0)
    logits = np.stack([ball, ball]).astype(np.float16)
    found = restore_linear(np.where(ball > 0, LIVER_BIT, BITS(0)), logits, (SPLEEN, LIVER), model, native)
    assert np.bitwise_or.reduce(found, axis=None) == LIVER_BIT


@pytest.mark.parametrize("logit", [-3.0, 0.0])
def test_what_post_processing_added_is_there(logit) -> None:
    """A filled hole: the network said no, or nothing at all."""
    native = grid((30, 30, 30), (1.0, 1.0, 1.0), center=CENTER)
    model = model_grid(native, 2.0)
    ball, hole = ball_distance(model, BALL_AT, 10.0), ball_distance(model, BALL_AT, 4.0) > 0
    logits = np.where(hole, logit, ball)[None].astype(np.float16)
    found = restore_linear(np.where(ball > 0, LIVER_BIT, BITS(0)), logits, (LIVER,), model, native) != 0
    assert found[ball_distance(native, BALL_AT, 8.0) > 0].all()


def test_overlapping_classes_keep_their_own_masks() -> None:
    native = grid((30, 30, 30), (1.0, 1.0, 1.0), ROTATIONS[2], CENTER).reoriented(ORIENTATIONS[41])
    model = model_grid(native, 2.0)
    fields = [ball_distance(model, BALL_AT, 5.0), ball_distance(model, (9.0, -30.0, 400.0), 10.0)]
    bits = np.where(fields[0] > 0, SPLEEN_BIT, BITS(0)) | np.where(fields[1] > 0, LIVER_BIT, BITS(0))
    truth = [ball_distance(native, BALL_AT, 5.0) > 0, ball_distance(native, (9.0, -30.0, 400.0), 10.0) > 0]
    assert (truth[0] & truth[1]).any()
    linear = restore_linear(bits, np.stack(fields).astype(np.float16), (SPLEEN, LIVER), model, native)
    for found, bound in ((linear, 0.96), (restore_nearest(bits, model, native), 0.8)):
        assert dice((found & SPLEEN_BIT) != 0, truth[0]) > bound
        assert dice((found & LIVER_BIT) != 0, truth[1]) > bound


# --- every class resampled on the whole grid, then thresholded: the same in every bit --------------------------------


def whole_grid(bits, logits, classes, model: Geometry, native: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The plain way, on RAS axes, and how far from 0 the value nearest to it is at each voxel."""
    region = _covered(model, native)
    out, least = np.zeros(native.shape, bits.dtype), np.full(native.shape, np.inf)
    if region is None:
        return out, least
    by_i, by_j, by_k = matrices(model, native.cropped(region))
    for index, values in zip(classes, logits, strict=True):
        inside = (bits & bit_of(index)) != 0
        clearness = np.abs(values.astype(np.float32))
        field = np.where(inside, np.maximum(clearness, np.float32(1e-3)), -clearness)
        planes = (by_k @ field.transpose(2, 0, 1).reshape(field.shape[2], -1)).reshape(-1, *field.shape[:2])
        up = np.stack([by_j @ np.ascontiguousarray((by_i @ plane).T) for plane in planes])
        out[region.slices] |= np.where(up.transpose(2, 1, 0) > 0, bit_of(index), bit_of())
        least[region.slices] = np.minimum(least[region.slices], np.abs(up.transpose(2, 1, 0)))
    return out, least


SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.5, 4.0), (0.75, 0.625, 1.5), (4.0, 2.5, 0.25), (0.3, 0.7, 0.9), (0.83, 0.83, 5.0)]
SHAPES = st.one_of(st.tuples(*[st.integers(1, 26)] * 3), st.sampled_from([(40, 30, 1), (1, 40, 12), (20, 24, 60)]))
CLASSES = [(1, 6, 32), (2, 32, 33, 64), (7,)]


@given(
    shape=SHAPES,
    spacing=st.sampled_from(SPACINGS),
    degrees=st.sampled_from(ROTATIONS),
    orientation=st.sampled_from(ORIENTATIONS),
    model_spacing=st.sampled_from([1.5, 2.0, 4.0]),
    classes=st.sampled_from(CLASSES),
    smooth=st.sampled_from([0.0, 1.0, 3.0]),
    slab=st.sampled_from([1, 500, 10**9]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_every_bit_is_that_of_the_whole_grid(
    shape, spacing, degrees, orientation, model_spacing, classes, smooth, slab, seed
) -> None:
    """Also with classes that overlap, lie at the edge, are not wanted, and where post-processing decided otherwise."""
    rng = np.random.default_rng(seed)
    native = grid(shape, spacing, degrees).reoriented(orientation)
    model = model_grid(native, model_spacing)
    if rng.random() < 0.5:
        start = [int(rng.integers(0, n)) for n in model.shape]
        model = model.cropped(
            Box(tuple(start), tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, model.shape, strict=True)))
        )
    noise = ndimage.gaussian_filter(rng.standard_normal((len(classes), *model.shape)), (0, *[smooth] * 3))
    logits = (4 * noise / max(noise.std(), 1e-3) - rng.uniform(-1, 4)).astype(np.float16)
    is_exact = not any(degrees) and all(np.log2(model_spacing / s) % 1 == 0 for s in spacing)
    if is_exact:
        logits = np.round(logits)  # many zeros and ties
    changed = rng.random(logits.shape) < rng.choice([0.0, 0.1])
    bits = pack(zip(classes, (logits > 0) ^ changed, strict=True), model.shape).astype(bits_type(classes))
    wanted = classes[: int(rng.integers(1, len(classes) + 1))]
    told = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "SLAB_VOXELS", slab)
        patch.setattr(bands, "_BATCH_VOXELS", min(slab, bands._BATCH_VOXELS))
        found = restore_linear(
            bits, logits[: len(wanted)], wanted, model, native, on_class=lambda c, *result: told.update({c: result})
        )
    straight = native.to_ras
    expected, least = whole_grid(bits, logits[: len(wanted)], wanted, model, native.reoriented(straight))
    assert found.dtype == bits.dtype
    # A tie is decided by the last digit of where a voxel lies, unless that is exact.
    is_clear = np.full(expected.shape, True) if is_exact else least > 1e-5
    np.testing.assert_array_equal(straight.apply(found)[is_clear], expected[is_clear])
    for index, (box, mask, is_preliminary) in told.items():
        alone = np.zeros(native.shape, bool)
        alone[box.slices] = mask
        np.testing.assert_array_equal(alone, (found & bit_of(index)) != 0)
        assert not is_preliminary
    assert {c for c in wanted if ((expected & bit_of(c)) != 0).any()} <= set(told)


def test_cells_of_the_model_without_a_surface_are_not_interpolated(monkeypatch) -> None:
    native = grid((60, 60, 60), (1.0, 1.0, 1.0), center=CENTER)
    model = model_grid(native, 4.0)
    ball = ball_distance(model, BALL_AT, 20.0)
    interpolated = []
    plain = bands._interpolated
    monkeypatch.setattr(bands, "_interpolated", lambda *of: interpolated.append(plain(*of)) or interpolated[-1])
    found = restore_linear(
        np.where(ball > 0, LIVER_BIT, BITS(0)), ball[None].astype(np.float16), (LIVER,), model, native
    )
    assert dice(found != 0, ball_distance(native, BALL_AT, 20.0) > 0) > 0.98
    assert 0 < sum(values.size for values in interpolated) < 0.3 * found.size


def test_restoring_reports_and_can_be_stopped() -> None:
    native = grid((10, 10, 10), (1.0, 1.0, 1.0), center=CENTER)
    bits = np.full(native.shape, LIVER_BIT | SPLEEN_BIT)
    logits = np.ones((2, *native.shape), np.float16)
    shares: list[float] = []
    restore_linear(bits, logits, (SPLEEN, LIVER), native, native, shares.append)
    assert shares == [0.0]  # one slab for both

    def stop(share: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        restore_linear(bits, logits, (SPLEEN, LIVER), native, native, stop)


def test_the_table_of_orientations_is_complete() -> None:
    straight = grid((3, 4, 5), (1.0, 1.0, 1.0))
    codes = {straight.reoriented(o).axis_codes for o in ORIENTATIONS}
    letters = ("RL", "AP", "SI")
    assert len(codes) == len(ORIENTATIONS) == 6 * len(list(product(*letters)))
