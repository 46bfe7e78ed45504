"""``genesis-segment cases``: from a CT and labels to the store, out of it, and what is said on the way."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from acceptance_builders import acceptance
from builders import a_ct_volume, an_oblique_geometry, ct_voxels, write_dicom_series
from cli_builders import finish, run, start
from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.home import STORE_VARIABLE, outbox_folder
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.rounds import RoundRecord
from GenesisSegmentLib.engine.learning.report import Picture, RoundReport, write_report
from GenesisSegmentLib.engine.learning.round_folder import RoundFolders
from GenesisSegmentLib.engine.store import DATABASE_VARIABLE, CaseStore
from store_builders import all_bytes

LIVER, SPLEEN, SARCOMA = 2, 1, 7


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the store that the commands use."""
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "cases"))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    return tmp_path / "cases"


def save(path: Path, values: np.ndarray, geometry: Geometry) -> Path:
    image = nibabel.Nifti1Image(values, geometry.ijk_to_ras)
    image.set_sform(geometry.ijk_to_ras, 1)
    nibabel.save(image, path)
    return path


def label_values(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([0, SPLEEN, LIVER, SARCOMA], np.uint8), shape)


def write_labels(path: Path, values: np.ndarray, geometry: Geometry) -> Path:
    names = {str(SPLEEN): "spleen", str(LIVER): "liver", str(SARCOMA): "my sarcoma"}
    path.with_name("labels.json").write_text(json.dumps({"labels": names}))
    return save(path, values, geometry)


@pytest.fixture
def ct(tmp_path):
    volume = a_ct_volume()
    return save(tmp_path / "ct.nii.gz", volume.voxels, volume.geometry)


@pytest.fixture
def labels(tmp_path):
    geometry = an_oblique_geometry()
    return write_labels(tmp_path / "labels.nii.gz", label_values(geometry.shape), geometry)


def test_what_was_accepted_in_slicer_is_taken_in_before_cases_are_listed(folder, home):
    with CaseStore.open(folder) as store:
        outbox = Outbox(outbox_folder(), store.salt)
        outbox.put(acceptance())
    ended = run("cases", "list", "--json")
    assert len(json.loads(ended.out)["cases"]) == 1
    assert "1 accepted in Slicer" in ended.err
    assert outbox.pending() == ()


def test_labels_from_files_become_a_case_voxel_for_voxel_on_an_oblique_grid(folder, ct, labels):
    ended = run("cases", "add", ct, labels, "--model", "starter", "--json")
    assert ended.code == 0, ended.err
    assert ended.document["split"] == "train"
    assert ended.document["labels"] == ["liver", "spleen"]
    assert "my sarcoma" in ended.err  # passed over
    with CaseStore.open(folder) as store:
        (record,) = store.training()
        kept, values = store.volume(record), label_values(an_oblique_geometry().shape)
        assert np.array_equal(kept.voxels, a_ct_volume().voxels)
        assert kept.geometry.matches(an_oblique_geometry(), 1e-3)
        assert np.array_equal(store.mask(record, "liver"), values == LIVER)
        assert np.array_equal(store.mask(record, "spleen"), values == SPLEEN)
        assert record.models == ("starter",)


def test_a_structure_of_ones_own_is_named_as_its_table_does(folder, ct, labels):
    ended = run("cases", "add", ct, labels, "--classes", "my sarcoma, liver", "--json")
    assert ended.document["labels"] == ["liver", "my sarcoma"]
    with CaseStore.open(folder) as store:
        (record,) = store.training()
        assert np.array_equal(store.mask(record, "my sarcoma"), label_values(an_oblique_geometry().shape) == SARCOMA)


def test_labels_with_turned_axes_lie_where_they_lay(folder, tmp_path, ct):
    geometry = an_oblique_geometry()
    values = label_values(geometry.shape)
    turned = Geometry(geometry.shape, geometry.ijk_to_ras).to_ras
    write_labels(tmp_path / "labels.nii.gz", turned.apply(values).copy(), geometry.reoriented(turned))
    assert run("cases", "add", ct, tmp_path / "labels.nii.gz").code == 0
    with CaseStore.open(folder) as store:
        assert np.array_equal(store.mask(store.training()[0], "liver"), values == LIVER)


