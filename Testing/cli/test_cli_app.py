"""The command as a whole: help, exit codes, JSON on every end, Ctrl-C, and terminals that can do little."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import GenesisSegmentLib
from cli_builders import Ended, finish, run, start
from GenesisSegmentLib import __version__
from GenesisSegmentLib.cli import console, info, models
from GenesisSegmentLib.cli.app import EXIT_CODES
from GenesisSegmentLib.cli.console import run_cancellable
from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.models.catalogue import Catalogue, load_catalogue
from GenesisSegmentLib.engine.models.store import ModelStore

COMMANDS = {
    "segment": ("--out", "--model", "--classes", "--device", "--runtime", "--recipe", "--postprocess", "--json"),
    "models": ("list", "info", "download", "import", "verify", "remove"),
    "cases": ("list", "show", "add", "export", "import", "verify", "delete"),
    "evaluate": ("PREDICTION", "REFERENCE", "--tolerance", "--csv", "--plot", "--json"),
    "benchmark": ("--json",),
    "info": ("--json",),
}
HEAVY = ("torch", "monai", "SimpleITK", "onnxruntime", "scipy", "matplotlib", "pydicom", "highdicom")


def assert_failed(ended: Ended, code: int, kind: str) -> None:
    assert ended.code == code
    assert ended.document.keys() == {"error"}
    assert ended.document["error"]["code"] == kind
    assert ended.err.startswith("Error: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(("command", "words"), COMMANDS.items(), ids=COMMANDS)
def test_every_command_explains_itself(command, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    ended = run(command, "--help")
    assert ended.code == 0
    assert all(word in ended.out for word in words)
    assert ended.err == ""


def test_the_program_lists_its_commands_and_exit_codes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    ended = run("--help")
    assert all(command in ended.out for command in COMMANDS)
    assert EXIT_CODES in ended.out


def test_help_loads_no_heavy_package():
    code = f"import atexit; atexit.register(lambda: print('LOADED', *(m for m in {HEAVY} if m in sys.modules)))"
    ended = finish(start(code, "segment", "--help"))
    assert ended.code == 0
    assert ended.out.rstrip().endswith("LOADED")


def test_version():
    assert run("--version") == Ended(0, f"{__version__}\n", "")


def test_no_arguments_show_the_help_and_count_as_wrong_usage():
    ended = run()
    assert ended.code == 2
    assert "Usage" in ended.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("segment", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("segment",), "INPUT"),
        (("segment", "ct.nii.gz", "--sample"), "--sample"),
        (("segment", "ct.nii.gz", "--recipe", "best"), "--recipe"),
        (("segment", "ct.nii.gz", "--overlap", "1.5"), "--overlap"),
        (("evaluate", "one.nii.gz"), "REFERENCE"),
        (("evaluate", "a.nii.gz", "b.nii.gz", "--tolerance", "nan"), "--tolerance"),
        (("evaluate", "a.nii.gz", "b.nii.gz", "--plot", "plot.txt"), "plot.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_told_in_a_sentence_and_as_json(arguments, word):
    ended = run(*arguments, "--json")
    assert_failed(ended, 2, "usage")
    assert word in ended.document["error"]["what"]
    assert ended.document["error"]["remedy"]


def test_no_consent_ends_with_its_own_code():
    ended = run("models", "download", "universal_unet", "--json")
    assert ended.code == 8
    assert ended.document["error"]["code"] == "consent"
    assert "--yes" in ended.err


def test_no_network_ends_with_its_own_code(tmp_path, monkeypatch):
    entries = [
        entry if entry.is_bundled else replace(entry, source=replace(entry.source, url="http://127.0.0.1:9/nobody"))
        for entry in load_catalogue()
    ]
    monkeypatch.setattr(models, "open_store", lambda: ModelStore(tmp_path, Catalogue(entries)))
    ended = run("models", "download", "universal_unet", "--yes")
    assert ended.code == 7
    assert "Traceback" not in ended.err


def test_a_fault_of_ours_is_kept_in_a_file_and_told_in_a_sentence(home, monkeypatch):
    def break_down(job):
        raise ZeroDivisionError("a made-up\nfault")

    monkeypatch.setattr(info, "_facts", break_down)
    ended = run("info", "--json")
    assert_failed(ended, 1, "error")
    assert ended.document["error"]["what"] == "ZeroDivisionError: a made-up fault"
    kept = home / "last-error.txt"
    assert str(kept) in ended.document["error"]["remedy"]
    assert "in break_down" in kept.read_text(encoding="utf-8")


def test_a_fault_is_told_even_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(info, "_facts", lambda job: 1 / 0)
    ended = run("info", "--json")
    assert_failed(ended, 1, "error")
    assert Path(__file__).name in ended.document["error"]["remedy"]


def test_too_little_memory_is_no_fault(monkeypatch):
    def fill_memory(job):
        raise MemoryError

    monkeypatch.setattr(info, "_facts", fill_memory)
    assert_failed(run("info", "--json"), 5, "resource")


def test_what_libraries_say_stays_off_the_terminal():
    code = """
