"""Is this a CT in Hounsfield units? Decided from the values, as a file such as NIfTI does not say.

Air lies near -1000 HU, fat near -100, water at 0, soft tissue at 20..80 (up to about 130 with contrast). A volume is
taken for a CT when it holds air together with fat or soft tissue, or, for a crop without air, fat below a peak of soft
tissue. What cannot be known is refused.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.errors import InputError
from ...core.i18n import _
from ...core.volume import Volume
from .refusals import LabelMapError
from .rescale import to_int16

LOWEST_HU, HIGHEST_HU = -1024, 32767
_SAMPLE = 2_000_000


def check_ct(volume: Volume, units_stated: bool = False) -> Volume:
    """The volume as int16 Hounsfield units, clipped to -1024..32767, or a refusal.

    Args:
        volume: voxels [i, j, k] of any real number type.
        units_stated: the header says that this is a CT in Hounsfield units (DICOM). The values then only have to
            agree with it; otherwise they have to prove it.

    Raises:
        LabelMapError: it is a label map.
        InputError: not finite, not a CT, or not in Hounsfield units; the message says what it looks like instead.
    """
    voxels = volume.voxels
    if voxels.dtype.kind not in "iuf":
        raise InputError(_("The image holds {kind} values, not plain numbers.").format(kind=voxels.dtype), _original())
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not np.isfinite([lowest, highest]).all():
        raise InputError(
            _("The image holds voxels that are not numbers (NaN or infinite)."),
            _("Replace them, for example by -1024 outside the field of view, and try again."),
        )
    if lowest == highest:
        raise InputError(
            _("The image is blank: every voxel is {lowest}.").format(lowest=f"{lowest:g}"), _("Export the image again.")
        )
    values = _sample(voxels)
    if not (_agrees_with_hu(values) if units_stated else _proves_hu(values)):
        _refuse_label_map(values)
        raise InputError(*_refusal(values, lowest, highest))

    notes = []
    if np.count_nonzero(values < 1.1 * LOWEST_HU) > values.size // 1000:
        note = _("Values below {limit} HU (padding outside the scanner's field of view) became {limit}.")
        notes.append(note.format(limit=LOWEST_HU))
    notes += _doubts(values)
    if highest > HIGHEST_HU:
        notes.append(_("Values above {limit} HU became {limit}.").format(limit=HIGHEST_HU))
    if voxels.dtype != np.int16:
        voxels = to_int16(voxels, LOWEST_HU, HIGHEST_HU)
    elif lowest < LOWEST_HU:
        voxels = np.maximum(voxels, np.int16(LOWEST_HU))
    return replace(volume, voxels=voxels, source=replace(volume.source, notes=(*volume.source.notes, *notes)))


def _doubts(values: np.ndarray) -> list[str]:
    """A note where air does not lie near -1000: the values may be shifted, or have another scale.

    Air outside the body lies between -1030 and -960, lung between -950 and -750, so that a value in between counts
    only where soft tissue, else at -10..90, is off as well.
    """
    low = values[(values >= -1210) & (values < -210)]
    if low.size < 0.01 * values.size:
        return []
    air = _fullest(low, np.arange(-1210, -209, 20))
    tissue = _fullest(values, np.arange(-65, 256, 10))
    if -1045 <= air <= -750 and (not -965 <= air <= -900 or -10 <= tissue <= 90):
        return []
    doubt = _(
        "Air lies near {air} and soft tissue near {tissue} in this image, not near -1000 and 40 HU: it may have been "
        "shifted or scaled, and then the segmentation is not to be trusted."
    )
    return [doubt.format(air=f"{air:g}", tissue=f"{tissue:g}")]


def _fullest(values: np.ndarray, edges: np.ndarray) -> float:
    """Centre of the bin that holds most values."""
    counts, _edges = np.histogram(values, bins=edges)
    return float(edges[counts.argmax()] + edges[counts.argmax() + 1]) / 2


def _proves_hu(values: np.ndarray) -> bool:
    air, fat = _share(values, -1100, -700), _share(values, -150, -40)
    peak = _tissue_peak(values)
    if peak is None or _impossible_share(values) > 0.02:
        return False
    has_tissue = _share(values, -150, 150) >= 0.02 and (-130 <= peak < -60 or -30 <= peak < 130)
    if air >= 0.005:
        return has_tissue
    # Without air: fat, and a peak that stands above the values between fat and soft tissue. Noise around zero (PET,
    # subtraction images) has its peak at zero, below 10, and nothing of that shape.
    stands_out = _density(values, peak, peak + 20) >= 1.5 * _density(values, -40, -20)
    in_place = -130 <= peak < -60 or 10 <= peak < 130
    return fat >= 0.01 and in_place and stands_out and _share(values, -200, 250) >= 0.4


def _agrees_with_hu(values: np.ndarray) -> bool:
    peak = _tissue_peak(values)
    # Tissue makes a peak; bone that a wrong intercept brought down to here spreads evenly.
    has_tissue = (
        _share(values, -200, 300) >= 0.01
        and peak is not None
        and _density(values, peak, peak + 20) >= 2 * _density(values, -210, 250)
    )
    # Lossy compression blurs the edge of the padding (-2000 and below) far down, so that only the values above count.
    return has_tissue and _impossible_share(values[values > -1900]) <= 0.02 and not _looks_shifted(values)


def _looks_shifted(values: np.ndarray) -> bool:
    """Whether air seems to lie near 0 and soft tissue near 1000..1100, as where the rescale intercept was lost."""
    air, tissue = _share(values, -150, 250), _share(values, 850, 1174)
    return _share(values, -2000, -150) < 0.001 and air >= 0.01 and tissue >= 0.1


def _tissue_peak(values: np.ndarray) -> float | None:
    """Lower edge of the fullest bin of 20 HU within -200..250; the bins begin at -210, -190, ..., -10, 10, ..."""
    counts, edges = np.histogram(values, bins=np.arange(-210, 260, 20))
    return float(edges[counts.argmax()]) if counts.any() else None


def _impossible_share(values: np.ndarray) -> float:
    """Share of the values that are too low for Hounsfield units, leaving out constant padding."""
    low, counts = np.unique(values[values < -1200], return_counts=True)
    padding = counts[(low == np.rint(low)) & (counts > values.size // 100)]
    # Two padding values at most: the scanner's and the reconstruction's.
    return float(counts.sum() - np.sort(padding)[-2:].sum()) / values.size


def _share(values: np.ndarray, low: float, high: float) -> float:
    return float(np.count_nonzero((values >= low) & (values < high))) / values.size


def _density(values: np.ndarray, low: float, high: float) -> float:
    return _share(values, low, high) / (high - low)


def _sample(voxels: np.ndarray) -> np.ndarray:
    """Up to two million values spread evenly over the volume, as float32."""
    flat = voxels.reshape(-1, order="A") if voxels.flags.forc else voxels.ravel()
    step = max(1, flat.size // _SAMPLE) | 1  # odd, so as not to meet the same columns of a slice over and over
    return flat[::step].astype(np.float32)


def _refuse_label_map(values: np.ndarray) -> None:
    distinct = np.unique(values)
    if distinct[0] >= 0 and distinct.size <= 64 and (distinct == np.rint(distinct)).all():
        raise LabelMapError(
            _("This looks like a label map ({count} different values), not a CT.").format(count=distinct.size),
            _("Give the CT itself."),
        )


def _refusal(values: np.ndarray, lowest: float, highest: float) -> tuple[str, str]:
    """What the values look like instead, and what to do."""
    extent = _("from {lowest} to {highest}").format(lowest=f"{lowest:g}", highest=f"{highest:g}")
    whole = bool((values == np.rint(values)).all())
    if _looks_shifted(values):
        what = _(
            "The values {extent} look like a CT whose zero point was lost: soft tissue lies near 1000, not near 40."
        )
        remedy = _(
            "Subtract the rescale intercept (mostly 1024) from the image, or better: give the original CT (its DICOM "
            "series, or a conversion that keeps Hounsfield units)."
        )
        return what.format(extent=extent), remedy
    if lowest >= -1 and highest <= 1:
        what = _("The image was normalised to values {extent}; its Hounsfield units were lost.")
    elif lowest >= 0 and highest <= 255 and whole:
        what = _("The image holds grey values {extent}, not Hounsfield units.")
    elif lowest >= 0:
        what = _(
            "The image is not a CT in Hounsfield units: its values go {extent}, and air and fat would be negative "
            "(is it an MR or a PET?)."
        )
    else:
        what = _(
            "The image is not a CT in Hounsfield units: its values go {extent}, with neither air near -1000 beside "
            "tissue near 0, nor fat near -100 with soft tissue near 40 (is it an MR, a PET, or wrongly rescaled?)."
        )
    return what.format(extent=extent), _original()


def _original() -> str:
    return _("Give the original CT (its DICOM series, or a conversion that keeps Hounsfield units).")
