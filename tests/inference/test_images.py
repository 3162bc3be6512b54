"""Images that requests name by URL never reach the model server as URLs."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from jan.inference.images import MARKS, MAX_IMAGES
from tests.fakes import FakeUpstream, Reply, Seen
from tests.gateways import KEY, Gateway, running_gateway, until
from tests.net.sites import Names, Site, guard, running_site

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ENCODED = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{ENCODED}"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A site with an image, called `site.test`. What it says of the image's type is wrong."""
    async with running_site() as site:
        site.page("/a.png", PNG, "application/octet-stream")
        yield site


@pytest.fixture
async def gateway(upstream: FakeUpstream, site: Site) -> AsyncIterator[Gateway]:
    """A gateway that may fetch from there."""
    names = Names()
    names.say("site.test", ["127.0.0.1"])
    names.say("inside.test", ["127.0.0.2"])
    async with (
        guard(site.port, names=names) as outbound,
        running_gateway(upstream.url, guard=outbound) as gateway,
    ):
        await until(lambda: gateway.catalog.is_ready)
        yield gateway


def chat(*parts: Any, **more: Any) -> dict[str, Any]:
    """A request with one message of these parts."""
    said = [{"type": "text", "text": "What is this?"}, *parts]
    return {"model": "fake/model-1", "messages": [{"role": "user", "content": said}], **more}


def image(url: str) -> dict[str, Any]:
    """A part that names an image."""
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


async def test_a_chat_reaches_the_model_server_with_its_images(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site
) -> None:
    url = f"{site.named('site.test')}/a.png"
    body = chat(image(url), image(DATA_URL), image(url), seed=10**30, top_p=1.0)

    answer = await client.post("/v1/chat/completions", json=body)

    assert answer.status_code == 200
    sent = upstream.requests[0].json
    assert sent == chat(image(DATA_URL), image(DATA_URL), image(DATA_URL), seed=10**30, top_p=1.0)
    assert len(site.requests) == 1
    assert "authorization" not in site.requests[0].headers


async def test_a_stream_does_too(gateway: Gateway, upstream: FakeUpstream, site: Site) -> None:
    body = chat(image(f"{site.named('site.test')}/a.png"))
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)

    async with client, await client.chat.completions.create(**body, stream=True) as stream:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "Hello there!"
    sent = upstream.requests[0].json
    assert sent["messages"] == chat(image(DATA_URL))["messages"]
    assert sent["stream_options"] == {"include_usage": True}


async def test_vllms_shorter_way_of_naming_an_image(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site
) -> None:
    url = f"{site.named('site.test')}/a.png"

    await client.post("/v1/chat/completions", json=chat({"image_url": url}))

    assert upstream.requests[0].json == chat({"image_url": DATA_URL})


async def test_a_response_reaches_the_model_server_with_its_images(
    gateway: Gateway, upstream: FakeUpstream, site: Site
) -> None:
    part = {"type": "input_image", "image_url": f"{site.named('site.test')}/a.png"}
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)

    async with client:
        await client.responses.create(
            model="fake/model-1",
            store=False,
            input=[{"role": "user", "content": [{"type": "input_text", "text": "?"}, part]}],  # pyright: ignore[reportArgumentType] - a part
        )

    content = upstream.requests[0].json["messages"][0]["content"]
    assert content[1]["image_url"]["url"] == DATA_URL


async def test_anthropics_messages_do_too_even_within_results_of_tools(
    gateway: Gateway, upstream: FakeUpstream, site: Site
) -> None:
    url = f"{site.named('site.test')}/a.png"
    named: Any = {"type": "image", "source": {"type": "url", "url": url}}
    result: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [named]}
    client = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0)

    async with client:
        await client.messages.create(
            model="fake/model-1",
            max_tokens=9,
            messages=[{"role": "user", "content": [named, result]}],
        )

    content = upstream.requests[0].json["messages"][0]["content"]
    inlined = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": ENCODED},
    }
    assert content == [inlined, result | {"content": [inlined]}]


async def test_what_only_looks_like_an_image_is_left_alone(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site
) -> None:
    """Arguments of a tool, a schema, a text: none of them is looked at by the model server."""
    url = f"{site.named('site.test')}/a.png"
    use = {"type": "tool_use", "id": "t", "name": "n", "input": {"image_url": {"url": url}}}
    text = {"type": "text", "text": json.dumps(image(url))}
    body = chat(use, text, tools=[{"input_schema": {"image_url": url}, "type": "image"}])
    written = json.dumps(body, indent=3).encode()

    await client.post("/v1/messages", content=written)

    assert upstream.requests[0].body == written
    assert site.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "fake/model-1", "messages": [{"role":"user","content":"hi _url\\""}]}',
        b'{"model": "fake/model-1", "messages": "image_url\\": _url"}',
        b'{"model": "fake/model-1", "a_url": 1, "messages": 5}',
        b'{"model": "fake/model-1", "a_url": 1, "messages": [1, [{}], null, {"content": [1]}]}',
        b'{"model": "fake/model-1", "a_url": 1}',
        b'{"model":"fake/model-1","messages":[{"content":[{"image_url":null},{"image_url":7}]}]}',
    ],
)
async def test_requests_that_name_no_image_go_on_as_they_came(
    client: httpx.AsyncClient, upstream: FakeUpstream, body: bytes
) -> None:
    await client.post("/v1/chat/completions", content=body)

    assert upstream.requests[0].body == body


