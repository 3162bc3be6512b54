"""The port is had, or the operator knows why not."""

import socket

import pytest

from jan import listener
from jan.errors import Misconfigured


def test_any_free_port_is_taken_and_named() -> None:
    with listener.listen("127.0.0.1", 0) as server:
        port = server.getsockname()[1]

        assert listener.url(server) == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port)).close()


def test_all_addresses_are_reached_through_the_local_one() -> None:
    with listener.listen("0.0.0.0", 0) as server:
        assert listener.url(server).startswith("http://127.0.0.1:")


def test_a_taken_port_is_explained() -> None:
    with listener.listen("127.0.0.1", 0) as server:
        port = server.getsockname()[1]

        with pytest.raises(Misconfigured, match="another program uses that port") as caught:
            listener.listen("127.0.0.1", port)

    assert caught.value.hint
    assert f"sport = :{port}" in caught.value.hint
    assert "--port" in caught.value.hint


def test_a_privileged_port_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)  # we may well be root

    with pytest.raises(Misconfigured, match="ports below 1024 are for root"):
        listener.listen("127.0.0.1", 80)


def test_an_address_of_another_machine_is_explained() -> None:
    with pytest.raises(Misconfigured, match="this machine has no such address"):
        listener.listen("192.0.2.1", 0)


def test_a_name_that_does_not_exist_is_explained() -> None:
    with pytest.raises(Misconfigured, match=r"There is no address `nowhere\.invalid`"):
        listener.listen("nowhere.invalid", 0)
