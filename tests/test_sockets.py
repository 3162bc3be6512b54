"""Where a socket of ours is, nobody else gets to listen."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jan import sockets
from jan.errors import Misconfigured


@pytest.fixture
def path(home: Path) -> Path:
    """Where one may be."""
    return home / "run" / "engine" / "http.sock"


@pytest.fixture
def listener(path: Path) -> Iterator[socket.socket]:
    """Somebody there."""
    sockets.make_way(path)
    with listening(path) as server:
        yield server


def listening(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def test_the_engine_is_below_the_home_where_the_kernel_takes_the_path() -> None:
    short, long = Path("/srv/jan"), Path("/srv") / ("x" * 80)

    assert sockets.of_engine(short, "m-1") == Path("/srv/jan/run/engine/m-1/http.sock")
    assert len(bytes(sockets.of_engine(long, "m-1"))) <= sockets.MAX_PATH_BYTES
    assert sockets.of_engine(long, "m-1") == sockets.of_engine(long, "m-1")
    assert sockets.of_engine(long, "m-1") != sockets.of_engine(Path("/srv") / ("y" * 80), "m-1")
    assert sockets.of_engine(long, "m-1") != sockets.of_engine(long, "m-2")


def test_no_two_engines_have_one_folder() -> None:
    models = ["a", "A", "a/b", "a-b", "a--b", "a.b", "x" * 90, "x" * 91, "x" * 45 + "/" + "y" * 44]

    places = {sockets.place_of(model, number) for model in models for number in range(1, 12)}

    assert len(places) == len(models) * 11
    assert all("/" not in place and len(place) < 64 for place in places)


def test_a_socket_that_is_left_is_gone_with_its_folder(path: Path, listener: socket.socket) -> None:
    sockets.leave(path)
    sockets.leave(path)

    assert not path.parent.exists()


def test_nothing_else_is_removed_with_a_socket(path: Path) -> None:
    sockets.make_way(path)
    (path.parent / "notes").write_text("mine")
    path.write_text("no socket")

    sockets.leave(path)

    assert path.exists()
    assert (path.parent / "notes").exists()


def test_the_folder_is_for_us_alone_and_what_was_there_is_gone(
    path: Path, listener: socket.socket
) -> None:
    assert sockets.is_answered(path)

    sockets.make_way(path)

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == []
    assert not sockets.is_answered(path)


def test_a_socket_of_the_dead_answers_nobody(path: Path, listener: socket.socket) -> None:
    listener.close()

    assert path.exists()
    assert not sockets.is_answered(path)


def test_a_file_is_not_deleted_for_a_socket(home: Path) -> None:
    (home / "notes.txt").write_text("dear diary")

    with pytest.raises(Misconfigured, match="is no socket"):
        sockets.make_way(home / "notes.txt")

    assert (home / "notes.txt").read_text() == "dear diary"


def test_a_folder_that_others_may_write_to_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)

    with pytest.raises(Misconfigured, match="Others may write") as refused:
        sockets.make_way(path)

    assert refused.value.hint == f"chmod go-w {path.parent}"


def test_a_link_in_place_of_the_folder_is_refused(home: Path, path: Path) -> None:
    path.parent.parent.mkdir()
    path.parent.symlink_to(home)

    with pytest.raises(Misconfigured, match="does not belong to the user"):
        sockets.make_way(path)


def test_a_folder_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: path.parent.stat().st_uid + 1)

    with pytest.raises(Misconfigured, match="does not belong to the user"):
        sockets.make_way(path)


def test_a_path_that_the_kernel_does_not_take_is_refused(home: Path) -> None:
    with pytest.raises(Misconfigured, match="too long for a socket"):
        sockets.make_way(home / ("x" * 107))


def test_a_claim_knows_its_own_listener_from_another(path: Path, listener: socket.socket) -> None:
    claim = sockets.Claim(path)

    assert not claim.is_lost(os.getpgrp())
    assert claim.is_lost(os.getpgrp() + 1)
    listener.close()
    assert not claim.is_lost(os.getpgrp() + 1)


def test_a_released_claim_takes_its_socket_away(path: Path, listener: socket.socket) -> None:
    claim = sockets.Claim(path)

    claim.look()
    claim.release()
    claim.release()

    assert not path.exists()


def test_a_released_claim_leaves_a_successors_socket(path: Path, listener: socket.socket) -> None:
    claim = sockets.Claim(path)
    claim.look()
    sockets.make_way(path)

    with listening(path):
        claim.release()

        assert sockets.is_answered(path)