async def test_json_that_only_the_standard_library_reads(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site
) -> None:
    body = chat(image(f"{site.named('site.test')}/a.png"), {"type": "text", "text": "\ud83d"})

    await client.post("/v1/chat/completions", content=json.dumps(body).encode())

    assert upstream.requests[0].json == chat(image(DATA_URL), {"type": "text", "text": "\ud83d"})


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "url_refused"),
        ("http://inside.test:{port}/", "url_refused"),
        ("http://127.0.0.2:{port}/", "url_refused"),
        ("file:///etc/passwd", "url_refused"),
        (" http://site.test:{port}/a.png", "url_refused"),
        ("HTTP://user:password@site.test:{port}/a.png", "url_refused"),
        (ENCODED, "url_refused"),
        ("http://site.test:{port}/inside", "url_refused"),
        ("http://nowhere.test:{port}/a.png", "url_not_fetched"),
        ("http://site.test:{port}/", "url_not_fetched"),
        ("http://site.test:{port}/page", "url_not_fetched"),
        ("http://site.test:{port}/svg", "url_not_fetched"),
        ("http://site.test:{port}/missing", "url_not_fetched"),
        ("http://site.test:{port}/huge", "url_not_fetched"),
        ("", "url_refused"),
    ],
)
async def test_an_image_that_can_not_be_had_refuses_the_request(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site, url: str, code: str
) -> None:
    async def fail(_: Seen, reply: Reply) -> None:
        await reply.whole(b"", 404)

    site.redirect("/inside", f"http://127.0.0.2:{site.port}/")
    site.page("/page", b"<html></html>", "image/png")
    site.page("/svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")
    site.page("/huge", PNG + bytes(200_000))
    site.script("/missing", fail)

    answer = await client.post(
        "/v1/chat/completions", json=chat(image(DATA_URL), image(url.format(port=site.port)))
    )

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert error["param"] == "messages[0].content[2].image_url.url"
    assert "127.0.0.2" not in error["message"] or "127.0.0.2" in url
    assert upstream.requests == []


async def test_an_image_that_takes_too_long_refuses_the_request(
    upstream: FakeUpstream, site: Site
) -> None:
    async def hang(_: Seen, reply: Reply) -> None:
        await reply.stall()

    site.script("/hangs", hang)
    async with (
        guard(site.port, timeout_s=0.3) as outbound,
        running_gateway(upstream.url, guard=outbound) as gateway,
        gateway.client() as client,
    ):
        await until(lambda: gateway.catalog.is_ready)

        answer = await client.post("/v1/chat/completions", json=chat(image(f"{site.url}/hangs")))

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "url_not_fetched"
    assert upstream.requests == []


async def test_a_response_is_told_that_its_input_is_to_blame(client: httpx.AsyncClient) -> None:
    part = {"type": "input_image", "image_url": "http://169.254.169.254/"}
    body = {"model": "fake/model-1", "store": False, "input": [{"role": "user", "content": [part]}]}

    answer = await client.post("/v1/responses", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "url_refused"
    assert answer.json()["error"]["param"] == "input"


async def test_anthropics_errors_are_anthropics(client: httpx.AsyncClient) -> None:
    named = {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/"}}

    answer = await client.post("/v1/messages", json=chat(named, max_tokens=5))

    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["code"] == "url_refused"


@pytest.mark.parametrize("name", ["video_url", "audio_url"])
async def test_sound_and_videos_are_not_fetched_by_anybody(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site, name: str
) -> None:
    url = f"{site.named('site.test')}/a.png"

    for part in ({"type": name, name: {"url": url}}, {name: url}):
        answer = await client.post("/v1/chat/completions", json=chat(part))
        assert answer.json()["error"]["code"] == "unsupported"
    fine = await client.post("/v1/chat/completions", json=chat({name: {"url": "data:x/y,z"}}))

    assert fine.status_code == 200
    assert len(upstream.requests) == 1
    assert site.requests == []


async def test_images_are_bounded_together(
    client: httpx.AsyncClient, upstream: FakeUpstream, site: Site
) -> None:
    """A request may be a million bytes long here: as much, and no more, is added to it."""
    for number in range(20):
        site.page(f"/{number}", PNG + bytes(60_000))
    urls = [f"{site.named('site.test')}/{number}" for number in range(20)]

    answer = await client.post("/v1/chat/completions", json=chat(*map(image, urls)))

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert upstream.requests == []


async def test_too_many_images_are_not_begun_with(client: httpx.AsyncClient, site: Site) -> None:
    urls = [f"{site.named('site.test')}/a.png?{number}" for number in range(MAX_IMAGES + 1)]

    answer = await client.post("/v1/chat/completions", json=chat(*map(image, urls)))

    assert answer.json()["error"]["code"] == "unsupported"
    assert site.requests == []


async def test_a_client_that_leaves_ends_the_fetching(
    gateway: Gateway, upstream: FakeUpstream, site: Site
) -> None:
    async def hang(_: Seen, reply: Reply) -> None:
        await reply.stall()

    site.script("/hangs", hang)
    body = chat(image(f"{site.named('site.test')}/hangs"))
    async with gateway.client() as client:
        client.timeout = httpx.Timeout(0.1)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/chat/completions", json=body)

    await until(lambda: site.running == 0)
    await until(lambda: gateway.rows)
    assert gateway.rows[0].status == 499
    assert upstream.requests == []


async def test_a_refused_image_does_not_make_the_model_server_doubted(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/chat/completions", json=chat(image("http://10.0.0.1/")))

    assert gateway.catalog.is_ready
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


def test_every_way_of_naming_media_has_a_mark() -> None:
    ways = (
        *(image("http://x/"), {"image_url": "http://x/"}, {"video_url": {"url": "http://x/"}}),
        *({"audio_url": "http://x/"}, {"type": "image", "source": {"type": "url", "url": "x"}}),
    )

    for way in ways:
        for written in (
            json.dumps(way),
            json.dumps(way, indent=1),
            json.dumps(way, separators=(",", ":")),
        ):
            assert any(mark in written.encode() for mark in MARKS)
