"""A small web server on this machine that serves what a test puts into it, whole or broken."""

import hashlib
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Web:
    """``files`` by path; ``cut`` names paths whose body always ends too early, ``cut_once`` the next time only.

    ``redirects`` goes from paths to addresses; ``ranged`` says whether parts of files are served; ``seen`` is every
    request so far, ``ranges`` the parts asked for.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    cut_once: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    ranged: bool = False
    ranges: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def add_to_hub(self, repository, name, data):
        self.files[f"/{repository}/resolve/main/{name}"] = data
        self.files[f"/{repository}/resolve/{COMMIT}/{name}"] = data


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def answer(self, *, with_body):
            served.seen.append(f"{self.command} {self.path}")
            if self.path in served.redirects:
                self.send_response(302)
                self.send_header("Location", served.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = served.files.get(self.path)
            if data is None:
                self.send_response(404)
                known = any(path.startswith("/".join(self.path.split("/")[:3])) for path in served.files)
                self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            etag, whole = f'"{hashlib.sha256(data).hexdigest()}"', len(data)
            start = self.asked_from(etag)
            data = data[start:]
            if start >= whole > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                data = b""
            elif start:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            else:
                self.send_response(200)
            self.send_header("ETag", etag)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if with_body:
                cut = self.path in served.cut or self.path in served.cut_once
                served.cut_once.discard(self.path)
                self.wfile.write(data[: len(data) // 2] if cut else data)

        def asked_from(self, etag):
            """The first byte that is asked for, of this version of the file."""
            asked = self.headers.get("Range")
            if asked:
                served.ranges.append(asked)
            if not asked or not served.ranged or self.headers.get("If-Range", etag) != etag:
                return 0
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def do_GET(self):
            self.answer(with_body=True)

        def do_HEAD(self):
            self.answer(with_body=False)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Web(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture
def nowhere(monkeypatch):
    """An address on this machine where nobody listens."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as deaf:  # bound, so that nobody else gets the port, but not listening
        deaf.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}"
