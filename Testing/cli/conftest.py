"""Fixtures of the command line: a home of its own, and inputs that are written once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import pytest

from cli_builders import Ended, run, write_blob_ct, write_blob_model
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.engine.phantom import phantom_ct


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of the person who runs the commands."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds the blob of the blob CT, exactly."""
    return write_blob_model(tmp_path_factory.mktemp("model") / "blob.onnx")


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blob CT; not to be changed."""
    return write_blob_ct(tmp_path_factory.mktemp("ct") / "blob.nii.gz")


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic phantom at 6 mm."""
    volume = phantom_ct(spacing_mm=6)
    path = tmp_path_factory.mktemp("phantom") / "phantom.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.voxels, volume.geometry.ijk_to_ras), path)
    return path


@pytest.fixture(scope="session")
def starter_run(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """The phantom segmented by the bundled starter: how the command ended, and its folder."""
    folder = tmp_path_factory.mktemp("starter")
    return run("segment", phantom, "-o", folder / "out.seg.nrrd", "--json"), folder
