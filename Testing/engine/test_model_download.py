"""Downloads go on where they stopped, tell why they failed, and send nothing but the request."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from GenesisSegmentLib.core.errors import Cancelled, NetworkError, OutputError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.models.download import CHUNK_BYTES, fetch
from GenesisSegmentLib.engine.models.offer import RemoteFile

# Test modules are imported by path, and so is what they share.
FileServer = run_path(str(Path(__file__).parents[1] / "local_file_server.py"))["FileServer"]
CONTENT = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(8192))
CUT = 6 * CHUNK_BYTES


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def remote(server):
    return RemoteFile("weights.pth", server.url("weights.pth"), "https://example.org/weights", None, None)


@pytest.fixture
def part(tmp_path):
    return tmp_path / "weights.pth.part"


@pytest.fixture
def get(remote, part):
    def get(job=None, **options):
        job = job or Job()
        job.plan({"download": 1.0})
        fetch(options.pop("remote", remote), part, job, "Or bring the file.", pause_s=0.0, **options)
        return part.read_bytes()

    return get


def ranges(server: FileServer) -> list[str | None]:
    return [headers.get("Range") for headers in server.requests]


def cancelled_after_the_first_bytes() -> Job:
    job = Job(lambda progress: job.cancel())
    return job


def test_the_file_arrives_whole_with_true_progress(get, server):
    seen = []
    assert get(Job(lambda progress: seen.append(progress.fraction))) == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 2
    assert ranges(server) == [None]


def test_a_broken_connection_goes_on_at_the_right_byte(get, server):
    server.break_after = [CUT, CUT // 3]
    assert get() == CONTENT
    assert ranges(server) == [None, f"bytes={CUT}-", f"bytes={CUT + CUT // 3}-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_cancelled_download_goes_on_next_time(get, server, part):
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    assert get() == CONTENT
    assert ranges(server) == [None, f"bytes={kept}-"]


def test_a_part_that_is_complete_needs_no_request(get, server):
    get()
    assert get() == CONTENT
    assert len(server.requests) == 1


def test_a_host_that_ignores_ranges_sends_the_file_anew(get, server):
    server.takes_ranges = False
    server.break_after = [CUT]
    assert get() == CONTENT
    assert ranges(server) == [None, f"bytes={CUT}-"]


def test_a_host_that_breaks_every_time_is_given_up(get, server):
    server.takes_ranges = False
    server.break_after = [CUT] * 20
    with pytest.raises(NetworkError, match=r"broke after 0\.1 MB\. Try again: the download goes on"):
        get()
    assert len(server.requests) < 10


def test_a_file_that_changed_meanwhile_is_fetched_anew(get, server):
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert get() == CONTENT[::-1]
    assert ranges(server)[1] is not None


def test_a_part_of_another_version_is_not_glued_to_the_new_one(get, server, part):
    """A host that answers a range although the file changed: same size, another ETag."""
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    server.content, server.etag = CONTENT[::-1], '"two"'
    server._start = lambda handler: int(handler.headers.get("Range", "bytes=0-")[6:-1])
    assert get() == CONTENT[::-1]
    assert ranges(server)[2] is None


def test_an_answer_that_starts_elsewhere_is_not_glued_on(get, server):
    server.break_after, server.range_shift = [CUT], 7
    assert get() == CONTENT
    assert ranges(server) == [None, f"bytes={CUT}-", None]


def test_a_part_longer_than_the_file_is_dropped(get, server):
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    server.content = CONTENT[:1000]
    assert get() == CONTENT[:1000]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_sure_mark_of_the_version_nothing_is_glued(get, server, etag):
    server.etag = etag
    server.break_after = [CUT]
    assert get() == CONTENT
    assert ranges(server) == [None, None]


def test_the_date_of_the_last_change_serves_where_there_is_no_etag(get, server):
    server.etag, server.headers = None, {"Last-Modified": "Sat, 01 Nov 2025 10:00:00 GMT"}
    server.break_after = [CUT]
    server._start = lambda handler: int(handler.headers.get("Range", "bytes=0-")[6:-1])
    assert get() == CONTENT
    assert server.requests[1]["If-Range"] == "Sat, 01 Nov 2025 10:00:00 GMT"


def test_a_part_of_another_address_is_not_used(get, server, remote):
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    assert get(remote=replace(remote, url=server.url("moved/weights.pth"))) == CONTENT
    assert ranges(server) == [None, None]


def test_a_host_that_does_not_state_the_length_is_believed(get, server):
    server.states_length = False
    assert get() == CONTENT


def test_a_download_of_unknown_length_can_be_cancelled(get, server):
    server.states_length = False
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        get(job)


def test_a_host_that_hangs_up_is_not_asked_again_and_again(get, server):
    server.hangs_up = True
    with pytest.raises(NetworkError, match="could not be reached"):
        get()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "Log in at https://example.org/weights in a browser"),
        (403, "Log in at https://example.org/weights in a browser"),
        (404, r"has no weights\.pth at this address"),
        (407, "proxy"),
        (429, "Try again later"),
        (503, "Try again later"),
        (418, "unexpected way"),
    ],
)
def test_a_refusal_says_why_and_how_to_do_without(get, server, part, status, words):
    server.status = status
    with pytest.raises(NetworkError, match=words) as caught:
        get()
    assert caught.value.remedy.endswith("Or bring the file.")
    assert not part.exists()
    assert len(server.requests) == 1


def test_a_refusal_keeps_what_has_arrived(get, server):
    with pytest.raises(Cancelled):
        get(cancelled_after_the_first_bytes())
    server.status = 503
    with pytest.raises(NetworkError):
        get()
    server.status = 200
    assert get() == CONTENT
    assert ranges(server)[-1] is not None


def test_a_login_page_is_not_taken_for_the_file(get, server, part):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(NetworkError, match="login page"):
        get()
    assert not part.exists()


def test_a_file_of_another_size_than_stated_is_refused(get, server, remote, part):
    with pytest.raises(NetworkError, match=r"262,144 bytes where 99 are expected"):
        get(remote=replace(remote, size_bytes=99))
    assert not part.exists()


def test_a_host_that_cannot_be_reached_is_named(get, remote):
    with FileServer(b"") as gone:
        url = gone.url("weights.pth")
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1 could not be reached"):
        get(remote=replace(remote, url=url))


def test_a_proxy_that_does_not_answer_is_named(get, remote, monkeypatch):
    with FileServer(b"") as gone:
        monkeypatch.setenv("HTTP_PROXY", gone.url(""))
        monkeypatch.setenv("http_proxy", gone.url(""))
    with pytest.raises(NetworkError, match="proxy"):
        get(remote=replace(remote, url="http://weights.invalid/weights.pth"))


def test_a_disk_without_room_is_told_before_anything_is_stored(get, part):
    with pytest.raises(OutputError, match=r"needs 0 MB, but .* has only 1 MB free"):
        get(free_bytes=lambda folder: 1_000_000)
    assert not part.exists()


def test_a_folder_that_cannot_be_written_is_told(get, part):
    part.mkdir()
    with pytest.raises(OutputError, match="could not be written"):
        get()


def test_stored_passwords_and_cookies_are_not_sent(get, server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.headers = {"Set-Cookie": "visitor=7"}
    server.break_after = [CUT]
    get()
    assert len(server.requests) == 2
    sent = {name.lower() for headers in server.requests for name in headers}
    assert sent == {"host", "user-agent", "accept-encoding", "accept", "connection", "range", "if-range"}


def test_a_redirect_is_followed_without_passwords(get, server, remote, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with FileServer(b"") as front:
        front.status, front.headers = 302, {"Location": server.url("store/weights.pth")}
        server.break_after = [CUT]
        assert get(remote=replace(remote, url=front.url("weights.pth"))) == CONTENT
    assert ranges(server) == [None, f"bytes={CUT}-"]
    assert all("Authorization" not in headers for headers in server.requests + front.requests)
