"""Everything that comes in: a CT as int16 Hounsfield units on an exact grid in RAS, or a sentence that says why not."""

from .ct_check import check_ct
from .dicom_folder import SeriesInfo, list_series
from .reading import VOLUME_SUFFIXES, find_inputs, read_volume

__all__ = ["VOLUME_SUFFIXES", "SeriesInfo", "check_ct", "find_inputs", "list_series", "read_volume"]
