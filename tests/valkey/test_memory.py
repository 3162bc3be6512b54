"""What is remembered together: all that share it find it, and nobody waits once it is lost."""

import asyncio
import random
import re
import signal
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from jan.errors import Unavailable
from jan.valkey import memory as memory_module
from jan.valkey.memory import MAX_VALUE_BYTES, TIMEOUT_S, Away, Memory
from jan.valkey.script import Script
from tests.mail.servers import make_certificate
from tests.ports import HOST, free_port
from tests.valkeys import (
    ESCAPED,
    ValkeyServer,
    cluster,
    remembering,
    until_used,
    valkey,
)

OTHER_SECRET = "o" * 32
APPEND = Script("return redis.call('APPEND', KEYS[1], ARGV[1])")
DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"


@asynccontextmanager
async def started(form: str) -> AsyncGenerator[ValkeyServer]:
    """Run one, which is the whole cluster where that is the form."""
    if form == "redis":
        async with valkey() as server:
            yield server
    else:
        async with cluster(1) as servers:
            yield servers[0]


@asynccontextmanager
async def remembered(url: str) -> AsyncGenerator[Memory]:
    async with remembering(url) as memory:
        yield await until_used(memory)


async def reason_for_not_using(url: str) -> str:
    """Have it looked for, and tell what is logged about it."""
    with capture_logs() as lines:
        async with remembering(url) as memory:
            with anyio.fail_after(5):
                while not lines:
                    await asyncio.sleep(0.005)
            with pytest.raises(Unavailable):
                await memory.check()
    assert lines[0]["event"] == "valkey is not used"
    assert ESCAPED not in str(lines)
    return lines[0]["reason"]


async def test_what_one_process_puts_another_gets_until_its_time_is_over() -> None:
    async with valkey() as server, remembered(server.url) as one, remembered(server.url) as other:
        await one.put("word", b"cat", 0.2)
        await one.put("long", b"\x00" * MAX_VALUE_BYTES, 60)
        got = await other.get("word"), await other.get("long"), await other.get("nothing")
        with anyio.fail_after(5):
            while await other.get("word") is not None:
                await asyncio.sleep(0.01)

    assert got == (b"cat", b"\x00" * MAX_VALUE_BYTES, None)


async def test_what_is_too_long_is_not_kept() -> None:
    async with valkey() as server, remembered(server.url) as memory:
        await memory.put("long", b"x" * (MAX_VALUE_BYTES + 1), 60)

        assert await memory.get("long") is None


async def test_two_jans_on_one_server_know_nothing_of_each_other() -> None:
    async with (
        valkey() as server,
        remembered(server.url) as one,
        remembering(server.url, OTHER_SECRET) as other,
    ):
        await until_used(other)
        await one.put("word", b"cat", 60)

        assert await other.get("word") is None
        assert all(key.startswith("jan:") for key in await server.keys())
        assert len({key.split(":")[1] for key in await server.keys()}) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "{word}", "cat"),
        ("SET", "{word}", ""),
        ("SETRANGE", "{word}", "300000000", "x"),
        ("RPUSH", "{word}", "cat"),
        ("COPY", "{other}", "{word}"),
        ("SETRANGE", "{word}", "20", "x"),
    ],
    ids=["shorter", "empty", "huge", "a list", "another's", "altered"],
)
async def test_what_others_wrote_is_nothing_and_can_be_replaced(command: tuple[str, ...]) -> None:
    async with valkey() as server, remembered(server.url) as memory:
        await memory.put("word", b"cat" * 10, 60)
        await memory.put("other", b"dog" * 10, 60)
        keys = {key.rpartition(":")[2]: key for key in await server.keys()}
        if command[0] != "SETRANGE":
            await server.command("DEL", keys["word"])
        await server.command(*(part.format(**keys) for part in command))

        got = await memory.get("word")
        await memory.put("word", b"mouse", 60)

        assert got is None
        assert await memory.get("word") == b"mouse"


async def test_more_questions_at_once_than_connections_are_all_answered() -> None:
    async with valkey() as server, remembered(server.url) as memory:
        lengths = await asyncio.gather(
            *(memory.run_script(APPEND, ["line"], ["x"]) for _ in range(500))
        )

    assert sorted(lengths) == list(range(1, 501))


@pytest.mark.parametrize("form", ["redis", "redis+cluster"])
async def test_a_question_that_is_given_up_never_leaves_its_answer_to_another(form: str) -> None:
    async with (
        started(form) as server,
        remembered(f"{form}://:{ESCAPED}@{HOST}:{server.port}") as memory,
    ):
        for number in range(20):
            await memory.put(str(number), str(number).encode(), 60)
        wrong: list[object] = []

        async def ask() -> None:
            for _ in range(20):
                number = str(random.randrange(20))
                with anyio.move_on_after(random.uniform(0, 0.002)):
                    got = await memory.get(number)
                    wrong.extend([got] if got != number.encode() else [])

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)

        assert wrong == []
        assert await memory.get("7") == b"7"


