"""What models can do beside chats: sort, score, count tokens, hear. And what they can't."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from jan.auth.cache import Credential
from jan.inference.registry import Capability, Registry, Served
from jan.permissions import Scope
from tests.fakes import MODEL, FakeUpstream, Reply, Script, Seen
from tests.gateways import CALLER, KEY, Gateway, endpoint, running_gateway, until

AUDIO = "/v1/audio/transcriptions"
USAGE = {"prompt_tokens": 7, "total_tokens": 7}
BOUNDARY = "xyz"
KIND = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def says(body: bytes | dict[str, Any], content_type: str = "application/json") -> Script:
    """Answer with something."""

    async def script(_: Seen, reply: Reply) -> None:
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        await reply.whole(said, content_type=content_type)

    return script


def form(*parts: tuple[str, bytes], end: str = "--") -> bytes:
    """Write a form: of each part the header's parameters, and the content."""
    said = b"".join(
        f"--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n"
        for head, body in parts
    )
    return said + f"--{BOUNDARY}{end}\r\n".encode()


NAMED = ('name="model"', MODEL.encode())
FILE = ('name="file"; filename="a.wav"', bytes(range(256)) * 40)


@pytest.mark.parametrize(
    ("path", "theirs", "body"),
    [
        ("/v1/rerank", "/v1/rerank", {"query": "q", "documents": ["a", "b"]}),
        ("/v1/score", "/v1/score", {"text_1": "a", "text_2": ["b"]}),
        ("/v1/tokenize", "/tokenize", {"prompt": "hi"}),
        ("/v1/detokenize", "/detokenize", {"tokens": [1, 2]}),
    ],
)
async def test_it_is_relayed_and_counted(
    gateway: Gateway, upstream: FakeUpstream, path: str, theirs: str, body: dict[str, Any]
) -> None:
    upstream.script(theirs, says({"results": [1], "usage": USAGE}))

    async with gateway.client() as client:
        answer = await client.post(path, json={"model": MODEL} | body)

    assert answer.json() == {"results": [1], "usage": USAGE}
    assert answer.headers["x-queue-time"] == "0"
    assert upstream.requests[-1].json == {"model": MODEL} | body
    await until(lambda: gateway.rows)
    [row] = gateway.rows
    assert (row.path, row.prompt_tokens, row.endpoint_id) == (path, 7, "ep_1")


async def test_another_jan_is_asked_under_its_own_path(upstream: FakeUpstream) -> None:
    upstream.script("/v1/tokenize", says({"count": 1}))
    registry = Registry([endpoint(upstream.url, kind="jan")])
    async with running_gateway(upstream.url, registry=registry) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            answer = await client.post("/v1/tokenize", json={"model": MODEL, "prompt": "hi"})

    assert answer.json() == {"count": 1}