def test_what_a_model_had_proposed_tells_what_was_changed(folder, tmp_path, ct, labels):
    (tmp_path / "proposed").mkdir()
    geometry = an_oblique_geometry()
    before = label_values(geometry.shape, seed=1)
    proposed = write_labels(tmp_path / "proposed" / "labels.nii.gz", before, geometry)
    assert run("cases", "add", ct, labels, "--proposed", proposed, "--model", "starter").code == 0
    with CaseStore.open(folder) as store:
        (record,) = store.training()
        changed = (label_values(geometry.shape) == LIVER) != (before == LIVER)
        assert np.array_equal(store.changed(record, "liver"), changed)
        assert record.correction("liver").changed_voxels == np.count_nonzero(changed)


def test_a_dicom_series_is_known_again_and_its_patient_is_not_written_down(folder, tmp_path):
    geometry = an_oblique_geometry()
    for name in ("one", "other"):
        write_dicom_series(tmp_path / name, ct_voxels(geometry.shape, seed=len(name)), geometry)
    read_back = an_oblique_geometry()
    labels = write_labels(tmp_path / "labels.nii.gz", label_values(geometry.shape), read_back)
    first = run("cases", "add", tmp_path / "one", labels, "--json").document
    again = run("cases", "add", tmp_path / "one", labels, "--json").document
    other = run("cases", "add", tmp_path / "other", labels, "--json").document
    assert first["case"] == again["case"] != other["case"]
    assert again["acceptances"] == 2
    assert first["patient"] == other["patient"]
    content = all_bytes(folder)
    assert b"ID-12345" not in content
    assert b"Doe" not in content
    assert b"1.2.826" not in content


def test_anonymised_series_are_of_one_patient_only_within_a_study(folder, tmp_path):
    geometry = an_oblique_geometry()
    labels = write_labels(tmp_path / "labels.nii.gz", label_values(geometry.shape), geometry)
    patients = []
    for n, study in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        tags = {"PatientID": "ANON^", "StudyInstanceUID": study}
        write_dicom_series(tmp_path / str(n), ct_voxels(geometry.shape, seed=n), geometry, **tags)
        patients.append(run("cases", "add", tmp_path / str(n), labels, "--json").document["patient"])
    assert patients[0] == patients[1] != patients[2]
    assert b"1.2.3" not in all_bytes(folder)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--classes", "kidneys"), "kidney_right"),
        (("--classes", "his sarcoma"), "his sarcoma"),
    ],
)
def test_a_class_that_the_labels_lack_is_refused(folder, ct, labels, options, word):
    ended = run("cases", "add", ct, labels, *options, "--json")
    assert (ended.code, ended.document["error"]["code"]) == (3, "input")
    assert word in ended.document["error"]["what"]
    assert run("cases", "list", "--json").document["cases"] == []


def test_labels_on_another_grid_are_refused(folder, tmp_path, ct):
    moved = an_oblique_geometry(origin=(0.0, 0.0, 0.0))
    labels = write_labels(tmp_path / "labels.nii.gz", label_values(moved.shape), moved)
    ended = run("cases", "add", ct, labels, "--json")
    assert (ended.code, ended.document["error"]["code"]) == (3, "geometry")


def test_a_deleted_case_is_in_no_report_though_the_first_try_is_interrupted(folder, ct, labels, tmp_path, monkeypatch):
    case = run("cases", "add", ct, labels, "--json").document["case"]
    rounds, png = RoundFolders.of_this_person(), tmp_path / "a.png"
    png.write_bytes(b"a slice")
    around = rounds.new()
    record = RoundRecord("r", "rejected", "", "starter", "v1", "", "", 1)
    pictures = (Picture(png, "The loss"), Picture(png, "The liver", case), Picture(png, "Of another", "0" * 64))
    report = write_report(around.path, RoundReport(record, ("starter",), "", pictures=pictures))
    with monkeypatch.context() as patched:
        patched.setattr(CaseStore, "delete", lambda store, name: (_ for _ in ()).throw(OutputError("Full.", "Later.")))
        assert run("cases", "delete", case, "--yes", "--json").code != 0
    assert report.read_text().count("<img") == 2, "the pictures went first"
    assert run("cases", "delete", case, "--yes", "--json").code == 0
    html = report.read_text()
    assert html.count("<img") == 2
    assert "The liver" in html
    assert "taken out when its case was deleted" in html
    assert run("cases", "list", "--json").document["cases"] == []


