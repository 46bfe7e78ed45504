"""Spans of time as people write them."""

from __future__ import annotations

import re

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def in_seconds(text: str) -> float:
    """Seconds of a span such as 45s, 90m, 1.5h or 2d; a bare number is seconds.

    Raises:
        ValueError: it is no such span.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a time.')
    return float(match[1]) * _UNITS_S[match[2]]
