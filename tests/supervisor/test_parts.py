"""What the children of `jan serve` are told."""

from pathlib import Path

from jan import keyring, listener, settings
from jan.supervisor.board import Board
from jan.supervisor.parts import Parts


def test_what_starts_while_the_listener_closes_is_told_where_it_was(tmp_path: Path) -> None:
    # The end closes the listener while the database is still being prepared, and engines start.
    loaded = settings.load({"home": tmp_path})
    with listener.listen("127.0.0.1", 0) as server:
        url = listener.url(server)
        parts = Parts(loaded, keyring.load(loaded.settings), server, Board("json"))
        server.close()

    assert parts.url == url
    assert url.endswith(f":{parts.environment()['JAN_PORT']}")
