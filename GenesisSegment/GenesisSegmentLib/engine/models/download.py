"""Fetches one file over HTTP, going on where a broken download stopped.

Nothing but the request for the file is sent: no cookies, no stored credentials. Proxies and certificates of the
environment are honoured.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urlsplit

import requests

from ... import __version__
from ...core.errors import NetworkError, OutputError
from ...core.files import atomic_file, fsync, output_errors
from ...core.i18n import _, together
from ...core.jobs import Job
from .cache import part_files
from .offer import RemoteFile

STAGE = "download"
CHUNK_BYTES = 16 * 1024
"""What is read at once: small, so that a slow connection can be cancelled and little is lost when one breaks."""
_REPORTS = 500
_TIMEOUT_S = (15, 20)
_MAX_FAILURES = 3
_SPARE_BYTES = 64 * 1024 * 1024
"""Disk that a download leaves free."""


@dataclass(frozen=True)
class _PartState:
    """What is known of the file that a part belongs to; kept beside the part."""

    url: str
    validator: str | None
    size_bytes: int | None


class _Interrupted(Exception):
    """The connection failed or broke; what has arrived so far is kept."""


class _Outdated(Exception):
    """What has arrived so far belongs to another file than the host has now."""


class _Session(requests.Session):
    """Sends no credentials: neither from ``.netrc`` nor to the host of a redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["User-Agent"] = f"GenesisSegment/{__version__}"
        # Byte counts and ranges are those of the file itself, not of a compressed form of it.
        self.headers["Accept-Encoding"] = "identity"

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        prepared_request.headers.pop("Authorization", None)