async def test_a_server_that_was_not_there_is_used_once_it_is() -> None:
    async with valkey() as server:
        await server.kill()
        with capture_logs() as lines:
            async with remembering(server.url) as memory:
                with pytest.raises(Away):
                    await memory.get("word")
                with anyio.fail_after(5):
                    while not lines:
                        await asyncio.sleep(0.005)
                await server.start()
                await until_used(memory)
                await memory.check()

    assert [line["event"] for line in lines] == ["valkey is not used", "valkey is used"]


async def test_a_server_that_is_killed_under_load_holds_nobody_up_and_is_used_again() -> None:
    took_s: list[float] = []
    answers: set[object] = set()

    async def ask(memory: Memory) -> None:
        while True:
            started_s = time.monotonic()
            try:
                answers.add(await memory.get("word"))
            except Away:
                answers.add(Away)
            took_s.append(time.monotonic() - started_s)
            await asyncio.sleep(0.001)

    with capture_logs() as lines:
        async with valkey() as server, remembered(server.url) as memory:
            await memory.put("word", b"cat", 60)
            tasks = [asyncio.create_task(ask(memory)) for _ in range(20)]
            with anyio.fail_after(5):
                while len(took_s) < 200:
                    await asyncio.sleep(0.01)
            await server.kill()
            with anyio.fail_after(5):
                while Away not in answers:
                    await asyncio.sleep(0.01)
            await server.start()
            await until_used(memory)
            still_there = await memory.get("word")
            for task in tasks:
                task.cancel()
            ended, _ = await asyncio.wait(tasks)

    assert answers <= {b"cat", Away, None}  # what was in its memory is gone
    assert still_there is None
    assert all(task.cancelled() for task in ended)
    assert max(took_s) < TIMEOUT_S + 1
    assert [line["event"] for line in lines] == [
        "valkey is used",
        "valkey is not used",
        "valkey is used",
    ]


async def test_a_server_that_hangs_is_waited_for_once_and_for_a_moment() -> None:
    async with valkey() as server, remembered(server.url) as memory:
        server.signal(signal.SIGSTOP)
        try:
            started_s = time.monotonic()
            first = await asyncio.gather(
                *(memory.get("word") for _ in range(100)), return_exceptions=True
            )
            first_s = time.monotonic() - started_s
            second = await asyncio.gather(
                *(memory.get("word") for _ in range(100)), return_exceptions=True
            )
            second_s = time.monotonic() - started_s - first_s
        finally:
            server.signal(signal.SIGCONT)
        await until_used(memory)

    assert {type(answer) for answer in first + second} == {Away}
    assert TIMEOUT_S <= first_s < TIMEOUT_S + 1
    assert second_s < TIMEOUT_S


async def test_a_connection_that_the_server_closed_costs_nobody_an_answer() -> None:
    async with valkey() as server, remembered(server.url) as memory:
        await asyncio.gather(*(memory.put(str(number), b"x", 60) for number in range(10)))
        for _ in range(3):
            await server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert await memory.get("7") == b"x"


@pytest.mark.parametrize("login", ["", ":wrong@", f"nobody:{ESCAPED}@"])
async def test_who_is_not_let_in_goes_on_without(login: str) -> None:
    async with valkey() as server:
        reason = await reason_for_not_using(f"redis://{login}{HOST}:{server.port}")

    assert "uthentication" in reason


@pytest.mark.parametrize("form", ["redis", "redis+cluster"])
async def test_a_role_with_the_rights_that_are_documented_is_enough(form: str) -> None:
    said = re.search("^ACL SETUSER jan .*", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert said
    async with started(form) as server:
        await server.command(*said.group().split())
        async with remembered(f"{form}://jan:secret@{HOST}:{server.port}") as memory:
            await memory.put("word", b"cat", 60)
            got = await memory.get("word")
            await memory.run_script(Script("return redis.call('TIME')"), ["word"], [])
            await memory.check()

    assert got == b"cat"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("REPLICAOF", HOST, "1"), "ReadOnly"),
        (("CONFIG", "SET", "maxmemory", "1"), "OutOfMemory"),
    ],
)
async def test_a_server_that_takes_nothing_is_not_used(
    command: tuple[str, ...], words: str
) -> None:
    async with valkey() as server:
        await server.command(*command)

        assert words in await reason_for_not_using(server.url)


