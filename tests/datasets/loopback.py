"""A server on this machine that answers by a script: honestly, or with any fault a download may meet."""

from __future__ import annotations

import hashlib
import http.server
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CONTENT = random.Random(0).randbytes(200_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
NEWER = random.Random(1).randbytes(180_000)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request gets. status None: 200, or 206 for a range that it honours; body None: of the content.

    cut: bytes of the body after which the connection is closed (reset: by force; stall: is left silent, until the
    server is told to go on). headers: further ones, or None for one that is left out. limit: the most bytes in a range.
    drip: seconds between single bytes.
    """

    content: bytes = CONTENT
    status: int | None = None
    body: bytes | None = None
    etag: str | None = '"first"'
    ranges: bool = True
    if_range: bool = True
    limit: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    chunked: bool = False
    cut: int | None = None
    reset: bool = False
    stall: bool = False
    drip: float = 0.0
    raw: bytes | None = None  # instead of any HTTP


class Server(http.server.ThreadingHTTPServer):
    """Gives the script's answers one by one, the last one for ever. asked: the headers of every request."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, *script: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script or (Answer(),)
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def next_answer(self, headers: Mapping[str, str], path: str) -> Answer:
        with self._lock:
            self.asked.append(dict(headers))
            self.paths.append(path)
            return self.script[min(len(self.asked), len(self.script)) - 1]

    def address(self, name: str = "archive.tar") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    @property
    def ranges(self) -> list[str]:
        """The range of every request, or "all"."""
        return [headers.get("Range", "all").removeprefix("bytes=") for headers in self.asked]


@contextmanager
def serving(*script: Answer) -> Iterator[Server]:
    """A running server, for as long as the block runs."""
    server = Server(*script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request, answered as the script says; the connection is closed afterwards."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = self.server.next_answer(self.headers, self.path)
        self.close_connection = True
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            if answer.stall:
                self.server.go_on.wait(20)
            return
        start = self._start(answer)
        last = len(answer.content) if answer.limit is None or start is None else start + answer.limit
        body = answer.content[start or 0 : last] if answer.body is None else answer.body
        self._send_head(answer, start, body)
        with suppress(OSError):  # the other side has gone
            self._send_body(answer, body)

    def _start(self, answer: Answer) -> int | None:
        """The first byte of a range that is honoured."""
        asked = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        other = answer.if_range and condition is not None and condition != answer.etag
        if asked is None or not answer.ranges or other:
            return None
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return start if start < len(answer.content) else None

    def _send_head(self, answer: Answer, start: int | None, body: bytes) -> None:
        total = len(answer.content)
        headers: dict[str, str | None] = {"ETag": answer.etag, "Connection": "close"}
        headers["Transfer-Encoding" if answer.chunked else "Content-Length"] = (
            "chunked" if answer.chunked else str(len(body))
        )
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{total}"
        self.send_response(answer.status or (200 if start is None else 206))
        for name, value in {**headers, **answer.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def _send_body(self, answer: Answer, body: bytes) -> None:
        sent = body if answer.cut is None else body[: answer.cut]
        if answer.drip:
            for byte in sent:
                self.wfile.write(bytes([byte]))
                if self.server.go_on.wait(answer.drip):
                    return
        elif answer.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b"")
            self.wfile.write(b"" if answer.cut is not None else b"0\r\n\r\n")
        else:
            self.wfile.write(sent)
        if answer.stall:
            self.server.go_on.wait(20)
        if answer.reset:
            time.sleep(0.02)  # what was sent arrives first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


class Watching:
    """A display that keeps lines and sees to it that no wrong file is ever at the target's name."""

    def __init__(self, target: Path, *truths: bytes) -> None:
        self.target, self.truths = target, truths or (CONTENT,)
        self.lines: list[str] = []
        self.seen: list[tuple[int, int | None, str]] = []

    def __call__(self, _done: int, _total: int) -> None:
        raise AssertionError("these are bytes")

    def bytes_done(self, done: int, total: int | None, note: str) -> None:
        self.seen.append((done, total, note))
        self.check()

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.check()

    def check(self) -> None:
        """Nothing, or what it should be."""
        assert not self.target.exists() or self.target.read_bytes() in self.truths