def fetch(
    remote: RemoteFile,
    part: Path,
    job: Job,
    by_hand: str = "",
    *,
    pause_s: float = 1.0,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Brings ``part`` to be the whole of ``remote``; what an earlier call left there is used if the file is the same.

    Reports to the stage "download" of ``job``. Content is not checked here beyond its size.

    Args:
        by_hand: sentence that tells how to get the file in without this download; ends the remedy of errors.
        pause_s: first pause before a broken connection is tried again.

    Raises:
        NetworkError: no connection, refused, not there, or not the size that was stated.
        OutputError: the disk is full or the folder cannot be written.
        Cancelled: by the job; what has arrived is kept.
    """
    transfer = _Transfer(remote, part, job, by_hand, free_bytes)
    failures = 0
    with _Session() as session:
        while True:
            before = transfer.have()
            try:
                transfer.attempt(session)
                return
            except _Outdated:
                transfer.forget()
            except _Interrupted as broken:
                failures = 0 if transfer.have() > before else failures + 1
                if failures >= _MAX_FAILURES or not transfer.received:
                    raise transfer.explain(broken.__cause__) from broken
                job.check()
                time.sleep(pause_s * 2**failures)


class _Transfer:
    """One file on its way; each attempt is one request."""

    def __init__(
        self, remote: RemoteFile, part: Path, job: Job, by_hand: str, free_bytes: Callable[[Path], int]
    ) -> None:
        assert remote.url is not None
        self._remote, self._url, self._job, self._by_hand = remote, remote.url, job, by_hand
        self._part, self._note = part_files(part)
        self._free_bytes = free_bytes
        self._host = urlsplit(self._url).hostname or self._url
        self.received = 0
        """Bytes that arrived in this call."""

    def have(self) -> int:
        """Bytes that have arrived."""
        return self._part.stat().st_size if self._part.is_file() else 0

    def attempt(self, session: requests.Session) -> None:
        """Asks for what is missing and stores it as it comes."""
        state = self._state()
        have = self.have() if state else 0
        if state and have and have == state.size_bytes:
            return
        headers = {}
        if state and have and state.validator:
            headers = {"Range": f"bytes={have}-", "If-Range": state.validator}
        try:
            with session.get(self._url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
                start = have if state and headers and _goes_on(response, have, state) else 0
                self._refuse(response, 206 if start else 200)
                total = _total(response, start)
                self._make_room(total, start)
                if start == 0:
                    self.forget()
                self._remember(_PartState(self._url, _validator(response), total))
                self._store(response, start, total)
        except requests.RequestException as error:
            raise _Interrupted from error
        if total is not None and self.have() != total:
            raise _Interrupted

    def _refuse(self, response: requests.Response, expected: int) -> None:
        """Raises where the answer is not the file."""
        status = response.status_code
        if urlsplit(self._url).scheme == "https" and urlsplit(response.url).scheme != "https":
            raise self._error(
                _("{host} passes on to an address that is not protected (https).").format(host=self._host)
            )
        if status in (401, 403):
            page = self._remote.page or f"https://{self._host}"
            what = _("{host} does not give out {file} without permission (HTTP {status}).").format(
                host=self._host, file=self._remote.file, status=status
            )
            raise self._error(what, _("Log in at {page} in a browser and accept its terms.").format(page=page))
        if status in (404, 410):
            what = _("{host} has no {file} at this address (HTTP {status}).")
            raise self._error(what.format(host=self._host, file=self._remote.file, status=status))
        if status == 407:
            raise self._error(
                _("The proxy of this network asks for a login (HTTP 407)."), _("Set HTTPS_PROXY with it.")
            )
        if status == 429 or status >= 500:
            what = _("{host} is busy or has a fault (HTTP {status}).")
            raise self._error(what.format(host=self._host, status=status), _("Try again later."))
        if status != expected:
            what = _("{host} answered in an unexpected way (HTTP {status}).")
            raise self._error(what.format(host=self._host, status=status))
        if response.headers.get("Content-Type", "").startswith("text/html"):
            what = _("A web page came instead of {file}, as from the login page of a network.").format(
                file=self._remote.file
            )
            raise self._error(what, _("Open a browser, log in to the network, and try again."))

    def _make_room(self, total: int | None, start: int) -> None:
        stated = self._remote.size_bytes
        if total is not None and stated is not None and total != stated:
            self.forget()
            raise self._error(
                _("{host} offers {file} with {total} bytes where {stated} are expected: it is another file.").format(
                    host=self._host, file=self._remote.file, total=f"{total:,}", stated=f"{stated:,}"
                )
            )
        size = total if total is not None else stated
        with output_errors(self._part):
            free = self._free_bytes(self._part.parent)
        if size is not None and free < size - start + _SPARE_BYTES:
            raise OutputError(
                _("{file} needs {needed} MB, but {folder} has only {free} MB free.").format(
                    file=self._remote.file,
                    needed=f"{(size - start) / 1e6:,.0f}",
                    folder=self._part.parent,
                    free=f"{free / 1e6:,.0f}",
                ),
                _("Free some space, or choose another folder with the environment variable GENESIS_SEGMENT_HOME."),
            )

    def _store(self, response: requests.Response, start: int, total: int | None) -> None:
        with output_errors(self._part):
            stream = self._part.open("r+b" if start else "wb")
        with stream:
            stream.seek(start)
            done = reported = start
            for chunk in response.iter_content(CHUNK_BYTES):
                with output_errors(self._part):
                    stream.write(chunk)
                done += len(chunk)
                self.received += len(chunk)
                self._job.check()
                if total and (done == total or (done - reported) * _REPORTS >= total):
                    self._job.advance(STAGE, done / total)
                    reported = done
        with output_errors(self._part):
            fsync(self._part)

    def _state(self) -> _PartState | None:
        """What is known of the part; None where it is of no use."""
        try:
            state = _PartState(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return state if state.url == self._url else None

    def _remember(self, state: _PartState) -> None:
        with atomic_file(self._note) as path:
            path.write_text(json.dumps(asdict(state)), encoding="utf-8")

    def forget(self) -> None:
        """Drops what has arrived."""
        with output_errors(self._part):
            for path in (self._part, self._note):
                path.unlink(missing_ok=True)

    def explain(self, cause: BaseException | None) -> NetworkError:
        """Why there was no connection, as far as it can be told."""
        if isinstance(cause, requests.exceptions.ProxyError):
            return self._error(
                _("The proxy of this network did not let the download through."), _("Check HTTPS_PROXY.")
            )
        if isinstance(cause, requests.exceptions.SSLError):
            what = _("The secure connection to {host} was not accepted; a firewall may be inspecting it.").format(
                host=self._host
            )
            return self._error(what, _("Set REQUESTS_CA_BUNDLE to the certificates of your network."))
        if self.received:
            what = _("The connection to {host} broke after {done} MB.").format(
                host=self._host, done=f"{self.have() / 1e6:,.1f}"
            )
            return self._error(what, _("Try again: the download goes on where it stopped."))
        if isinstance(cause, requests.exceptions.Timeout):
            what = _("{host} did not answer; a firewall may be blocking it.").format(host=self._host)
        else:
            what = _("{host} could not be reached.").format(host=self._host)
        return self._error(what, _("Check the network, and HTTPS_PROXY if you need a proxy."))

    def _error(self, what: str, remedy: str = "") -> NetworkError:
        return NetworkError(what, together(remedy, self._by_hand))


def _goes_on(response: requests.Response, have: int, state: _PartState) -> bool:
    """Whether the answer continues at byte ``have`` of the file of ``state``; else it is the whole file anew.

    Raises:
        _Outdated: it is neither.
    """
    if response.status_code == 416:
        raise _Outdated
    if response.status_code != 206:
        return False
    begins, total = _content_range(response)
    if begins != have or _validator(response) != state.validator or state.size_bytes not in (None, total):
        raise _Outdated
    return True


def _total(response: requests.Response, start: int) -> int | None:
    """Size of the whole file, where the answer tells."""
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    return None if encoded or not length.isdigit() else start + int(length)


def _validator(response: requests.Response) -> str | None:
    """What tells whether the file at the host is still the same: a strong ETag, else the date of its last change."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and total size out of ``bytes 100-999/1000``."""
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes" or not first.isdigit():
        return None, None
    return int(first), int(total) if total.isdigit() else None