async def test_the_server_may_be_on_a_socket_and_have_numbered_databases() -> None:
    async with valkey() as server:
        url = f"unix://:{ESCAPED}@{server.socket}?db=3"
        async with remembered(url) as memory, remembered(f"{server.url}/4") as elsewhere:
            await memory.put("word", b"cat", 60)
            got = await memory.get("word"), await elsewhere.get("word")

    assert got == (b"cat", None)


async def test_a_cluster_is_used_whole_and_its_loss_is_borne() -> None:
    async with cluster() as servers:
        hosts = ",".join(f"{HOST}:{server.port}" for server in servers)
        async with remembered(f"redis+cluster://:{ESCAPED}@{hosts}") as memory:
            names = [f"word {number}" for number in range(30)]
            for name in names:
                await memory.put(name, name.encode(), 60)
            got = [await memory.get(name) for name in names]
            shares = [len(await server.keys("*word*")) for server in servers]
            await servers[0].kill()
            outcomes = await asyncio.gather(
                *(memory.get(name) for name in names), return_exceptions=True
            )
            await servers[0].start()
            await until_used(memory)

    assert got == [name.encode() for name in names]
    assert all(shares)
    assert sum(shares) == len(names)
    assert any(isinstance(outcome, Away) for outcome in outcomes)
    assert all(isinstance(outcome, bytes | Away) for outcome in outcomes)


@asynccontextmanager
async def over_tls(port: int, context: ssl.SSLContext) -> AsyncGenerator[int]:
    """Stand before a server that speaks no TLS. The value is the port."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(HOST, port)
        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    tls_port = free_port()
    listener = await asyncio.start_server(serve, HOST, tls_port, ssl=context)
    try:
        yield tls_port
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.fixture
async def server() -> AsyncGenerator[ValkeyServer]:
    async with valkey() as started:
        yield started


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_a_server_is_believed_that_our_authority_vouches_for(
    server: ValkeyServer, tmp_path: Path, scheme: str
) -> None:
    certificate = make_certificate(tmp_path)
    async with over_tls(server.port, certificate.serving) as port:
        place = f"{scheme}://:{ESCAPED}@{HOST}:{port}"
        async with remembered(f"{place}?ssl_ca_certs={certificate.path}") as memory:
            await memory.put("word", b"cat", 60)
            assert await memory.get("word") == b"cat"

        assert "CERTIFICATE_VERIFY_FAILED" in await reason_for_not_using(place)
        missing = await reason_for_not_using(f"{place}?ssl_ca_certs={tmp_path}/none.pem")
        assert "FileNotFoundError" in missing


async def test_a_certificate_has_to_name_the_host_unless_that_is_not_asked(
    server: ValkeyServer, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path, "valkey.test")
    async with over_tls(server.port, certificate.serving) as port:
        place = f"rediss://:{ESCAPED}@{HOST}:{port}?ssl_ca_certs={certificate.path}"
        assert "IP address mismatch" in await reason_for_not_using(place)

        async with remembered(f"{place}&ssl_check_hostname=false") as memory:
            await memory.check()


async def test_a_certificate_may_be_left_unverified(server: ValkeyServer, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "valkey.test")
    async with over_tls(server.port, certificate.serving) as port:
        url = f"rediss://:{ESCAPED}@{HOST}:{port}?ssl_cert_reqs=none"
        async with remembered(url) as memory:
            await memory.check()


async def test_a_server_may_want_a_certificate_of_us(server: ValkeyServer, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    serving = certificate.serving
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_verify_locations(certificate.path)
    async with over_tls(server.port, serving) as port:
        place = f"rediss://:{ESCAPED}@{HOST}:{port}?ssl_ca_certs={certificate.path}"
        assert await reason_for_not_using(place)

        async with remembered(f"{place}&ssl_certfile={certificate.path}") as memory:
            await memory.check()


async def test_a_cluster_may_speak_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with (
        cluster(1) as (server,),
        over_tls(server.port, certificate.serving) as port,
    ):
        await server.command("CONFIG", "SET", "cluster-announce-port", str(port))
        url = f"rediss+cluster://:{ESCAPED}@{HOST}:{port}?ssl_ca_certs={certificate.path}"
        async with remembered(url) as memory:
            await memory.put("word", b"cat", 60)
            assert await memory.get("word") == b"cat"


async def test_it_is_looked_for_again_and_again_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_module, "PAUSE_S", 0.001)
    monkeypatch.setattr(memory_module, "MAX_PAUSE_S", 0.002)
    looks = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal looks
        looks += 1
        writer.close()

    listener = await asyncio.start_server(refuse, HOST, 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with capture_logs() as lines:
            async with remembering(f"redis://{HOST}:{port}"):
                with anyio.fail_after(5):
                    while looks < 10:
                        await asyncio.sleep(0.005)

    assert [line["event"] for line in lines] == ["valkey is not used"]