@pytest.fixture
async def sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client."""
    async with openai.AsyncOpenAI(
        api_key=KEY, base_url=f"{gateway.url}/v1", max_retries=0, timeout=5
    ) as sdk:
        yield sdk


async def test_speech_is_heard(
    sdk: openai.AsyncOpenAI, gateway: Gateway, upstream: FakeUpstream
) -> None:
    usage = {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    upstream.script(AUDIO, says({"text": "hello", "usage": usage}))

    heard = await sdk.audio.transcriptions.create(model=MODEL, file=("a.wav", FILE[1]))

    assert heard.text == "hello"
    seen = upstream.requests[-1]
    assert seen.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert FILE[1] in seen.body
    await until(lambda: gateway.rows)
    assert (gateway.rows[0].prompt_tokens, gateway.rows[0].completion_tokens) == (5, 2)


async def test_seconds_are_no_tokens(
    sdk: openai.AsyncOpenAI, gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script(AUDIO, says({"text": "hi", "usage": {"type": "duration", "seconds": 9}}))

    await sdk.audio.transcriptions.create(model=MODEL, file=("a.wav", FILE[1]))

    await until(lambda: gateway.rows)
    assert (gateway.rows[0].status, gateway.rows[0].prompt_tokens) == (200, 0)


async def test_text_is_passed_on_as_it_is(
    client: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.script(AUDIO, says(b"1\n00:00 --> 00:01\nhi\n", "text/plain; charset=utf-8"))

    answer = await client.post(AUDIO, content=form(FILE, NAMED), headers=KIND)

    assert answer.text == "1\n00:00 --> 00:01\nhi\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert upstream.requests[-1].body == form(FILE, NAMED)


async def test_a_streamed_transcription(sdk: openai.AsyncOpenAI, upstream: FakeUpstream) -> None:
    async def script(_: Seen, reply: Reply) -> None:
        deltas = [b'data: {"type":"transcript.text.delta","delta":"hi"}\n\n', b"data: [DONE]\n\n"]
        await reply.events(deltas)

    upstream.script(AUDIO, script)
    stream = await sdk.audio.transcriptions.create(
        model=MODEL, file=("a.wav", FILE[1]), stream=True
    )

    assert [event.type async for event in stream] == ["transcript.text.delta"]


async def test_only_the_model_s_field_is_written_anew(upstream: FakeUpstream) -> None:
    upstream.script(AUDIO, says({"text": "hi"}))
    registry = Registry([endpoint(upstream.url)], aliases={"ears": MODEL})
    async with running_gateway(upstream.url, registry=registry) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            named = ('name="model"', b"ears")
            file = ('name="file"; filename="ears"', b'ears\r\nname="model"\r\n\r\nears')
            answer = await client.post(AUDIO, content=form(file, named), headers=KIND)

    assert answer.status_code == 200
    assert upstream.requests[-1].body == form(file, NAMED)


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (form(FILE), KIND, "provide the parameter `model`"),
        (form(NAMED, NAMED), KIND, "`model`: it is given twice"),
        (form(('name="model"', b"")), KIND, "empty or too long"),
        (form(('name="model"', b"m" * 2000)), KIND, "empty or too long"),
        (form(('name="model"', b"\xff")), KIND, "no text"),
        (form(('name="model"; filename="m"', MODEL.encode())), KIND, "can't be a file"),
        (form(NAMED, ('name="model"; filename=""', b"other")), KIND, "can't be a file"),
        (
            form(('name="x"\r\nContent-Disposition: form-data; name="model"', b"m"), NAMED),
            KIND,
            "two names",
        ),
        (
            form(NAMED, ('name="+AG0-odel"', b"other")),
            {"content-type": f"{KIND['content-type']}; charset=utf-7"},
            "UTF-8",
        ),
        (form(*[('name="x"', b"1")] * 101), KIND, "100 fields at most"),
        (form(NAMED, end="")[:-2], KIND, "can't be read|provide"),
        (form((f'name="{"x" * 9000}"', b"1"), NAMED), KIND, "can't be read"),
        (b"", KIND, "can't be read|provide"),
        (b"garbage", KIND, "can't be read"),
        (form(NAMED), {"content-type": "multipart/form-data"}, "must be a form"),
        (form(NAMED), {"content-type": "application/json"}, "must be a form"),
        (form(NAMED), {"content-type": f"multipart/form-data; boundary={'b' * 999}"}, "form"),
        (form(NAMED), {}, "must be a form"),
    ],
)
async def test_forms_that_are_none(
    client: httpx.AsyncClient,
    upstream: FakeUpstream,
    body: bytes,
    headers: dict[str, str],
    words: str,
) -> None:
    answer = await client.post(AUDIO, content=body, headers=headers)

    assert answer.status_code == 400, answer.text
    assert any(word in answer.json()["error"]["message"] for word in words.split("|")), answer.text
    assert not upstream.requests


async def test_a_quoted_boundary_is_one(client: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    upstream.script(AUDIO, says({"text": "hi"}))
    quoted = {"content-type": f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'}

    assert (await client.post(AUDIO, content=form(FILE, NAMED), headers=quoted)).status_code == 200


async def test_a_form_that_is_too_long(upstream: FakeUpstream) -> None:
    async with running_gateway(upstream.url, max_body_bytes=5000) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            answer = await client.post(AUDIO, content=form(FILE, NAMED), headers=KIND)

    assert answer.status_code == 413


class Narrow:
    """Knows a key that may do little."""

    def known(self, credential: Credential) -> Any:  # noqa: ARG002 - as the Protocol has it
        """Tell who holds it."""
        return replace(CALLER, scopes=frozenset({Scope.MODELS_READ}))

    async def resolve(self, credential: Credential) -> Any:
        """The same."""
        return self.known(credential)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/score", "/v1/tokenize", AUDIO])
async def test_a_key_without_the_scope_is_refused(upstream: FakeUpstream, path: str) -> None:
    async with (
        running_gateway(upstream.url, credentials=Narrow()) as gateway,
        gateway.client() as client,
    ):
        answer = await client.post(path, json={"model": MODEL})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("able", "path", "status"),
    [
        (("embeddings", "score"), "/v1/chat/completions", 400),
        (("embeddings", "score"), "/v1/messages", 400),
        (("embeddings", "score"), "/v1/embeddings", 200),
        (("chat",), "/v1/embeddings", 400),
        ((), "/v1/rerank", 400),
        (None, "/v1/embeddings", 200),
    ],
)
async def test_what_a_model_is_known_not_to_do_is_not_asked_of_it(
    upstream: FakeUpstream, able: tuple[Capability, ...] | None, path: str, status: int
) -> None:
    served = (Served(MODEL, capabilities=able),)
    registry = Registry([endpoint(upstream.url, served=served)])
    async with running_gateway(upstream.url, registry=registry) as gateway:
        await until(lambda: gateway.catalog.is_ready)
        async with gateway.client() as client:
            ask = {"model": MODEL, "input": "x", "messages": [], "max_tokens": 1}
            answer = await client.post(path, json=ask)
            listed = (await client.get("/v1/models")).json()["data"][0]

    assert answer.status_code == status, answer.text
    if status == 400:
        assert "can't do this" in answer.text
    assert listed.get("capabilities") == (None if able is None else list(able))
