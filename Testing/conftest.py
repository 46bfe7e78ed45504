"""Fixtures that every test room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Networks in tests are tiny: on a busy machine, threads that wait for each other cost far more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more about the machine than about the code.
settings.register_profile("genesis", deadline=None)
settings.load_profile("genesis")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CTs beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real image data at {SHARED_DATA}")
    return SHARED_DATA
