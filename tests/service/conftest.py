"""A machine without a service, an executable, and a gateway that answers."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.service.machines import NAME, FakeMachine


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    root = tmp_path / "root"
    for folder in ("run/systemd/system", "etc/systemd/system", "usr/local/bin"):
        (root / folder).mkdir(parents=True)
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o755)
    return FakeMachine(root)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What says of itself that it is an executable of Jan."""
    path = tmp_path / "downloaded"
    path.write_bytes(b"\x7fELF \0" + NAME + b"\0 and so on")
    return path


class _Well(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Where something is alive, and not ready."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Well) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
