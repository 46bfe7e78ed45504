"""A CT in Hounsfield units is told from everything else by its values; what cannot be known is refused."""

from __future__ import annotations

import numpy as np
import pytest

from builders import TISSUE, a_ct_volume, an_oblique_geometry, ct_voxels
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.images import check_ct

SHAPE = (24, 20, 16)
RANDOM = np.random.default_rng(7)


def volume_of(voxels: np.ndarray) -> Volume:
    return Volume(np.asarray(voxels), an_oblique_geometry(voxels.shape), a_ct_volume().source)


def body(noise: float = 12.0) -> np.ndarray:
    return ct_voxels(SHAPE, noise)


def inside_the_body() -> np.ndarray:
    """A tight crop without air: soft tissue with a fifth of fat."""
    crop = np.where(RANDOM.random(SHAPE) < 0.2, -95, 45)
    return crop + RANDOM.normal(0, 18, SHAPE)


def with_padding(value: int) -> np.ndarray:
    padded = body()
    padded[:2] = value
    return padded


def blank_with(value: float) -> np.ndarray:
    voxels = body().astype(np.float32)
    voxels[3, 4, 5] = value
    return voxels


ACCEPTED = {
    "int16": body(),
    "int32": body().astype(np.int32),
    "float64": body().astype(np.float64) + 0.2,
    "a crop inside the body": inside_the_body(),
    "a crop inside the body, int16": np.rint(inside_the_body()).astype(np.int16),
    "padding -3024": with_padding(-3024),
    "padding -32768": with_padding(-32768),
    "air clipped at -1000": np.maximum(body(), -1000),
    "window -200..250": np.clip(inside_the_body(), -200, 250),
    "noisy": body(noise=60),
    "water phantom": np.where(body() < -500, -1000, 0).astype(np.int16),
    "contrast in a tenth": np.where(RANDOM.random(SHAPE) < 0.1, 300, body()),
}


@pytest.mark.parametrize("voxels", ACCEPTED.values(), ids=ACCEPTED)
def test_hounsfield_units_are_accepted_and_keep_their_values(voxels: np.ndarray) -> None:
    checked = check_ct(volume_of(voxels))
    assert checked.voxels.dtype == np.int16
    np.testing.assert_array_equal(checked.voxels, np.clip(np.rint(voxels), -1024, 32767))


REFUSED = {
    "NaN": (blank_with(np.nan), "not numbers"),
    "infinite": (blank_with(-np.inf), "not numbers"),
    "blank": (np.full(SHAPE, -1000), "blank"),
    "boolean": (body() > 0, "bool"),
    "complex": (body().astype(np.complex64), "complex64"),
    "0-255": (np.clip(body(60) / 4 + 128, 0, 255).astype(np.uint8), "grey values from 0 to 255"),
    "0-1": ((body() + 1024) / 3000, "normalised"),
    "-1..1": (np.clip(body() / 1000, -1, 1), "normalised"),
    "z-score": ((body() - body().mean()) / body().std(), "not a CT in Hounsfield units"),
    "label map": (RANDOM.integers(0, 33, SHAPE), "label map"),
    "label map with gaps": (RANDOM.choice([0, 512, 770, 782], SHAPE), "label map"),
    "rescale intercept lost": (body().astype(np.int32) + 1024, "zero point was lost"),
    "rescale intercept lost, unsigned": ((body().astype(np.int32) + 1024).astype(np.uint16), "Subtract the rescale"),
    "rescale intercept twice": (body(40).astype(np.int32) - 1024, "not a CT"),
    "slope of two": (body(40).astype(np.int32) * 2, "not a CT"),
    "MR": (np.abs(RANDOM.normal(0, 20, SHAPE) + np.where(body() > -500, 300, 0)), "air and fat would be negative"),
    "MR with some negative values": (RANDOM.normal(0, 15, SHAPE) + np.where(body() > -500, 300, 0), "not a CT"),
    "MR phase": (RANDOM.uniform(-4096, 4094, SHAPE), "not a CT"),
    "MR subtraction": (RANDOM.normal(0, 30, SHAPE) + np.where(body() > 600, 400, 0), "not a CT"),
    "PET in SUV": (RANDOM.gamma(1, 1.0, SHAPE), "air and fat would be negative"),
    "PET in Bq/ml": (RANDOM.gamma(1, 3000.0, SHAPE), "negative"),
    "PET with negative noise": (RANDOM.normal(0, 90, SHAPE) + RANDOM.gamma(0.2, 900.0, SHAPE), "not a CT"),
    "no air and no HU": (RANDOM.normal(700, 150, SHAPE), "not a CT"),
}


