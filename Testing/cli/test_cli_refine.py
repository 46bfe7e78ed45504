"""``genesis-segment refine``: where prompts land in the patient, what is kept, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders import rotation
from cli_builders import BLOB_AT, BLOB_MM, an_affine, blob_ct, files_in, in_blob, run, write_blob_model, write_nifti
from GenesisSegmentLib.core.prompts import Prompt, prompts_to_json
from GenesisSegmentLib.engine.labels import read_labels

SHAPE = (60, 50, 56)
LIVER, SPLEEN, KIDNEY, LIVER_TUMOR = 6, 1, 2, 27
GRIDS = {
    "straight": np.eye(3),
    "as DICOM has it": np.diag([-1.0, -1.0, 1.0]),
    "axes permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique and flipped": rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]),
}


def a_case(folder: Path, axes: np.ndarray = GRIDS["as DICOM has it"]) -> tuple[Path, Path, np.ndarray]:
    """A CT with a bright blob, a proposal that has half of it as liver and a spleen beside it, and the affine."""
    affine = an_affine((3.0, 3.5, 3.2), SHAPE, axes)
    ct = write_nifti(folder / "ct.nii.gz", blob_ct(SHAPE, affine), affine)
    blob = in_blob(SHAPE, affine)
    labels = np.zeros(SHAPE, np.uint8)
    centre = np.argwhere(blob).mean(axis=0)
    half = blob & (np.arange(SHAPE[0]) < centre[0])[:, None, None]
    labels[half] = LIVER
    labels[:4, :4, :4] = SPLEEN
    proposal = write_nifti(folder / "found.nii.gz", labels, affine)
    table = {"labels": {"1": "spleen", "6": "liver", "9": "my_node"}, "classes_computed": [1, 2, 6]}
    (folder / "found.json").write_text(json.dumps(table))
    return ct, proposal, affine


def said(place: np.ndarray) -> str:
    return ",".join(f"{x:.3f}" for x in place)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_point_in_ras_corrects_the_same_place_on_every_grid(grid: str, tmp_path: Path) -> None:
    ct, proposal, affine = a_case(tmp_path, GRIDS[grid])
    blob = in_blob(SHAPE, affine)
    missing = blob & ~read_labels(proposal).segmentation.mask(LIVER)
    place = affine[:3, :3] @ np.argwhere(missing).mean(axis=0) + affine[:3, 3]
    target = tmp_path / "out" / "better.seg.nrrd"
    ended = run(
        "refine", ct, proposal, "--class", "liver", "--point", said(place), "--ras", "--no-network", "-o", target
    )
    assert ended.code == 0, ended.err
    result = read_labels(target).segmentation
    now = result.mask(LIVER)
    assert (now & missing).sum() > 100
    assert not (now & ~blob).any()
    assert (result.mask(SPLEEN) == read_labels(proposal).segmentation.mask(SPLEEN)).all()
    assert result.geometry.matches(read_labels(proposal).segmentation.geometry)
    assert files_in(tmp_path / "out") == {"better.seg.nrrd"}


def test_json_counts_what_changed_and_the_next_prompts_win(tmp_path: Path) -> None:
    ct, proposal, _affine = a_case(tmp_path)
    centre = np.argwhere(read_labels(proposal).segmentation.mask(LIVER)).mean(axis=0)
    corner, other = np.floor(centre - 3), np.floor(centre + 3)
    arguments = (ct, proposal, "--class", "liver", "--no-network", "-o", tmp_path / "out.nii.gz", "--json")
    ended = run("refine", *arguments, "--box", f"{said(corner)} {said(other)}", "--negative")
    assert ended.code == 0, ended.err
    before, after = (read_labels(path).segmentation.mask(LIVER) for path in (proposal, tmp_path / "out.nii.gz"))
    expected = before.copy()
    expected[tuple(slice(int(a), int(b) + 1) for a, b in zip(corner, other, strict=True))] = False
    assert (after == expected).all()
    document = ended.document
    assert document["name"] == "liver"
    assert document["prompts"] == 1
    assert document["voxels_added"] == 0
    assert document["voxels_removed"] == (before & ~after).sum()
    assert document["ml_after"] == pytest.approx(after.sum() * 3.0 * 3.5 * 3.2 / 1000)
    assert document["files"] == [str(tmp_path / "out.nii.gz"), str(tmp_path / "out.json")]


def test_prompts_of_a_file_come_before_those_of_the_command(tmp_path: Path) -> None:
    ct, proposal, _affine = a_case(tmp_path)
    line = ((20.0, 20.0, 20.0), (28.0, 20.0, 20.0))
    (tmp_path / "prompts.json").write_text(prompts_to_json([Prompt("scribble", line)]))
    arguments = (ct, proposal, "--class", "liver", "--no-network", "-o", tmp_path / "out.seg.nrrd")
    ended = run("refine", *arguments, "--prompts", tmp_path / "prompts.json", "--point", "24,20,20", "--negative")
    assert ended.code == 0, ended.err
    now = read_labels(tmp_path / "out.seg.nrrd").segmentation.mask(LIVER)[20:29, 20, 20]
    assert not now[4]
    assert now[[0, 8]].all()
    assert "2 prompts" in ended.err


def test_a_box_on_an_empty_place_makes_a_structure_of_ones_own(tmp_path: Path) -> None:
    ct, _proposal, affine = a_case(tmp_path)
    corners = f"{said(BLOB_AT - BLOB_MM - 4)} {said(BLOB_AT + BLOB_MM + 4)}"
    target = tmp_path / "out.seg.nrrd"
    ended = run("refine", ct, "--class", "lump", "--new", "--ras", "--box", corners, "--no-network", "-o", target)
    assert ended.code == 0, ended.err
    assert read_labels(target).others == ("lump",)
    now, blob = read_labels(target, ("lump",)).segmentation.mask(33), in_blob(SHAPE, affine)
    assert 2 * (now & blob).sum() / (now.sum() + blob.sum()) > 0.85


def test_structures_of_ones_own_stay(tmp_path: Path) -> None:
    ct, proposal, affine = a_case(tmp_path)
    image = np.asarray(nibabel.load(proposal).dataobj).copy()
    image[50:52, 40:42, 50:52] = 9
    write_nifti(proposal, image, affine)
    target = tmp_path / "out.seg.nrrd"
    ended = run("refine", ct, proposal, "--class", "my_node", "--point", "10,40,20", "--no-network", "-o", target)
    assert ended.code == 0, ended.err
    now = read_labels(target, ("my_node",)).segmentation
    assert now.mask(33)[50:52, 40:42, 50:52].all()
    assert now.mask(33)[10, 40, 20]
    assert now.mask(LIVER).sum() == (image == LIVER).sum()


def test_other_classes_are_not_taken_but_a_lesion_lies_in_its_organ(tmp_path: Path) -> None:
    ct, proposal, _affine = a_case(tmp_path)
    liver = read_labels(proposal).segmentation.mask(LIVER)
    inside = said(np.floor(np.argwhere(liver).mean(axis=0)))
    target = tmp_path / "out.seg.nrrd"
    arguments = (ct, proposal, "--point", inside, "--no-network", "-o", target)
    refused = run("refine", *arguments, "--class", "spleen")
    assert refused.code == 3
    assert "protected" in refused.err
    assert not target.exists()
    for given in (("--class", "liver_tumor"), ("--class", "spleen", "--shared", "liver")):
        ended = run("refine", *arguments, *given)
        assert ended.code == 0, ended.err
        now = read_labels(target).segmentation
        assert (now.mask(LIVER) == liver).all()
        assert (now.mask(LIVER_TUMOR if "liver_tumor" in given else SPLEEN) & liver).any()
        target.unlink()


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--class", "liver"), 2, "no prompt"),
        (("--class", "liver", "--point", "1,2"), 2, "not what --point takes"),
        (("--class", "liver", "--point", "a,b,c"), 2, "not what --point takes"),
        (("--class", "liver", "--box", "1,2,3"), 2, "not what --box takes"),
        (("--class", "liver", "--point", "1,2,nan"), 3, "not three numbers"),
        (("--class", "liver", "--point", "-40,2,3"), 3, "no voxel of the CT"),
        (("--class", "livr", "--point", "1,2,3"), 3, "There is no class"),
        (("--class", "kidneys", "--point", "1,2,3"), 2, "group of classes"),
        (("--class", "liver", "--prompts", "absent.json"), 3, "could not be read"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], code: int, what: str, tmp_path: Path
) -> None:
    ct, proposal, _affine = a_case(tmp_path / "in")
    ended = run("refine", ct, proposal, *arguments, "--no-network", "-o", tmp_path / "out" / "x.seg.nrrd")
    assert ended.code == code, ended.err
    assert what in ended.err
    assert not (tmp_path / "out" / "x.seg.nrrd").exists()


def test_the_proposal_itself_is_not_replaced(tmp_path: Path) -> None:
    ct, proposal, _affine = a_case(tmp_path)
    ended = run("refine", ct, proposal, "--class", "liver", "--point", "9,9,9", "--no-network", "-o", proposal)
    assert ended.code == 2
    assert "the proposal itself" in ended.err


def test_a_proposal_on_another_grid_is_refused(tmp_path: Path) -> None:
    ct, _proposal, _affine = a_case(tmp_path / "one")
    _ct, proposal, _affine = a_case(tmp_path / "two", GRIDS["oblique and flipped"])
    ended = run(
        "refine", ct, proposal, "--class", "liver", "--point", "9,9,9", "--no-network", "-o", tmp_path / "x.nrrd"
    )
    assert ended.code == 3
    assert "different grids" in ended.err


def test_propagate_draws_the_whole_class_anew(tmp_path: Path) -> None:
    ct, proposal, affine = a_case(tmp_path)
    model = write_blob_model(tmp_path / "blob.onnx")
    blob = in_blob(SHAPE, affine)
    place = said(np.argwhere(blob & ~read_labels(proposal).segmentation.mask(LIVER)).mean(axis=0).round())
    target = tmp_path / "out.seg.nrrd"
    arguments = (ct, proposal, "--class", "liver", "--point", place, "--no-network", "-o", target)
    ended = run("refine", *arguments, "--propagate", "--model", model)
    assert ended.code == 0, ended.err
    now = read_labels(target).segmentation.mask(LIVER)
    assert now[tuple(int(float(n)) for n in place.split(","))]
    assert not (now & ~blob).sum() > 0.1 * blob.sum()
    target.unlink()
    refused = run("refine", *arguments[:2], "--class", "heart", *arguments[4:], "--propagate", "--model", model)
    assert refused.code == 3
    assert not target.exists()
