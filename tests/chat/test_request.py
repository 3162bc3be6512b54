"""Requests that Jan itself refuses."""

import httpx
import pytest

from tests.fakes import (
    MODEL,
    FakeUpstream,
)
from tests.gateways import Gateway, running_gateway, until

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
MESSAGE = {"model": MODEL, "max_tokens": 5, "messages": CHAT["messages"]}


@pytest.mark.parametrize(
    ("body", "expected", "word"),
    [
        (b"", ("invalid_json", None), "line 1"),
        (b'{"model": "a",\n "x": }', ("invalid_json", None), "line 2, column 7"),
        (b'{"model": "\xff\xfe"}', ("invalid_json", None), "byte 11"),
        (b"[]", ("invalid_request", None), "object"),
        (b"{}", ("invalid_request", "model"), "model"),
        (b'{"model": 1}', ("invalid_request", "model"), "expected `str`"),
        (b'{"model": "a", "stream": "yes"}', ("invalid_request", "stream"), "bool"),
        (
            b'{"model":"fake/model-1","stream":true,"stream_options":{"include_usage":"no"}}',
            ("invalid_request", "stream_options.include_usage"),
            "bool",
        ),
        (
            b'{"model":"fake/model-1","stream":true,"stream_options":{"\xff":1}}',
            ("invalid_json", None),
            "UTF-8",
        ),
        (b'{"model":"a","x":' + b"[" * 9999 + b"]" * 9999 + b"}", ("invalid_json", None), "deep"),
    ],
)
async def test_a_body_that_cant_be_read_is_refused_by_name_and_place(
    client: httpx.AsyncClient,
    gateway: Gateway,
    body: bytes,
    expected: tuple[str, str | None],
    word: str,
) -> None:
    answer = await client.post(PATH, content=body)

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["param"]) == expected
    assert word in error["message"]
    await until(lambda: gateway.rows)
    assert [(row.status, row.error_code) for row in gateway.rows] == [(400, expected[0])]


@pytest.mark.parametrize("name", [b"other", b"\\ud800"])
async def test_an_unknown_model_is_not_found(
    client: httpx.AsyncClient, upstream: FakeUpstream, name: bytes
) -> None:
    answer = await client.post(PATH, content=b'{"model": "%b"}' % name)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "model_not_found")
    assert error["param"] == "model"
    assert not upstream.requests


@pytest.mark.parametrize("says_length", [True, False])
async def test_a_body_over_the_limit_is_refused(upstream: FakeUpstream, says_length: bool) -> None:
    async def pieces() -> object:
        for _ in range(20):
            yield b"x" * 100

    async with (
        running_gateway(upstream.url, max_body_bytes=1024) as gateway,
        gateway.client() as client,
    ):
        content = b"x" * 2000 if says_length else pieces()
        answer = await client.post(PATH, content=content)  # pyright: ignore[reportArgumentType] - an async generator

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    [row] = gateway.rows
    assert row.status == 413
    assert row.request_bytes == 2000 if says_length else row.request_bytes > 1024