@pytest.mark.parametrize(("voxels", "because"), REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused_with_cause_and_remedy(voxels: np.ndarray, because: str) -> None:
    with pytest.raises(InputError, match=because) as refusal:
        check_ct(volume_of(voxels))
    assert refusal.value.remedy


STATED = {
    "an organ without fat": RANDOM.normal(60, 12, SHAPE),
    "a narrow window": np.clip(inside_the_body(), 0, 80),
    "body": body(),
    "lossy edge of the padding": with_padding(-2000)
    - np.pad(RANDOM.gamma(2, 300, (2, 20, 16)), ((0, 22), (0, 0), (0, 0))),
}


@pytest.mark.parametrize("voxels", STATED.values(), ids=STATED)
def test_where_the_header_states_hu_the_values_only_have_to_agree(voxels: np.ndarray) -> None:
    assert check_ct(volume_of(voxels), units_stated=True).voxels.dtype == np.int16


def head_with_the_intercept_twice() -> np.ndarray:
    """No lungs: only bone reaches the values of tissue, and the more the lower."""
    head = ct_voxels(tuple(3 * n for n in SHAPE))
    bone = np.where(RANDOM.random(head.shape) < 0.4, 160 + RANDOM.exponential(400, head.shape), TISSUE)
    return np.where(head < -500, -1000, bone) - 1024


CONTRADICTING = {
    **{name: REFUSED[name][0] for name in ("rescale intercept lost", "rescale intercept twice", "NaN", "blank")},
    "a head with the rescale intercept twice": head_with_the_intercept_twice(),
}


@pytest.mark.parametrize("voxels", CONTRADICTING.values(), ids=CONTRADICTING)
def test_values_that_contradict_the_header_are_refused(voxels: np.ndarray) -> None:
    with pytest.raises(InputError):
        check_ct(volume_of(voxels), units_stated=True)


def test_an_organ_without_fat_cannot_be_known_from_values_alone() -> None:
    with pytest.raises(InputError):
        check_ct(volume_of(STATED["an organ without fat"]))


def test_padding_is_clipped_with_a_note_and_a_clean_ct_has_none() -> None:
    padded = check_ct(volume_of(with_padding(-3024)))
    assert padded.voxels.min() == -1024
    assert [note for note in padded.source.notes if "-1024" in note]
    assert check_ct(volume_of(body())).source.notes == ()


def half_of_all(voxels: np.ndarray) -> np.ndarray:
    return np.rint(voxels / 2).astype(np.int16)


@pytest.mark.parametrize("is_stated", [False, True])
@pytest.mark.parametrize(
    ("voxels", "air"),
    [(half_of_all(body()), "-500"), (body() - 100, "-1100"), (body() + 60, "-940")],
    ids=["half", "100 too low", "60 too high"],
)
def test_values_that_are_shifted_or_scaled_are_told(voxels: np.ndarray, air: str, is_stated: bool) -> None:
    (note,) = [note for note in check_ct(volume_of(voxels), is_stated).source.notes if "Air" in note]
    assert note.startswith(f"Air lies near {air} ")


@pytest.mark.parametrize(
    ("voxels", "is_stated"), [*((v, False) for v in ACCEPTED.values()), *((v, True) for v in STATED.values())]
)
def test_no_doubt_is_cast_on_good_values(voxels: np.ndarray, is_stated: bool) -> None:
    assert not [note for note in check_ct(volume_of(voxels), is_stated).source.notes if "Air" in note]


def test_lung_without_air_around_it_is_no_reason_for_doubt() -> None:
    chest = np.where(body() < -500, -850 + RANDOM.normal(0, 40, SHAPE), body())
    assert check_ct(volume_of(chest)).source.notes == ()


def test_values_beyond_int16_are_clipped_with_a_note() -> None:
    voxels = body().astype(np.int32)
    voxels[0, 0, 0] = 70_000
    checked = check_ct(volume_of(voxels))
    assert checked.voxels[0, 0, 0] == 32767
    assert [note for note in checked.source.notes if "32767" in note]


def test_a_clean_int16_ct_is_not_copied_and_the_given_array_is_never_changed() -> None:
    clean, padded = body(), with_padding(-3024)
    before = padded.copy()
    assert check_ct(volume_of(clean)).voxels is clean
    check_ct(volume_of(padded))
    np.testing.assert_array_equal(padded, before)


def test_geometry_and_source_stay() -> None:
    volume = a_ct_volume(an_oblique_geometry())
    checked = check_ct(volume)
    assert checked.geometry is volume.geometry
    assert checked.source == volume.source