def test_a_picture_that_a_round_writes_while_its_case_is_deleted_goes_as_well(
    folder, ct, labels, tmp_path, monkeypatch
):
    case = run("cases", "add", ct, labels, "--json").document["case"]
    around, png, delete = RoundFolders.of_this_person().new(), tmp_path / "a.png", CaseStore.delete
    png.write_bytes(b"a slice")
    record = RoundRecord("r", "rejected", "", "starter", "v1", "", "", 1)
    report = RoundReport(record, ("starter",), "", pictures=(Picture(png, "The liver", case),))

    def writing_meanwhile(store, name):
        write_report(around.path, report)
        return delete(store, name)

    monkeypatch.setattr(CaseStore, "delete", writing_meanwhile)
    assert run("cases", "delete", case, "--yes", "--json").code == 0
    html = (around.path / "report.html").read_text()
    assert "<img" not in html
    assert "taken out when its case was deleted" in html


def test_list_show_and_delete_tell_of_a_case(folder, ct, labels, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    case = run("cases", "add", ct, labels, "--json").document["case"]
    listed = run("cases", "list")
    assert case[:12] in listed.out
    assert "1 cases, accepted 1 times: 1 to learn from" in listed.err
    shown = run("cases", "show", case[:6])
    assert "train" in shown.out
    assert "spleen" in shown.out
    assert run("cases", "show", case[:6], "--json").document["summary"]["case"] == case
    unasked = run("cases", "delete", case[:6], "--json")
    assert (unasked.code, unasked.document["error"]["code"]) == (8, "consent")
    assert run("cases", "delete", case[:6], "--yes", "--json").document == {"case": case, "deleted": True}
    assert run("cases", "list", "--json").document["counts"]["cases"] == 0
    assert run("cases", "show", case).code == 3


def test_export_import_and_verify(folder, tmp_path, ct, labels):
    case = run("cases", "add", ct, labels, "--json").document["case"]
    archive = tmp_path / "cases.zip"
    assert run("cases", "export", archive, case[:8], "--json").document == {"path": str(archive), "layout": "archive"}
    there = ("--store", tmp_path / "there")
    assert run("cases", "import", archive, *there, "--json").document["added"] == 1
    assert run("cases", "list", *there, "--json").document["cases"][0]["case"] == case
    assert run("cases", "verify", *there, "--json").document["is_sound"] is True
    for layout, file in (("monai", "datalist.json"), ("nnunet", "dataset.json")):
        assert run("cases", "export", tmp_path / layout, "--layout", layout).code == 0
        assert (tmp_path / layout / file).is_file()
    assert run("cases", "export", tmp_path / "x", case[:8], "--layout", "monai").code == 3


def test_damage_ends_verify_with_the_code_for_input_and_names_the_case(folder, ct, labels):
    case = run("cases", "add", ct, labels, "--json").document["case"]
    path = next((folder / "blobs").rglob("*.z"))
    path.write_bytes(path.read_bytes()[:-3])
    ended = run("cases", "verify", "--json")
    assert ended.code == 3
    assert ended.document["is_sound"] is False
    assert ended.document["damaged"] == [path.name.removesuffix(".z")]
    assert ended.document["cases"] == [case]
    assert ended.err.count("Error: ") == 1


def test_an_interrupted_addition_is_completed_by_the_next(folder, tmp_path, ct, labels):
    code = """
import os
from GenesisSegmentLib.engine.store import CaseStore
CaseStore.ingest = lambda *a: os._exit(9)
"""
    assert finish(start(code, "cases", "add", str(ct), str(labels))).code == 9
    with CaseStore.open(folder) as store:
        assert store.cases() == ()
    values = label_values(an_oblique_geometry().shape, seed=3)
    other = save(tmp_path / "ct2.nii.gz", ct_voxels(values.shape, seed=4), an_oblique_geometry())
    assert run("cases", "add", other, labels).code == 0
    with CaseStore.open(folder) as store:
        assert store.counts().corrections == 2


def test_help_of_the_cases_loads_no_heavy_package():
    heavy = ("torch", "monai", "sqlalchemy", "alembic", "SimpleITK")
    code = f"import atexit; atexit.register(lambda: print('LOADED', *(m for m in {heavy} if m in sys.modules)))"
    ended = finish(start(code, "cases", "list", "--help"))
    assert ended.code == 0
    assert ended.out.rstrip().endswith("LOADED")