import logging, warnings
from GenesisSegmentLib.cli import info
from GenesisSegmentLib.core.errors import InputError
def remark(job):
    warnings.warn("a remark of a library", UserWarning)
    logging.getLogger("library").error("a log line of a library")
    raise InputError("No.", "Stop.")
info._facts = remark
"""
    assert finish(start(code, "info")) == Ended(3, "", "Error: No.\n  Stop.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("models", "list", "--json"), 1, ""),
        (("segment", "absent.nii.gz", "--json"), 3, "Error: absent.nii.gz does not exist.\n  Check the path.\n"),
    ],
    ids=["result", "error"],
)
def test_a_reader_that_leaves_meets_no_traceback(arguments, code, said):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("", *arguments, stdout=writing)
    os.close(writing)
    ended = finish(process)
    assert (ended.code, ended.err) == (code, said)


def test_a_terminal_of_ascii_gets_every_message():
    poor = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    ended = finish(start("", "segment", "für Ärzte.nii.gz", "--json", env=poor))
    assert_failed(ended, 3, "input")
    assert ended.document["error"]["what"].endswith("rzte.nii.gz does not exist.")
    assert finish(start("", "segment", "--help", env=poor)).code == 0


def test_onnx_runtime_does_not_report_to_its_maker(tmp_path, model):
    """It would leave an identity and a queue of events in the person's cache folder."""
    code = f"import onnxruntime; onnxruntime.InferenceSession({str(model)!r}, providers=['CPUExecutionProvider'])"
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", f"import GenesisSegmentLib; {code}"], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_work_gives_its_result_and_its_error_to_the_caller():
    before = signal.getsignal(signal.SIGINT)
    assert run_cancellable(Job(), lambda: threading.current_thread()) is not threading.main_thread()
    with pytest.raises(ZeroDivisionError):
        run_cancellable(Job(), lambda: 1 // 0)
    assert signal.getsignal(signal.SIGINT) is before


INTERRUPTED_IMPORT = """
import builtins, os, signal, sys
real = builtins.__import__
def interrupt(name, *others):
    if name == "typer":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *others)
builtins.__import__ = interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from GenesisSegmentLib.cli.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["people", "json"])
def test_ctrl_c_while_the_program_is_loaded_is_told_in_one_line(options):
    environment = os.environ | {"PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, "segment", "ct.nii.gz", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr == "Error: The job was cancelled. Nothing was written.\n"
    assert ("cancelled" in done.stdout) == bool(options)
    assert not options or json.loads(done.stdout)["error"]["code"] == "cancelled"


def test_the_installed_command_hears_ctrl_c_from_its_start():
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert 'genesis-segment = "GenesisSegmentLib.cli.__main__:main"' in project.read_text(encoding="utf-8")


def test_the_program_can_be_run_as_a_module():
    environment = os.environ | {"PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    command = [sys.executable, "-m", "GenesisSegmentLib.cli", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_ctrl_c_cancels_the_job_and_waits_for_work_that_notices():
    job = Job()
    tidied = []

    def work():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            for _ in range(200):
                time.sleep(0.01)
                job.check()
        except Cancelled:
            tidied.append(True)
            raise

    with pytest.raises(Cancelled):
        run_cancellable(job, work)
    assert tidied == [True]


def test_ctrl_c_leaves_work_behind_that_does_not_notice(monkeypatch):
    monkeypatch.setattr(console, "CANCEL_GRACE_S", 0.05)
    job, release = Job(), threading.Event()

    def work():
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(timeout=5)

    try:
        with pytest.raises(Cancelled):
            run_cancellable(job, work)
        assert job.is_cancelled
    finally:
        release.set()
