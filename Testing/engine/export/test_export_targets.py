"""Targets: judged before the work begins, and never left half-written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest

from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.segmentation import Segmentation
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.export import Format, check_target, format_of, write_segmentation
from GenesisSegmentLib.engine.overview import write_overview

FILES = ["out.seg.nrrd", "out.nii.gz", "out.nii", "out.nrrd", "out.mha"]


@pytest.fixture
def noise(grid, as_volume) -> tuple[Segmentation, Volume]:
    """Masks that do not compress below some 10 kB."""
    from GenesisSegmentLib.core.geometry import Geometry

    geometry = Geometry((32, 32, 32), grid.ijk_to_ras)
    bits = np.random.default_rng(0).integers(0, 4, geometry.shape, dtype=np.uint32)
    return Segmentation(bits, geometry, (1, 2)), as_volume(geometry)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to write beyond ``size`` bytes of a file, much as it does when a disk is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.seg.nrrd", Format.SEG_NRRD),
        ("a.b.SEG.NRRD", Format.SEG_NRRD),
        ("a.nii.gz", Format.LABEL_MAP),
        ("a.nii", Format.LABEL_MAP),
        ("a.nrrd", Format.LABEL_MAP),
        ("a.mha", Format.LABEL_MAP),
        ("a.dcm", Format.DICOM_SEG),
        ("a", Format.FOLDER),
    ],
)
def test_suffix_chooses_the_format(tmp_path, name, kind):
    assert format_of(tmp_path / name) is kind


def test_existing_folder_takes_masks_whatever_its_name(tmp_path):
    (tmp_path / "v1.2").mkdir()
    assert format_of(tmp_path / "v1.2") is Format.FOLDER


@pytest.mark.parametrize("name", ["out.png", "out.gz", "out.nii.zip", "v1.2"])
def test_unknown_suffix_is_refused_with_the_known_ones(tmp_path, grid, as_volume, name):
    with pytest.raises(OutputError, match=r"not a format.*\.seg\.nrrd.*\.dcm"):
        check_target(tmp_path / name, as_volume(grid))


@pytest.mark.parametrize("name", [*FILES, "masks", "new/deep/out.nii.gz", "new/deep/masks"])
def test_check_accepts_what_can_be_written_and_leaves_no_trace(tmp_path, grid, as_volume, name):
    check_target(tmp_path / name, as_volume(grid))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*FILES, "masks"])
def test_file_in_place_of_a_folder_is_refused(tmp_path, noise, name):
    segmentation, volume = noise
    (tmp_path / "file").write_text("mine")
    for attempt in (
        lambda: check_target(tmp_path / "file" / name, volume),
        lambda: write_segmentation(segmentation, volume, tmp_path / "file" / name),
    ):
        with pytest.raises(OutputError, match="is a file, not a folder"):
            attempt()
    assert (tmp_path / "file").read_text() == "mine"


def test_file_with_the_name_of_a_mask_folder_is_refused(tmp_path, grid, as_volume):
    (tmp_path / "masks").write_text("mine")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        check_target(tmp_path / "masks", as_volume(grid))


@pytest.mark.parametrize(
    ("image", "target"),
    [("ct.nii.gz", "ct.nii.gz"), ("liver.nii.gz", "."), ("ct.nrrd", "sub/../ct.nrrd"), ("ct.json", "ct.nii.gz")],
)
def test_image_itself_is_never_replaced(tmp_path, grid, image, target):
    (tmp_path / "sub").mkdir()
    path = tmp_path / image
    path.write_bytes(b"scan")
    volume = Volume(np.zeros(grid.shape, np.int16), grid, Source(path, "ct", (path,)))
    with pytest.raises(OutputError, match="is the image itself"):
        check_target(tmp_path / target, volume)


@pytest.mark.parametrize("name", [*FILES, "masks"])
def test_failed_write_leaves_nothing(tmp_path, noise, name):
    with largest_file(4096), pytest.raises(OutputError, match="could not be written"):
        write_segmentation(*noise, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_failed_write_keeps_the_former_result(tmp_path, noise, name):
    files = write_segmentation(*noise, tmp_path / name)
    before = {file: file.read_bytes() for file in files}
    with largest_file(4096), pytest.raises(OutputError):
        write_segmentation(*noise, tmp_path / name)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_failed_write_keeps_the_former_masks(tmp_path, noise):
    files = write_segmentation(*noise, tmp_path / "masks")
    before = {file: file.read_bytes() for file in files}
    with largest_file(4096), pytest.raises(OutputError):
        write_segmentation(*noise, tmp_path / "masks")
    assert {file: file.read_bytes() for file in (tmp_path / "masks").iterdir()} == before


def test_failed_overview_leaves_nothing(tmp_path, noise):
    segmentation, volume = noise
    with largest_file(4096), pytest.raises(OutputError):
        write_overview(tmp_path / "overview.png", volume, segmentation)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_cause_of_a_failed_write_is_told(tmp_path, noise, monkeypatch, number, cause):
    def refuse(image, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(number, "refused")

    monkeypatch.setattr(nibabel, "save", refuse)
    with pytest.raises(OutputError, match=cause):
        write_segmentation(*noise, tmp_path / "out.nii.gz")
    assert not list(tmp_path.iterdir())
