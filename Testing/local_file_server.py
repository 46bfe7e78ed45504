"""A file server on this machine that behaves well, or badly in the ways that real hosts do."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``content`` at every address and keeps the headers of ``requests``; its attributes make it misbehave."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.takes_ranges = True
        self.states_length = True
        self.status = 200
        self.content_type = "application/octet-stream"
        self.headers: dict[str, str] = {}
        self.break_after: list[int] = []
        """Bytes after which the connection is cut, one number per request, first request first."""
        self.delay_s = 0.0
        self.hangs_up = False
        self.range_shift = 0
        """Bytes by which an answer to a range starts too early."""
        self.requests: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, file: str) -> str:
        """Address of a file."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{file}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.requests.append(dict(self.headers))
                host.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Keeps the test output clean."""

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        time.sleep(self.delay_s)
        if self.hangs_up:
            handler.close_connection = True
            return
        start, status = self._start(handler), self.status
        body = self.content[start:] if status == 200 else b"<html>no</html>"
        if start and status == 200:
            status = 206 if start < len(self.content) else 416
        handler.send_response(status)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.send_header("Content-Type", self.content_type)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        if self.states_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.close_connection = True
        handler.end_headers()
        if self.break_after:
            body = body[: self.break_after.pop(0)]
        handler.wfile.write(body)

    def _start(self, handler: BaseHTTPRequestHandler) -> int:
        wanted = handler.headers.get("Range", "")
        unchanged = handler.headers.get("If-Range") in (None, self.etag)
        if not wanted or not self.takes_ranges or not unchanged:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-")) - self.range_shift
