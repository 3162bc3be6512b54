"""HTTP with a provider that is down, busy, slow, endless, or talks nonsense."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from jan import clock
from jan.errors import InvalidRequest, JanError, Misconfigured, RateLimited, Unavailable
from jan.tools import line as lines
from jan.tools.breaker import MAX_FAILURES
from jan.tools.line import ATTEMPTS, Line
from tests.fakes import FakeUpstream, Reply, Script, Seen
from tests.tools import providers

ANSWER = {"organic": []}


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_REST_S", 0.005)


@pytest.fixture
async def server() -> AsyncIterator[FakeUpstream]:
    fake = await providers.started(search=providers.serper_search)
    yield fake
    await fake.kill()


@pytest.fixture
async def asking(server: FakeUpstream) -> AsyncIterator[Callable[..., Any]]:
    """Ask the server; keyword arguments make another line."""
    made: list[Line] = []

    def line(timeout_s: float = 5, max_answer_bytes: int = 100_000) -> Line:
        new = Line(
            "Serper", timeout_s=timeout_s, max_answer_bytes=max_answer_bytes, not_let_in="Mend it."
        )
        made.append(new)
        return new

    kept = line()

    async def ask(**limits: Any) -> Any:
        asked = line(**limits) if limits else kept
        return await asked.ask("POST", f"{server.url}/search", json={"q": "my-private-question"})

    yield ask
    for each in made:
        await each.aclose()


def in_turn(*scripts: Script) -> Script:
    """Answer with one script after another, and with the last one from then on."""
    left = list(scripts)

    async def script(seen: Seen, reply: Reply) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(seen, reply)

    return script


def saying(status: int, body: Any = None, **headers: str) -> Script:
    async def script(_: Seen, reply: Reply) -> None:
        await reply.json(ANSWER if body is None else body, status, **headers)

    return script


async def dying(_: Seen, reply: Reply) -> None:
    reply.die()


GOOD = saying(200)


@pytest.mark.parametrize("first", [saying(500), saying(502), saying(503), saying(504), dying])
async def test_a_provider_that_stumbles_is_asked_again(
    server: FakeUpstream, asking: Any, first: Script
) -> None:
    server.script("/search", in_turn(first, first, GOOD))

    assert await asking() == ANSWER
    assert len(server.requests) == 3


@pytest.mark.parametrize("always", [saying(500), saying(503), dying])
async def test_a_provider_that_stays_down_is_told_after_a_few_tries(
    server: FakeUpstream, asking: Any, always: Script
) -> None:
    server.script("/search", always)

    with pytest.raises(Unavailable, match="Serper does not answer"):
        await asking()

    assert len(server.requests) == ATTEMPTS


async def test_one_that_is_not_there_is_unavailable(server: FakeUpstream, asking: Any) -> None:
    await server.kill()

    with pytest.raises(Unavailable):
        await asking()


async def test_no_sooner_than_retry_after_is_it_asked_again(
    server: FakeUpstream, asking: Any
) -> None:
    server.script("/search", in_turn(saying(429, retry_after="1"), GOOD))
    began_s = time.monotonic()

    assert await asking() == ANSWER
    assert time.monotonic() - began_s >= 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("60", 60),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("-1", None),
        ("99999999999999999999", 300),
        ("9" * 500, 300),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Foo 2015", None),
    ],
)
async def test_a_provider_that_takes_no_more_is_told_with_its_own_time(
    server: FakeUpstream, asking: Any, value: str, told: int | None
) -> None:
    server.script("/search", saying(429, retry_after=value))

    with pytest.raises(RateLimited) as refusal:
        await asking()

    if told is not None:
        assert refusal.value.retry_after_s == told
        assert len(server.requests) == 1


async def test_retry_after_may_be_a_date(server: FakeUpstream, asking: Any) -> None:
    moment = format_datetime(clock.now() + timedelta(seconds=100), usegmt=True)
    server.script("/search", saying(429, retry_after=moment))

    with pytest.raises(RateLimited) as refusal:
        await asking()

    assert refusal.value.retry_after_s in range(98, 101)


async def test_while_it_takes_no_more_nobody_asks_it(server: FakeUpstream, asking: Any) -> None:
    server.script("/search", saying(429, retry_after="60"))

    for _ in range(10):
        with pytest.raises(RateLimited) as refusal:
            await asking()
        assert refusal.value.retry_after_s in range(58, 61)

    assert len(server.requests) == 1


async def test_a_503_with_a_time_is_left_alone_for_that_time(
    server: FakeUpstream, asking: Any
) -> None:
    server.script("/search", saying(503, retry_after="60"))
    with pytest.raises(Unavailable) as refusal:
        await asking()

    assert refusal.value.retry_after_s == 60
    with pytest.raises(JanError):
        await asking()
    assert len(server.requests) == 1


async def test_what_fails_again_and_again_is_left_alone(server: FakeUpstream, asking: Any) -> None:
    server.script("/search", saying(500))
    for _ in range(MAX_FAILURES):
        with pytest.raises(Unavailable):
            await asking()

    assert len(server.requests) == MAX_FAILURES


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_the_operators_to_mend(
    server: FakeUpstream, asking: Any, status: int
) -> None:
    server.script("/search", saying(status, {"message": "Unauthorized."}))

    for _ in range(2 * MAX_FAILURES):
        with pytest.raises(Misconfigured, match="Mend it"):
            await asking()

    assert len(server.requests) == 2 * MAX_FAILURES  # neither tried again, nor left alone


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "Not enough credits", "statusCode": 400}, "request: Not enough credits."),
        ({"message": "x" * 1000}, "request."),
        ({"message": "a\nb"}, "request."),
        ({"message": {"a": 1}}, "request."),
        ([], "request."),
    ],
)
async def test_a_question_that_is_refused_is_told_with_the_reason(
    server: FakeUpstream, asking: Any, body: Any, words: str
) -> None:
    server.script("/search", saying(400, body))

    with pytest.raises(InvalidRequest) as refusal:
        await asking()

    assert refusal.value.message == f"Serper refused the {words}"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [204, 301, 302, 307, 418])
async def test_redirects_and_what_else_it_may_say_are_not_followed(
    server: FakeUpstream, asking: Any, status: int
) -> None:
    server.script("/search", saying(status, location="http://169.254.169.254/"))

    with pytest.raises(Misconfigured, match=str(status)):
        await asking()

    assert len(server.requests) == 1


async def _no_http(_: Seen, reply: Reply) -> None:
    await reply.raw(b"\0\1\2 nonsense\r\n\r\n")
    reply.close()


async def _broken_off(_: Seen, reply: Reply) -> None:
    await reply.head(200, content_type="application/json")
    await reply.chunk(b'{"organic": [')
    reply.die()


def body(text: bytes, **headers: str) -> Script:
    async def script(_: Seen, reply: Reply) -> None:
        await reply.whole(text, 200, **headers)

    return script


@pytest.mark.parametrize(
    "script",
    [
        body(b"<html>"),
        body(b""),
        body(b"[]"),
        body(b"null"),
        body(b'{"organic": '),
        body(b"[" * 50_000),
        body(b'{"a":' * 20_000),
        body(b'{"a": "\xff\xfe"}'),
        body(b'{"a": 1}', content_encoding="gzip"),
        _no_http,
        _broken_off,
    ],
)
async def test_nonsense_is_told_as_a_provider_that_does_not_answer(
    server: FakeUpstream, asking: Any, script: Script
) -> None:
    server.script("/search", script)

    with pytest.raises(Unavailable):
        await asking()


async def test_an_answer_without_end_is_cut(server: FakeUpstream, asking: Any) -> None:
    sent = 0

    async def endless(_: Seen, reply: Reply) -> None:
        nonlocal sent
        await reply.head(200, content_type="application/json")
        while True:
            await reply.chunk(b" " * 10_000)
            sent += 10_000

    server.script("/search", endless)

    with pytest.raises(Unavailable):
        await asking()

    assert sent < 30_000_000


@pytest.mark.parametrize("is_begun", [False, True])
async def test_one_that_hangs_is_given_up_in_time(
    server: FakeUpstream, asking: Any, is_begun: bool
) -> None:
    async def hang(_: Seen, reply: Reply) -> None:
        if is_begun:
            await reply.head(200, content_type="application/json")
            await reply.chunk(b"{")
        await reply.stall()

    server.script("/search", hang)

    with anyio.fail_after(3), pytest.raises(Unavailable):
        await asking(timeout_s=0.2)

    with anyio.fail_after(3):
        while not server.aborts_s:
            await anyio.sleep(0.005)


async def test_one_that_drips_is_given_up_in_time_too(server: FakeUpstream, asking: Any) -> None:
    async def drip(_: Seen, reply: Reply) -> None:
        await reply.head(200, content_type="application/json")
        while True:
            await reply.chunk(b" ")
            await anyio.sleep(0.01)

    server.script("/search", drip)

    with anyio.fail_after(3), pytest.raises(Unavailable):
        await asking(timeout_s=0.2)


async def test_who_is_cancelled_leaves_the_provider_at_once(
    server: FakeUpstream, asking: Any
) -> None:
    async def hang(_: Seen, reply: Reply) -> None:
        await reply.stall()

    server.script("/search", hang)
    async with anyio.create_task_group() as group:
        group.start_soon(asking)
        with anyio.fail_after(3):
            while not server.running:
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()

    with anyio.fail_after(3):
        while server.running:
            await anyio.sleep(0.005)


@pytest.mark.parametrize("script", [saying(500), saying(403), saying(400), _no_http, dying])
async def test_no_line_of_the_log_tells_what_was_asked(
    server: FakeUpstream, asking: Any, script: Script
) -> None:
    server.script("/search", script)

    with capture_logs() as logged, pytest.raises(JanError):
        await asking()

    assert logged
    assert "my-private" not in str(logged)
