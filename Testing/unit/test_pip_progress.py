from __future__ import annotations

import io
import os
import shutil
import time

import pytest

import pip_progress
from pip_progress import LiveLine, describe, explain_failure, follow


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to proxy.')'\n"
            "ERROR: No matching distribution found for hatchling",
            "the proxy refused the connection",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('[Errno -3] Temporary "
            "failure in name resolution')'\nERROR: No matching distribution found for hatchling",
            "there is no connection to the package server",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "the certificate of the package server"),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.2.2)\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            "the package server has no file of torch ",
        ),
        ("Collecting a\nERROR: Something new happened.\n", "Something new happened."),
        ("", "pip ended with code 2"),
    ],
)
def test_failure_of_pip_is_explained(output, cause):
    sentence = explain_failure(output, 2)
    assert sentence.startswith("The set-up failed: ")
    assert cause in sentence


def test_pip_ended_by_the_system_is_explained():
    assert "lack of memory" in explain_failure("Installing collected packages: torch", -9)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Collecting torch!=2.9.*,>=2.8 (from genesis-segment==0.1.0)", "looking up torch"),
        (
            "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (29 kB)",
            "downloading torch 2.13.0 (29 kB)",
        ),
        ("Downloading https://host/a/numpy-2.4.6-cp311-none-any.whl (17.1 MB)", "downloading numpy 2.4.6 (17.1 MB)"),
        ("  Using cached rich-15.0.0-py3-none-any.whl (310 kB)", "reading rich 15.0.0"),
        ("Processing ./wheels/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", "reading torch 2.13.0+cpu"),
        ("WARNING: Location is ignored", None),
    ],
)
def test_line_of_pip_is_told_as_a_step(line, step):
    assert describe(line) == step


def test_following_pip_shows_percentage_and_package_and_keeps_the_log(tmp_path):
    shown: list[str] = []
    line = LiveLine(io.StringIO())
    line.update = shown.append  # type: ignore[method-assign]

    def wait_for(text: str) -> None:
        for _ in range(1500):
            if text in shown:
                return
            time.sleep(0.02)

    def output():
        yield "  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (200 MB)\n"
        yield "Progress 50000000 of 200000000\n"
        yield "Installing collected packages: numpy, rich, torch\n"
        wait_for("unpacking numpy (1 of 3)")
        (tmp_path / "numpy-2.4.6.dist-info").mkdir()
        wait_for("unpacking rich (2 of 3)")

    log = io.StringIO()
    follow(output(), log, line, tmp_path)
    assert "downloading torch 2.13.0 (200 MB) 25 %" in shown
    assert {"unpacking numpy (1 of 3)", "unpacking rich (2 of 3)"} <= set(shown)
    assert "Installing collected packages" in log.getvalue()
    assert "Progress" not in log.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_line_is_rewritten_in_place_and_cleared(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((30, 24)))
    terminal = Terminal()
    now = iter([0.0, 1.0, 65.0])
    line = LiveLine(terminal, lambda: next(now))
    line.update("a long text that does not fit the line")
    line.update("short")
    line.say("Done.")
    first, second = "  0:01 a long text that does ", "  1:05 short"
    assert terminal.getvalue() == f"\r{first}\r{second.ljust(len(first))}\r{' ' * len(second)}\rDone.\n"


def test_without_a_terminal_a_line_is_printed_now_and_then():
    stream = io.StringIO()
    clock = [0.0]
    line = LiveLine(stream, lambda: clock[0])
    for second in range(40):
        clock[0] = second
        line.update(f"step {second}")
    line.close()
    assert stream.getvalue() == "  0:15 step 15\n  0:30 step 30\n"
    assert pip_progress.PLAIN_S == 15
