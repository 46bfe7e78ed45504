"""The real worker: its own process, the starter on a piece of the synthetic torso, ONNX Runtime on the CPU."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core import i18n
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.layers import unpack_layers
from GenesisSegmentLib.core.protocol import (
    Done,
    DownloadModel,
    Estimate,
    Estimated,
    Failure,
    Hello,
    ImportModel,
    ListModels,
    Partial,
    Progress,
    Ready,
    Result,
    SelfTest,
    Unload,
    new_id,
)
from GenesisSegmentLib.core.protocol import Tested as Answered
from GenesisSegmentLib.engine.inference.spec import RunOptions
from GenesisSegmentLib.engine.measure import measure
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.engine.open_model import open_segmenter
from worker.conftest import LIBRARY, PATIENT, is_alive, loaded, segment

pytest.importorskip("onnxruntime")


def site_packages_without(folder: Path, *left_out: str) -> Path:
    """A folder with everything that is installed, apart from packages whose names begin so."""
    site = Path(np.__file__).parents[1]
    folder.mkdir()
    for entry in site.iterdir():
        if not entry.name.lower().startswith(left_out) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


# --- Hello ------------------------------------------------------------------------------------------------------------


def test_hello_tells_versions_devices_and_packages(shared):
    ready = shared.ask(Hello(new_id()))
    assert isinstance(ready, Ready)
    assert ready.python == sys.version.split()[0]
    assert "onnx" in ready.runtimes
    assert ready.devices[0].name == "cpu"
    assert 0 < ready.devices[0].free_bytes <= ready.devices[0].total_bytes
    versions = {package.name: package.version for package in ready.packages}
    assert versions["numpy"] == metadata.version("numpy")


def test_hello_works_where_nothing_but_numpy_is_installed_and_says_what_is_missing(opened, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(np.__file__).parents[1].glob("numpy*"):
        (site / entry.name).symlink_to(entry)
    session = opened("-S", "-m", "GenesisSegmentLib.worker", PYTHONPATH=f"{LIBRARY}{os.pathsep}{site}")
    ready = session.ask(Hello(new_id()))
    assert ready.runtimes == ()
    verdicts = {package.name: package.verdict for package in ready.packages}
    assert verdicts.pop("numpy") == "ok"
    assert set(verdicts.values()) == {"missing"}
    assert ready.devices[0].name == "cpu"
    answer = session.ask(SelfTest(new_id()))
    assert (answer.code, answer.remedy) == ("setup", "Run the set-up.")


def test_starter_runs_where_torch_is_not_installed(opened, tmp_path, torso):
    site = site_packages_without(tmp_path / "site", "torch", "monai", "functorch")
    session = opened("-S", "-m", "GenesisSegmentLib.worker", PYTHONPATH=f"{LIBRARY}{os.pathsep}{site}", limits=PATIENT)
    ready = session.ask(Hello(new_id()))
    assert ready.runtimes == ("onnx",)
    assert isinstance(loaded(session, torso).ask(segment()), Result)
    answer = session.ask(segment(runtime="torch"))
    assert isinstance(answer, Failure)
    assert (answer.code, "torch" in answer.what) == ("setup", True)


# --- Segment ----------------------------------------------------------------------------------------------------------


def test_result_is_that_of_the_engine_on_an_oblique_grid(shared, torso, tmp_path):
    session = shared
    result = session.ask(segment())
    assert isinstance(result, Result)
    model = ModelStore(tmp_path, ModelStore.of_this_person().catalogue).resolve("starter")
    expected = open_segmenter(model, Job(), device="cpu").segment(torso, RunOptions()).segmentation
    found = unpack_layers(session.client.layers(result), torso.geometry)
    assert np.array_equal(found.bits, expected.bits)
    assert found.classes == result.classes == expected.classes
    assert result.present == expected.present() != ()
    rows = [row for row in result.measurements if row.lesion is None]
    assert [(r.index, r.voxels, r.mean_hu) for r in rows] == [
        (m.index, m.voxels, m.mean_hu) for m in measure(expected, torso)
    ]
    assert (result.volume, result.model, result.device) == ("print", "starter", "cpu")
    assert result.model_sha256 == model.sha256
    assert any("not for clinical use" in note for note in result.notes)


def test_progress_grows_and_ends_before_the_result(shared, torso):
    session = shared
    result = session.ask(segment())
    progress = [event.fraction for event in session.of(result.id) if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert len(progress) >= 3
    assert session.of(result.id)[-1] is result


def test_finished_organs_come_before_the_result_and_are_the_same(shared, torso):
    job = shared.client.send(segment())
    given, read = {}, 0
    while not any(isinstance(event, Result) for event in shared.of(job)):
        shared.pump_for(0.01)
        for event in shared.of(job)[read:]:
            read += 1
            if isinstance(event, Partial):
                given[event.index] = shared.client.mask(event)
    result = shared.of(job)[-1]
    final = unpack_layers(shared.client.layers(result), torso.geometry)
    assert set(given) == set(result.present)
    for index, (box, mask) in given.items():
        whole = np.zeros(torso.geometry.shape, dtype=bool)
        whole[box.slices] = mask
        assert np.array_equal(whole, final.mask(index))


def test_only_the_asked_classes_are_given(shared, torso):
    session = shared
    result = session.ask(segment(classes=(6,)))
    (layer,) = session.client.layers(result)
    assert result.classes == layer.classes == (6,)
    assert set(np.unique(layer.labels)) == {0, 6}


def test_model_stays_warm(shared, torso):
    session = shared
    first, second = session.ask(segment()), session.ask(segment())
    a, b = (unpack_layers(session.client.layers(r), torso.geometry).bits for r in (first, second))
    assert np.array_equal(a, b)


def test_wrong_wishes_are_refused_in_words_and_the_process_lives_on(shared, torso):
    session = shared
    pid = session.pid()
    for command, code in (
        (segment(classes=(26,)), "input"),
        (segment(model="no such model"), "model"),
        (segment(device="cuda:9"), "resource"),
        (replace(segment(), volume="another"), "input"),
    ):
        answer = session.ask(command)
        assert isinstance(answer, Failure)
        assert (answer.code, bool(answer.remedy)) == (code, True)
    assert isinstance(session.ask(segment()), Result)
    assert session.pid() == pid


def test_volume_that_is_no_ct_is_refused(shared, torso):
    labels = replace(torso, voxels=(torso.voxels > 0).astype(np.int16))
    answer = shared.final(shared.client.send_volume(labels, "labels"))
    assert isinstance(answer, Failure)
    assert answer.code == "input"


def test_result_folder_that_is_gone_is_told(shared, torso, tmp_path):
    session = shared
    (tmp_path / "file").write_text("x")
    answer = session.ask(segment(folder=str(tmp_path / "file" / "folder")))
    assert answer.code == "output"


# --- Estimates, self-test, models -------------------------------------------------------------------------------------


def test_time_is_unknown_at_first_and_known_after_a_run(real, torso):
    session = loaded(real(), torso)
    ask = Estimate(new_id(), "print")
    before = session.ask(ask)
    assert isinstance(before, Estimated)
    assert before.seconds is None
    assert any("not known" in note for note in before.notes)
    assert before.host_bytes > 100_000_000
    result = session.ask(segment())
    after = session.ask(replace(ask, id=new_id()))
    assert after.seconds == pytest.approx(result.seconds["network"], rel=0.05)  # the rest says nothing on so small a CT
    assert (after.device, after.device_bytes) == ("cpu", 0)


def test_estimate_grows_with_the_ct(real, torso, body):
    session = loaded(loaded(real(), torso), body, "large")
    session.ask(segment())
    small, large = (session.ask(Estimate(new_id(), volume)) for volume in ("print", "large"))
    assert large.seconds > 4 * small.seconds
    assert large.host_bytes > small.host_bytes


def test_estimate_from_the_grid_alone_is_an_upper_limit(real, torso):
    session = loaded(real(), torso)
    session.ask(segment())
    known = session.ask(Estimate(new_id(), "print"))
    grid = torso.geometry.reoriented(torso.geometry.to_ras)
    stated = session.ask(Estimate(new_id(), "", shape=grid.shape, spacing=grid.spacing))
    assert stated.seconds >= known.seconds
    assert known.host_bytes <= stated.host_bytes < 3 * known.host_bytes
    assert isinstance(session.ask(Estimate(new_id(), "unknown")), Failure)


def test_self_test_says_what_it_found_and_makes_time_known(real, torso):
    session = loaded(real(), torso)
    answer = session.ask(SelfTest(new_id()))
    assert isinstance(answer, Answered)
    assert answer.is_working
    assert answer.device == "cpu"
    assert "Liver" in " ".join(answer.verdicts)
    progress = [event.fraction for event in session.of(answer.id) if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert session.ask(Estimate(new_id(), "print")).seconds is not None


def test_models_are_listed_with_state_licence_and_warning(shared):
    models = {model.id: model for model in shared.ask(ListModels(new_id())).models}
    starter, universal = models["starter"], models["universal_unet"]
    assert (starter.state, universal.state) == ("bundled", "missing")
    assert "not for clinical use" in starter.note
    assert starter.size_bytes > 1_000_000
    assert universal.url.startswith("https://")
    assert universal.licence.startswith("CC BY-NC")
    assert universal.commercial_use is False
    assert len(universal.offered) == 32


@pytest.mark.parametrize(
    "command",
    [ImportModel("import", "universal_unet", "/no/such/file"), DownloadModel("download", "universal_unet")],
)
def test_nothing_is_installed_without_consent(shared, command):
    assert shared.ask(command).code == "consent"


def test_model_file_that_is_not_it_is_refused(shared, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"not a checkpoint")
    answer = shared.ask(ImportModel(new_id(), "universal_unet", str(path), is_agreed=True))
    assert answer.code == "model"


def test_unload_forgets_the_volume_and_the_models(real, torso):
    session = loaded(real(), torso)
    session.ask(segment())
    assert isinstance(session.ask(Unload(new_id())), Done)
    assert session.ask(segment()).code == "input"
    assert isinstance(loaded(session, torso).ask(segment()), Result)


def test_worker_is_gone_after_close(real):
    session = real()
    session.ask(Hello(new_id()))
    pid = session.pid()
    session.client.close()
    session.until(lambda: not is_alive(pid))


def test_what_the_process_says_is_in_the_language_of_the_person(shared):
    i18n.set_translator(lambda _context, text: text.upper())
    try:
        answer = shared.ask(Estimate(new_id(), "unknown"))
    finally:
        i18n.set_translator()
    assert (answer.what, answer.remedy) == ("THE CT IS NOT LOADED IN THE SEGMENTATION PROCESS.", "CHOOSE THE CT AGAIN.")
