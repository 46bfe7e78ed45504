"""The set-up on the bench: agreed, refused, failed, restarted and gone on with; installations are only recorded."""

from __future__ import annotations

from pathlib import Path
from subprocess import CalledProcessError

import pytest

from GenesisSegmentLib.core import setup_plan
from GenesisSegmentLib.core.errors import ConsentError, GenesisError, NetworkError, ResourceError
from GenesisSegmentLib.core.workflow.states import State

MODULE = Path(__file__).resolve().parents[2] / "GenesisSegment" / "GenesisSegment.py"
INSTALLED = dict.fromkeys(("filelock", "jsonschema", "numba", "psutil", "requests", "packaging"), "99.0")
SLICER = {"numpy": "2.4.6", "scipy": "1.17.1", "SimpleITK": "2.5.5"}


class Machine:
    """What is installed, and what an installation changes."""

    def __init__(self) -> None:
        self.versions = {**INSTALLED, **SLICER}
        self.arrives: dict[str, str] = {"onnxruntime": "1.22.0", "connected-components-3d": "3.23"}
        self.log = ""
        self.fails = False
        self.calls: list[tuple] = []

    def find(self, name: str) -> str | None:
        return self.versions.get(name)

    def pip_ensure(self, requirements, constraints, requester) -> None:
        self.calls.append(("pip", tuple(requirements), Path(constraints).read_text(encoding="utf-8"), requester))
        if self.log:
            print(self.log)
        if self.fails:
            raise CalledProcessError(1, "pip install")
        self.versions.update(self.arrives)

    def install_torch(self, specifier) -> None:
        self.calls.append(("torch", specifier))
        self.versions["torch"] = "2.13.0"


@pytest.fixture
def machine(monkeypatch, bench_app):
    from GenesisSegmentLib.ui import installer

    made = Machine()
    monkeypatch.setattr(setup_plan, "installed_version", made.find)
    real_check, real_text = setup_plan.check, setup_plan.constraints_text
    monkeypatch.setattr(setup_plan, "check", lambda road: real_check(road, made.find, int(200e9)))
    monkeypatch.setattr(setup_plan, "constraints_text", lambda: real_text(made.find))
    monkeypatch.setattr(installer, "pip_ensure", made.pip_ensure)
    monkeypatch.setattr(installer, "install_torch", made.install_torch)
    return made


@pytest.fixture
def installer(slicer_bench, machine):
    from GenesisSegmentLib.ui.installer import Installer

    return Installer()


def ignore(_line: str) -> None:
    """Progress that nobody looks at."""


def test_one_question_shows_packages_sizes_licences_and_disk(slicer_bench, installer, machine):
    slicer_bench.dialogs.answers.append(True)
    report = installer.install("onnx", ignore)
    assert report.missing == ()
    (text,) = slicer_bench.dialogs.texts()
    for words in ("onnxruntime>=", "25 MB", "MIT", "connected-components-3d", "LGPL-3.0", "200 GB are free"):
        assert words in text
    assert "scipy" not in text.replace("numpy and SimpleITK", "")


def test_only_what_is_missing_is_installed_under_slicers_own_versions(slicer_bench, installer, machine):
    slicer_bench.dialogs.answers.append(True)
    installer.install("onnx", ignore)
    ((_pip, requirements, constraints, requester),) = machine.calls
    assert [r.split(">")[0] for r in requirements] == ["connected-components-3d", "onnxruntime"]
    assert {"numpy==2.4.6", "scipy==1.17.1", "SimpleITK==2.5.5"} <= set(constraints.splitlines())
    assert requester == "GenesisSegment"


def test_no_means_that_nothing_is_done_or_reported(slicer_bench, installer, machine):
    """With the first report, the processes are ended."""
    slicer_bench.dialogs.answers.append(False)
    with pytest.raises(ConsentError):
        installer.install("onnx", lambda line: pytest.fail(line))
    assert machine.calls == []


@pytest.mark.parametrize("road", ["onnx", "torch"])
def test_yes_is_reported_before_a_package_is_touched(slicer_bench, installer, machine, road):
    machine.arrives |= {"monai": "1.6.1", "einops": "0.8.2"}
    slicer_bench.dialogs.answers.append(True)
    before: list[int] = []
    installer.install(road, lambda line: before.append(len(machine.calls)))
    assert before[0] == 0
    assert machine.calls


def test_nobody_is_asked_where_everything_is_there(slicer_bench, installer, machine):
    machine.versions.update(machine.arrives)
    assert installer.install("onnx", ignore).missing == ()
    assert slicer_bench.dialogs.shown == []


def test_nothing_is_installed_while_slicer_is_being_tested(slicer_bench, installer, machine, monkeypatch):
    from bench import slicer_app

    # Slicer's documentation says of it: while testing, the window is skipped and the answer is yes.
    monkeypatch.setattr(slicer_bench.slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)

    slicer_app.set_testing(slicer_bench.app, True)
    with pytest.raises(ConsentError):
        installer.install("onnx", ignore)
    assert machine.calls == []


def test_torch_comes_first_and_is_then_kept_by_the_constraints(slicer_bench, installer, machine):
    machine.arrives = {"connected-components-3d": "3.23", "monai": "1.6.1", "einops": "0.8.2"}
    slicer_bench.dialogs.answers.append(True)
    installer.install("torch", ignore)
    assert machine.calls[0][0] == "torch"
    assert "!=2.9.*" in machine.calls[0][1]
    assert "torch==2.13.0" in machine.calls[1][2].splitlines()
    assert "PyTorch" in slicer_bench.dialogs.texts()[0]


