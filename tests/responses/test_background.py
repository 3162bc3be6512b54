"""Responses in the background: promised, made by whoever is free, told as they come."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import anyio
import pytest

from jan.db.engine import Database
from jan.keys.schemas import KeyCreate
from tests.conftest import execute, fetch
from tests.fakes import FakeUpstream, Reply, Seen, chat
from tests.gateways import until
from tests.jobs.workers import until_empty
from tests.responses import rules
from tests.responses.backgrounds import (
    CHAT,
    PATH,
    STREAM,
    Replica,
    Replicas,
    Stalling,
    in_turn,
    stored,
    until_status,
    until_stored,
)
from tests.responses.chats import as_event, delta, end, usage
from tests.responses.test_serving import refuses, says
from tests.tenants import new_key

LIMIT_S = 1.0
"""From a cancellation to the model server knowing it."""


def halves() -> Stalling:
    """Script an answer that stops in the middle."""
    return Stalling([delta(content="Hel")], [delta(content="lo"), end(), usage()])


async def dies(_: Seen, reply: Reply) -> None:
    """Die before a word, but not before the head: else the request would be sent once more."""
    await reply.begin_events()
    reply.die()


async def dies_in_the_middle(_: Seen, reply: Reply) -> None:
    """Die after a word, once it may have been written down."""
    await reply.begin_events()
    await reply.chunk(as_event(delta(content="Hel")))
    reply.die()


async def test_a_response_is_promised_at_once_and_made_later(one: Replica) -> None:
    promised = await one.ask(metadata={"a": "b"})

    assert (promised["status"], promised["output"]) == ("queued", [])
    assert await one.get(promised["id"]) == promised
    async with one.working():
        made = await one.ended(promised["id"])
    assert made["status"] == "completed"
    assert made["output"][0]["content"][0]["text"] == "Hello there!"
    assert made["usage"]["total_tokens"] == 14
    rules.validate_response(json.dumps(made).encode())
    changed = {"status", "output", "usage", "completed_at"}
    assert {name for name in made if made[name] != promised[name]} == changed


async def test_the_model_reads_what_was_asked_and_what_came_before(
    one: Replica, upstream: FakeUpstream
) -> None:
    async with one.working():
        first = await one.ended((await one.ask())["id"])
        second = await one.ask(input="and now?", previous_response_id=first["id"], top_k=3)
        await one.ended(second["id"])

    asked = upstream.requests[-1].json
    assert [message["content"] for message in asked["messages"]] == [
        "hi",
        "Hello there!",
        "and now?",
    ]
    assert asked["top_k"] == 3


async def test_its_events_are_told_as_they_are_kept(one: Replica) -> None:
    async with one.working():
        told = await one.stream()

    events = rules.parsed(told)
    answer = rules.check(events)
    assert [event["type"] for event in events[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert answer == await one.get(answer["id"])
    assert told == await stored(answer["id"])


async def test_it_can_be_resumed_after_every_event(one: Replica) -> None:
    async with one.working():
        told = await one.stream()
    response_id = rules.parsed(told)[0]["response"]["id"]
    events = [event + b"\n\n" for event in told[:-2].split(b"\n\n")]

    assert await one.resume(response_id) == told
    for number in range(len(events)):
        rest = await one.resume(response_id, number)
        assert rest == b"".join(events[number + 1 :])


async def test_events_come_while_it_is_made_on_whatever_replica(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    script = halves()
    upstream.script(CHAT, script)
    deaf = await several.new(is_told=False)
    async with one.working():
        response_id = await one.begin()
        await until_stored(response_id, b'"delta":"Hel"')

        following = [
            await replica.follow(response_id, after) for replica in (one, deaf) for after in (0, 3)
        ]
        script.may_go_on.set()
        found = await asyncio.gather(*following)

    told = await stored(response_id)
    events = [event + b"\n\n" for event in told[:-2].split(b"\n\n")]
    assert found == [b"".join(events[after + 1 :]) for after in (0, 3, 0, 3)]
    rules.check(rules.parsed(told))


async def test_a_client_that_leaves_stops_nothing(one: Replica, upstream: FakeUpstream) -> None:
    script = halves()
    upstream.script(CHAT, script)
    async with one.working():
        response_id = await one.begin()
        await until_status(response_id, "in_progress")
        script.may_go_on.set()
        made = await one.ended(response_id)

    assert made["output"][0]["content"][0]["text"] == "Hello"
    assert upstream.aborts_s == []


async def test_silence_is_filled_while_it_waits(several: Replicas) -> None:
    replica = await several.new(heartbeat_s=0.05)
    await until(lambda: replica.gateway.catalog.is_ready)

    async with replica.client.stream("POST", PATH, json=STREAM) as answer:
        with anyio.fail_after(5):
            async for line in answer.aiter_lines():
                if line == ": keep-alive":
                    break


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", "5", "99999999999"])
async def test_what_is_no_number_of_an_event_is_refused(one: Replica, after: str) -> None:
    response_id = await one.begin()

    answer = await one.client.get(f"{PATH}/{response_id}?stream=true&starting_after={after}")

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "starting_after"


async def test_what_was_not_asked_for_as_a_stream_has_none(one: Replica) -> None:
    async with one.working():
        in_background = await one.ended((await one.ask())["id"])
    in_foreground = await one.ask(background=False)

    for response in (in_background, in_foreground):
        answer = await one.client.get(f"{PATH}/{response['id']}?stream=true")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "stream"
    assert await stored(in_background["id"]) == b""


async def test_nobody_else_sees_it_streams_it_or_cancels_it(one: Replica) -> None:
    response_id = await one.begin()

    found = [
        await one.stranger.get(f"{PATH}/{response_id}"),
        await one.stranger.get(f"{PATH}/{response_id}?stream=true"),
        await one.stranger.post(f"{PATH}/{response_id}/cancel"),
        await one.client.post(f"{PATH}/resp_missing/cancel"),
        await one.client.get(f"{PATH}/resp_missing?stream=true"),
    ]

    assert [answer.status_code for answer in found] == [404] * 5
    await until_status(response_id, "queued")


@pytest.mark.parametrize("response_id", ["%00", "x" * 3000, "%FF"])
async def test_no_id_is_a_fault_of_the_server(one: Replica, response_id: str) -> None:
    for method, more in (("POST", "/cancel"), ("GET", "?stream=true")):
        answer = await one.client.request(method, f"{PATH}/{response_id}{more}")
        assert answer.status_code in {400, 404}


async def test_what_waits_is_cancelled_and_never_made(
    one: Replica, database: Database, upstream: FakeUpstream
) -> None:
    response_id = await one.begin()
    following = await one.follow(response_id)

    cancelled = await one.cancel(response_id)
    async with one.working():
        await until_empty(database)

    assert (cancelled["status"], cancelled["output"]) == ("cancelled", [])
    kinds = [event["type"] for event in rules.parsed(await following)]
    assert kinds == ["response.created", "response.queued"]
    assert upstream.requests == []
    rules.validate_response(json.dumps(cancelled).encode())


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_being_made_is_cancelled_and_what_has_come_is_kept(
    several: Replicas, one: Replica, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script(CHAT, halves())
    other = await several.new()
    async with one.working():
        response_id = await one.begin() if stream else (await one.ask())["id"]
        await until_stored(response_id, b'"delta":"Hel"')
        cancelled = await other.cancel(response_id)
        with anyio.fail_after(LIMIT_S):
            while not upstream.aborts_s:
                await asyncio.sleep(0.005)
        again = await one.cancel(response_id)

    assert cancelled["status"] == "cancelled"
    assert cancelled["output"][0]["status"] == "incomplete"
    assert cancelled["output"][0]["content"][0]["text"] == "Hel"
    assert again == cancelled == await one.get(response_id)
    assert [row.status for row in one.usage] == [499]
    if stream:
        events = rules.parsed(await one.resume(response_id))
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.output_item.done"


async def test_what_is_done_is_not_cancelled_any_more(one: Replica) -> None:
    async with one.working():
        made = await one.ended((await one.ask())["id"])

    assert await one.cancel(made["id"]) == made


async def test_what_is_not_in_the_background_can_not_be_cancelled(one: Replica) -> None:
    made = await one.ask(background=False)

    answer = await one.client.post(f"{PATH}/{made['id']}/cancel")

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "Cannot cancel a synchronous response."


async def test_deleting_it_stops_the_model(one: Replica, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, halves())
    async with one.working():
        response_id = await one.begin()
        await until_stored(response_id, b'"delta":"Hel"')
        following = await one.follow(response_id)
        answer = await one.client.delete(f"{PATH}/{response_id}")
        with anyio.fail_after(LIMIT_S):
            while not upstream.aborts_s:
                await asyncio.sleep(0.005)
        await following

    assert answer.status_code == 200
    assert await stored(response_id) == b""


async def test_it_waits_for_a_model_server_that_is_away(
    one: Replica, upstream: FakeUpstream
) -> None:
    await upstream.kill()
    one.gateway.fleet.doubted("ep_1")
    await until(lambda: not one.gateway.catalog.is_ready)

    async with one.working():
        response_id = (await one.ask())["id"]
        await until_status(response_id, "in_progress")
        await upstream.start()
        made = await one.ended(response_id)

    assert made["status"] == "completed"
    assert [row.status for row in one.usage] == [200]


async def test_a_model_server_that_dies_before_a_word_is_asked_again(
    one: Replica, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, in_turn(dies, refuses(500, "busy"), chat))

    async with one.working():
        told = await one.stream()

    assert rules.check(rules.parsed(told))["status"] == "completed"
    assert [row.status for row in one.usage] == [502, 500, 200]
    assert {row.request_id for row in one.usage} == {rules.parsed(told)[0]["response"]["id"]}


async def test_one_that_always_dies_is_given_up(one: Replica, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, dies)

    async with one.working():
        answer = rules.check(rules.parsed(await one.stream()))

    assert (answer["status"], answer["error"]["code"]) == ("failed", "server_error")
    assert len(upstream.requests) == 3


async def test_one_that_dies_in_the_middle_has_failed_with_what_came(
    one: Replica, upstream: FakeUpstream
) -> None:
    upstream.script(CHAT, dies_in_the_middle)

    async with one.working():
        answer = rules.check(rules.parsed(await one.stream()))

    assert answer["status"] == "failed"
    assert answer["output"][0]["content"][0]["text"] == "Hel"
    assert answer == await one.get(answer["id"])
    assert len(upstream.requests) == 1


async def test_a_refusal_is_not_asked_for_again(one: Replica, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, refuses(400, "`top_k` is odd."))

    async with one.working():
        answer = rules.check(rules.parsed(await one.stream()))

    assert answer["error"] == {"code": "invalid_prompt", "message": "`top_k` is odd."}
    assert len(upstream.requests) == 1


async def test_one_that_takes_too_long_has_failed(one: Replica, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, halves())
    one.background.timeout_s = 0.3

    async with one.working():
        answer = rules.check(rules.parsed(await one.stream()))

    assert answer["error"]["message"] == "The response was not complete after 0.3 seconds."
    assert answer["output"][0]["content"][0]["text"] == "Hel"
    await until(lambda: upstream.aborts_s)


async def test_what_ran_out_of_tokens_is_incomplete(one: Replica, upstream: FakeUpstream) -> None:
    upstream.script(CHAT, says(delta(content="Hel"), end("length"), usage()))

    async with one.working():
        answer = rules.check(rules.parsed(await one.stream()))

    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_each_request_to_the_model_server_leaves_one_row_of_usage(
    several: Replicas, one: Replica
) -> None:
    async with one.working():
        response_id = (await one.ask())["id"]
        await one.ended(response_id)
        await until(lambda: one.usage)

    (row,) = one.usage
    assert (row.request_id, row.path, row.status) == (response_id, PATH, 200)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 3, 4)
    assert row.caller is not None
    assert row.caller.user_id == several.keys.callers["ann"].user_id
    assert one.gateway.rows == []


async def test_wrong_requests_are_refused_before_anything_is_promised(one: Replica) -> None:
    wrong: list[dict[str, Any]] = [
        {"previous_response_id": "resp_missing"},
        {"model": "other"},
        {"store": False},
        {"input": None},
    ]
    for parameters in wrong:
        answer = await one.client.post(PATH, json=STREAM | parameters)
        assert answer.status_code in {400, 404}, answer.text

    assert await fetch("SELECT id FROM response") == []
    assert await fetch("SELECT id FROM pgqueuer") == []


async def test_what_came_before_may_be_gone_when_it_is_made(one: Replica) -> None:
    first = await one.ask(background=False)
    response_id = (await one.ask(previous_response_id=first["id"]))["id"]
    await one.client.delete(f"{PATH}/{first['id']}")

    async with one.working():
        made = await one.ended(response_id)

    assert made["status"] == "failed"
    assert first["id"] in made["error"]["message"]


async def test_whose_account_was_disabled_has_nothing_made_any_more(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    response_id = (await one.ask())["id"]
    await execute(
        "UPDATE users SET is_enabled = false WHERE id = $1", several.keys.callers["ann"].user_id
    )

    async with one.working():
        made = await one.ended(response_id)

    assert made["status"] == "failed"
    assert "The account is disabled." in made["error"]["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("how", ["revoked", "narrowed", "expired"])
async def test_a_key_must_still_be_good_when_it_is_made(
    several: Replicas, one: Replica, upstream: FakeUpstream, how: str
) -> None:
    """What was asked for before a key ran out is made: that was known from the beginning."""
    ann = several.keys.callers["ann"]
    key = await new_key(ann, KeyCreate(name="ci"))
    several.keys.callers["ann"] = replace(ann, kind="key", key_id=key.id)
    response_id = (await one.ask())["id"]
    change = {
        "revoked": "revoked_at = now()",
        "narrowed": "allowed_models = ARRAY['other']",
        "expired": "expires_at = created_at",
    }
    await execute(f"UPDATE api_key SET {change[how]} WHERE id = $1", key.id)

    async with one.working():
        made = await one.ended(response_id)

    words = {"revoked": "The API key was revoked.", "narrowed": "does not exist"}
    if how == "expired":
        assert made["status"] == "completed"
        assert [row.caller and row.caller.key_id for row in one.usage] == [key.id]
    else:
        assert made["status"] == "failed"
        assert words[how] in made["error"]["message"]
        assert upstream.requests == []


async def test_what_its_owner_leaves_behind_is_not_made(
    several: Replicas, one: Replica, database: Database, upstream: FakeUpstream
) -> None:
    await one.ask()
    await execute("DELETE FROM users WHERE id = $1", several.keys.callers["ann"].user_id)

    async with one.working():
        await until_empty(database)

    assert upstream.requests == []


async def test_two_workers_make_each_response_once(
    several: Replicas, one: Replica, upstream: FakeUpstream
) -> None:
    two = await several.new()
    promised = [(await one.ask())["id"] for _ in range(20)]

    async with one.working(), two.working():
        made = [await one.ended(response_id) for response_id in promised]

    assert {response["status"] for response in made} == {"completed"}
    assert len(upstream.requests) == len(one.usage + two.usage) == 20


async def test_a_conversation_gets_what_was_asked_and_answered(one: Replica) -> None:
    conversation = await one.client.post("/v1/conversations", json={})
    async with one.working():
        response = await one.ask(conversation=conversation.json()["id"])
        await one.ended(response["id"])

    items = await one.client.get(f"/v1/conversations/{conversation.json()['id']}/items?order=asc")
    assert [item["role"] for item in items.json()["data"]] == ["user", "assistant"]
