"""The tokens of every request are counted, and what was added for it is hidden."""

import httpx
import pytest

from tests.fakes import (
    DONE,
    MODEL,
    FakeUpstream,
    Reply,
    Seen,
    chat_events,
    usage_chunk,
)
from tests.gateways import CALLER, Gateway, until

PATH = "/v1/chat/completions"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
MESSAGE = {"model": MODEL, "max_tokens": 5, "messages": CHAT["messages"]}


async def test_usage_is_asked_for_and_hidden_again(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    answer = await client.post(PATH, json=STREAM)

    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
    assert answer.content == b"".join(chat_events("Hello", " there", "!", usage=False))
    await until(lambda: gateway.rows)
    row = gateway.rows[0]
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 3, 4)
    assert row.time_to_first_token_ms is not None
    assert (row.status, row.model, row.caller, row.is_stream) == (200, MODEL, CALLER, True)


async def test_usage_is_asked_for_where_only_the_standard_library_can_read_the_body(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    body = b'{"model":"%b","stream":true,"user":"\\ud800","stream_options":{"mine":1}}'
    answer = await client.post(PATH, content=body % MODEL.encode())

    assert answer.status_code == 200
    sent = upstream.requests[0].json
    assert sent["stream_options"] == {"mine": 1, "include_usage": True}
    assert sent["user"] == "\ud800"


async def test_text_that_is_none_passes_as_it_is(
    client: httpx.AsyncClient, upstream: FakeUpstream, gateway: Gateway
) -> None:
    cut_off = b'data: {"choices":[{"delta":{"content":"\xe2\x82"}}],"usage":{}}\n\n'

    async def as_some_do(_: Seen, reply: Reply) -> None:
        await reply.events([cut_off, usage_chunk(), DONE])

    upstream.script(PATH, as_some_do)
    answer = await client.post(PATH, json=STREAM)

    assert answer.content == cut_off + DONE
    await until(lambda: gateway.rows)
    assert gateway.rows[0].completion_tokens == 3


async def test_null_usage_that_only_we_asked_for_is_taken_out(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    plain = b'data: {"choices":[{"delta":{"content":"a,\\"usage\\":null"}}]%b}\n\n'

    async def as_openai_does(_: Seen, reply: Reply) -> None:
        await reply.events([plain % b',"usage":null', usage_chunk(), DONE])

    upstream.script(PATH, as_openai_does)
    hidden = await client.post(PATH, json=STREAM)
    asked = await client.post(PATH, json=STREAM | {"stream_options": {"include_usage": True}})

    assert hidden.content == plain % b"" + DONE
    assert asked.content == plain % b',"usage":null' + usage_chunk() + DONE


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        (PATH, CHAT, (11, 3, 4)),
        ("/v1/completions", {"model": MODEL, "prompt": "hi"}, (11, 3, 4)),
        ("/v1/completions", {"model": MODEL, "prompt": "hi", "stream": True}, (11, 3, 4)),
        ("/v1/embeddings", {"model": MODEL, "input": "hi"}, (5, 0, 0)),
        ("/v1/messages", MESSAGE, (11, 3, 4)),
        ("/v1/messages", MESSAGE | {"stream": True}, (11, 3, 4)),
        ("/v1/messages/count_tokens", MESSAGE, (0, 0, 0)),
    ],
)
async def test_every_endpoint_leaves_one_row_with_its_tokens(
    client: httpx.AsyncClient,
    gateway: Gateway,
    path: str,
    body: dict[str, object],
    tokens: tuple[int, int, int],
) -> None:
    answer = await client.post(path, json=body)

    assert answer.status_code == 200
    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == tokens
    assert row.request_id == answer.headers["x-request-id"]
    assert row.response_bytes == len(answer.content)
    assert row.path == path