def test_torch_that_slicer_cannot_load_yet_asks_for_a_restart(slicer_bench, installer, machine, monkeypatch):
    from GenesisSegmentLib.ui import installer as module

    def install_and_fail(specifier):
        machine.install_torch(specifier)
        raise ImportError("DLL load failed")

    monkeypatch.setattr(module, "install_torch", install_and_fail)
    machine.arrives = {"connected-components-3d": "3.23", "monai": "1.6.1", "einops": "0.8.2"}
    slicer_bench.dialogs.answers.append(True)
    assert installer.install("torch", ignore).needs_restart


def test_what_pip_prints_is_reported_and_still_printed(slicer_bench, installer, machine, capsys):
    machine.log = "Collecting onnxruntime\nDownloading onnxruntime-1.22.0.whl (17 MB)"
    lines: list[str] = []
    slicer_bench.dialogs.answers.append(True)
    installer.install("onnx", lines.append)
    assert "Downloading onnxruntime-1.22.0.whl (17 MB)" in lines
    assert "Collecting onnxruntime" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("log", "kind", "words"),
    [
        ("urllib3.exceptions.NewConnectionError: [Errno 111] refused", NetworkError, "does not answer"),
        ("ERROR: ProxyError('Cannot connect to proxy.')", NetworkError, "HTTPS_PROXY"),
        ("SSLError(CERTIFICATE_VERIFY_FAILED)", NetworkError, "firewalls"),
        ("ERROR: [Errno 28] No space left on device", ResourceError, "disk is full"),
        ("ERROR: [WinError 5] Access is denied", GenesisError, "Restart Slicer"),
        ("ERROR: No matching distribution found for onnxruntime>=1.20", GenesisError, "newest Slicer"),
        ("ERROR: something else", GenesisError, "something else"),
        ("", GenesisError, "returned non-zero"),
    ],
)
def test_failure_is_explained(slicer_bench, installer, machine, log, kind, words):
    machine.fails, machine.log = True, log
    slicer_bench.dialogs.answers.append(True)
    with pytest.raises(GenesisError) as caught:
        installer.install("onnx", ignore)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert caught.value.remedy


def test_replaced_package_of_slicer_is_noticed(slicer_bench, installer, machine):
    machine.arrives = {**machine.arrives, "numpy": "3.0.0"}
    slicer_bench.dialogs.answers.append(True)
    with pytest.raises(GenesisError, match=r"numpy 2\.4\.6 by 3\.0\.0"):
        installer.install("onnx", ignore)


def test_torch_is_asked_for_as_the_extension_knows_it(bench_app, monkeypatch):
    import PyTorchUtils

    from GenesisSegmentLib.ui.compat import install_torch

    asked = []

    class Logic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            asked.append((askConfirmation, forceComputationBackend, torchVersionRequirement))

    monkeypatch.setattr(PyTorchUtils, "PyTorchUtilsLogic", Logic)
    install_torch(">=2.8,!=2.9.*")
    assert asked == [(False, None, ">=2.8,!=2.9.*")]


def test_another_signature_of_the_extension_is_refused_with_words(bench_app, monkeypatch):
    import PyTorchUtils

    from GenesisSegmentLib.ui.compat import install_torch

    class Logic:
        def installTorch(self, version):
            raise AssertionError("must not be called")

    monkeypatch.setattr(PyTorchUtils, "PyTorchUtilsLogic", Logic)
    with pytest.raises(GenesisError, match="not known"):
        install_torch(">=2.8")


def test_missing_extension_is_explained(bench_app, monkeypatch):
    import sys

    from GenesisSegmentLib.ui.compat import install_torch

    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(GenesisError, match="Extensions Manager"):
        install_torch(">=2.8")


# --- with the real controller -------------------------------------------------------------------------------------


@pytest.fixture
def host(slicer_bench, machine, tmp_path, monkeypatch):
    """The module on a machine without the packages; its worker is a program that ends at once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return slicer_bench.start(MODULE)


def test_set_up_is_shown_first_and_ends_with_a_self_test(slicer_bench, host, machine):
    assert not host.ui.setupCollapsibleButton.isHidden()
    slicer_bench.dialogs.answers.append(True)
    host.click("installButton")
    # The self-test follows; here the program of the worker is missing, and its verdict says so.
    slicer_bench.wait_until(lambda: "could not be started" in host.ui.verdictsLabel.text, 60)
    assert host.widget.panel.controller.view.state is State.NO_VOLUME
    assert host.ui.installButton.toolTip == "Everything is installed."
    assert len(slicer_bench.dialogs.texts()) == 1


def test_refusal_leaves_the_set_up_where_it_was(slicer_bench, host, machine):
    slicer_bench.dialogs.answers.append(False)
    host.click("installButton")
    assert not host.ui.setupCollapsibleButton.isHidden()
    assert host.ui.installButton.enabled
    assert "Nothing was installed" in host.ui.statusLabel.text


def test_failure_is_told_in_the_strip_and_can_be_tried_again(slicer_bench, host, machine):
    machine.fails, machine.log = True, "NewConnectionError"
    slicer_bench.dialogs.answers.append(True)
    host.click("installButton")
    assert "does not answer" in host.ui.statusLabel.text
    machine.fails, machine.log = False, ""
    slicer_bench.dialogs.answers.append(True)
    host.click("installButton")
    assert host.widget.panel.controller.view.state is State.NO_VOLUME


def test_set_up_that_was_broken_off_is_spoken_of_after_a_restart(slicer_bench, host, machine):
    machine.fails = True
    slicer_bench.dialogs.answers.append(True)
    host.click("installButton")
    host.cleanup()
    again = slicer_bench.start(MODULE)
    assert "not finished" in again.ui.statusLabel.text
    assert again.ui.installButton.enabled
