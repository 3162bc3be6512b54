"""Responses that are stored: what the client is told and what is kept are one, whatever happens."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from jan.caller import Caller
from jan.conversations import record
from jan.db.engine import PICCOLO, Database
from jan.errors import DatabaseUnavailable
from jan.responses import keeping
from tests.conftest import execute, fetch, locking, until_blocked
from tests.conversations.owners import new_conversation, texts
from tests.fakes import MODEL, Reply, Script, Seen
from tests.fakes import chat as answers
from tests.gateways import until
from tests.responses import rules
from tests.responses.chats import as_event, as_events, call, delta, end, usage
from tests.responses.stored import PATH, Served, outputs_of, rows

CHAT = "/v1/chat/completions"


def begins_and_stalls(*chunks: dict[str, Any]) -> Script:
    """Script a stream that does not come to its end."""

    async def script(seen: Seen, reply: Reply) -> None:
        if seen.json.get("stream"):
            await reply.begin_events()
            for chunk in chunks:
                await reply.chunk(as_event(chunk))
        await reply.stall()

    return script


def does_first(act: Callable[[], Any]) -> Script:
    """Script an answer before which something else happens."""

    async def script(seen: Seen, reply: Reply) -> None:
        await act()
        await answers(seen, reply)

    return script


async def until_ended() -> dict[str, Any]:
    """Wait for the one response to end."""
    async with asyncio.timeout(5):
        while True:
            found = await rows()
            if found and found[0]["ended_at"] is not None:
                return found[0]
            await asyncio.sleep(0.005)


async def test_a_whole_response_is_stored_to_the_letter(served: Served) -> None:
    answer = await served.post(metadata={"a": "b"}, instructions="Be brief.")

    kept = await served.client.get(f"{PATH}/{answer.json()['id']}?include[]=reasoning")
    assert kept.headers["content-type"] == "application/json"
    assert kept.content == answer.content
    rules.validate_response(kept.content)
    assert answer.json()["store"] is True


async def test_a_streamed_response_is_stored_to_the_letter(served: Served) -> None:
    chunks = (delta(reasoning="hm"), delta(content="é"), call(0, '{"b":1,"a":2}', "f"))

    async def script(_: Seen, reply: Reply) -> None:
        await reply.events(as_events(*chunks, end("tool_calls"), usage()))

    served.upstream.script(CHAT, script)
    answer = await served.post(stream=True)

    told = rules.check(rules.parsed(answer.content))
    kept = await served.client.get(f"{PATH}/{told['id']}")
    assert kept.json() == told
    assert b'"response":%b}' % kept.content in answer.content.splitlines()[-2]


async def test_a_response_is_stored_before_the_model_is_asked(served: Served) -> None:
    seen: list[dict[str, Any]] = []

    async def look() -> None:
        seen.extend(await rows())

    served.upstream.script(CHAT, does_first(look))
    told = await served.ask()

    assert [(row["id"], row["status"]) for row in seen] == [(told["id"], "in_progress")]


async def test_a_response_can_be_read_while_it_is_made(served: Served) -> None:
    served.upstream.script(CHAT, begins_and_stalls(delta(content="a")))
    body = {"model": MODEL, "input": "hi", "stream": True}
    async with served.client.stream("POST", PATH, json=body) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        told = json.loads((await anext(lines)).removeprefix("data: "))["response"]
        kept = await served.get(told["id"])

    assert kept == told
    assert kept["status"] == "in_progress"


async def test_nothing_is_stored_that_is_not_to_be(served: Served) -> None:
    told = await served.ask(store=False)

    answer = await served.client.get(f"{PATH}/{told['id']}")
    assert answer.status_code == 404
    assert await rows() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_has_an_incomplete_response(
    served: Served, stream: bool
) -> None:
    served.upstream.script(CHAT, begins_and_stalls(delta(content="Hel"), delta(content="lo")))
    body = {"model": MODEL, "input": "hi", "stream": stream}
    if stream:
        async with served.client.stream("POST", PATH, json=body) as answer:
            async for line in answer.aiter_lines():
                if '"delta":"lo"' in line:
                    break
    else:
        asking = asyncio.create_task(served.client.post(PATH, json=body))
        await until(lambda: served.upstream.running)
        asking.cancel()

    row = await until_ended()
    kept = await served.get(row["id"])
    assert kept["status"] == row["status"] == "incomplete"
    assert kept["incomplete_details"] is None
    if stream:
        [item] = kept["output"]
        assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hello")
    await until(lambda: served.upstream.aborts_s)


@pytest.mark.parametrize("how", ["die", "close"])
async def test_a_stream_that_breaks_in_a_call_is_stored_as_failed(served: Served, how: str) -> None:
    async def script(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(call(0, '{"a', "add")))
        getattr(reply, how)()

    served.upstream.script(CHAT, script)
    answer = await served.post(stream=True)

    told = rules.check(rules.parsed(answer.content))
    assert told["status"] == "failed"
    assert await served.get(told["id"]) == told
    assert [item["status"] for item in await outputs_of(told["id"])] == ["incomplete"]


@pytest.mark.parametrize("stream", [True, False])
async def test_what_the_model_server_refuses_is_stored_as_failed(
    served: Served, stream: bool
) -> None:
    async def refuse(_: Seen, reply: Reply) -> None:
        words = "This model's maximum context length is 100 tokens. It contains 120 input tokens."
        await reply.json({"error": {"message": words, "code": 400}}, 400)

    served.upstream.script(CHAT, refuse)
    answer = await served.post(stream=stream)

    assert answer.json()["error"]["code"] == "context_length_exceeded"
    [row] = await rows()
    kept = await served.get(row["id"])
    assert (kept["status"], kept["error"]["code"]) == ("failed", "invalid_prompt")
    assert "maximum context length" in kept["error"]["message"]


async def test_a_shutdown_fails_what_is_being_made(served: Served) -> None:
    served.upstream.script(CHAT, begins_and_stalls(delta(content="a")))
    received = b""
    body = {"model": MODEL, "input": "hi", "stream": True}
    async with served.client.stream("POST", PATH, json=body) as answer:
        async for part in answer.aiter_bytes():
            received += part
            if b"output_text.delta" in received:
                served.gateway.front.passages.cut()

    told = rules.check(rules.parsed(received))
    assert (told["status"], told["error"]["code"]) == ("failed", "server_error")
    assert await served.get(told["id"]) == told


async def test_a_shutdown_fails_what_is_not_streamed_too(served: Served) -> None:
    served.upstream.script(CHAT, begins_and_stalls())
    asking = asyncio.create_task(served.post())
    await until(lambda: served.upstream.running)
    served.gateway.front.passages.cut()
    answer = await asking

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert (await rows())[0]["status"] == "failed"


@pytest.mark.parametrize("stream", [True, False])
async def test_without_the_database_the_model_is_not_asked(
    served: Served, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(PICCOLO, "database", None)
    answer = await served.post(stream=stream)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
    assert served.upstream.requests == []


@pytest.mark.parametrize("stream", [True, False])
async def test_what_could_not_be_stored_is_not_told_as_completed(
    served: Served, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(keeping, "PATIENCE_S", 0)

    async def take_the_database_away() -> None:
        monkeypatch.setattr(PICCOLO, "database", None)

    served.upstream.script(CHAT, does_first(take_the_database_away))
    answer = await served.post(stream=stream)
    monkeypatch.undo()

    if stream:
        told = rules.check(rules.parsed(answer.content))
        assert (told["status"], told["error"]["code"]) == ("failed", "server_error")
        assert "could not be stored" in told["error"]["message"]
        assert told["completed_at"] is None
    else:
        assert answer.status_code == 503
        assert "could not be stored" in answer.json()["error"]["message"]
    [row] = await rows()
    assert row["status"] == "in_progress"  # until its lease is over


class Coming:
    """A database that is back after it has been asked some times."""

    def __init__(self, database: Database, times: int) -> None:
        self.database = database
        self.times = times

    def transaction(self) -> Any:
        """Begin, or fail to."""
        self.times -= 1
        if self.times <= 0:
            PICCOLO.database = self.database
        raise DatabaseUnavailable("Not yet.")


async def test_a_database_that_comes_back_soon_is_waited_for(
    served: Served, database: Database
) -> None:
    async def take_the_database_away() -> None:
        PICCOLO.database = Coming(database, 3)  # pyright: ignore[reportAttributeAccessIssue] - stands for one

    served.upstream.script(CHAT, does_first(take_the_database_away))
    told = await served.ask()

    assert await served.get(told["id"]) == told


@pytest.mark.parametrize("stream", [True, False])
async def test_a_response_that_is_deleted_while_it_is_made_is_not_told_as_completed(
    served: Served, stream: bool
) -> None:
    async def delete() -> None:
        [row] = await rows()
        answer = await served.client.delete(f"{PATH}/{row['id']}")
        assert answer.status_code == 200

    served.upstream.script(CHAT, does_first(delete))
    answer = await served.post(stream=stream)

    if stream:
        told = rules.check(rules.parsed(answer.content))
        assert (told["status"], told["error"]["code"]) == ("failed", "server_error")
        assert "deleted" in told["error"]["message"]
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert await rows() == []
    assert await fetch("SELECT FROM response_item") == []


async def test_input_and_output_are_added_to_the_conversation(served: Served) -> None:
    conversation_id = await new_conversation(served.ann)
    first = await served.ask("one", conversation=conversation_id)
    await served.ask("two", conversation={"id": conversation_id}, stream=False)

    assert served.read == [("user", "one"), ("assistant", "Hello there!"), ("user", "two")]
    assert first["conversation"] == {"id": conversation_id}
    kept = await record.history(served.ann, conversation_id)
    assert texts(kept) == ["one", "Hello there!", "two", "Hello there!"]
    assert kept[1] == first["output"][0]


async def test_a_response_that_is_not_stored_reads_a_conversation_and_adds_nothing(
    served: Served,
) -> None:
    conversation_id = await new_conversation(served.ann)
    await served.ask("one", conversation=conversation_id)
    await served.ask("two", conversation=conversation_id, store=False)

    assert served.read[0] == ("user", "one")
    assert len(await record.history(served.ann, conversation_id)) == 2
    assert len(await rows()) == 1


async def test_a_failed_response_adds_nothing_to_its_conversation(served: Served) -> None:
    async def break_off(_: Seen, reply: Reply) -> None:
        await reply.begin_events()
        await reply.chunk(as_event(delta(content="a")))
        reply.die()

    served.upstream.script(CHAT, break_off)
    conversation_id = await new_conversation(served.ann)
    await served.post(stream=True, conversation=conversation_id)

    assert (await rows())[0]["status"] == "failed"
    assert await record.history(served.ann, conversation_id) == []


async def test_responses_that_end_at_once_are_added_one_after_the_other(served: Served) -> None:
    asked = asyncio.Barrier(5)

    async def wait_for_the_others() -> None:
        await asked.wait()

    served.upstream.script(CHAT, does_first(wait_for_the_others))
    conversation_id = await new_conversation(served.ann)
    said = [[{"role": "user", "content": f"{n}{part}"} for part in "abc"] for n in range(5)]
    await asyncio.gather(*(served.ask(each, conversation=conversation_id) for each in said))

    kept = texts(await record.history(served.ann, conversation_id))
    turns = [kept[start : start + 4] for start in range(0, len(kept), 4)]
    assert sorted(turns) == [[f"{n}a", f"{n}b", f"{n}c", "Hello there!"] for n in range(5)]


async def test_a_conversation_that_is_deleted_meanwhile_takes_nothing_with_it(
    served: Served,
) -> None:
    conversation_id = await new_conversation(served.ann)

    async def delete() -> None:
        await execute("DELETE FROM conversation")

    served.upstream.script(CHAT, does_first(delete))
    told = await served.ask(conversation=conversation_id)

    assert told["status"] == "completed"
    assert await served.get(told["id"]) == told
    assert await fetch("SELECT FROM conversation_item") == []


async def test_a_conversation_that_is_being_deleted_is_not_found(
    served: Served, database: Database
) -> None:
    conversation_id = await new_conversation(served.ann)
    async with locking(database, "DELETE FROM conversation") as connection:
        asking = asyncio.create_task(served.post(conversation=conversation_id))
        await until_blocked(connection)
    answer = await asking

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (404, "conversation")
    assert served.upstream.requests == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_conversation_that_is_not_the_callers_is_not_found(
    served: Served, stream: bool
) -> None:
    theirs = await new_conversation(served.keys.callers["bob"])

    for conversation_id in (theirs, "conv_none"):
        answer = await served.post(conversation=conversation_id, stream=stream)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "not_found")
        assert error["param"] == "conversation"
    assert served.upstream.requests == []
    assert await rows() == []


BROKEN = json.dumps({"model": MODEL, "input": "a\ud800"})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (json.dumps({"model": MODEL, "input": "a\x00b"}), "input"),
        (json.dumps({"model": MODEL, "input": "a", "top_k": {"\x00": 1}}), None),
        (BROKEN, "input"),
        (json.dumps({"model": MODEL, "input": "a", "metadata": {"k": "v" * 513}}), "metadata.k"),
        (json.dumps({"model": MODEL, "input": "a", "metadata": {"k" * 65: "v"}}), "metadata"),
        (
            json.dumps(
                {"model": MODEL, "input": [{"role": "user", "content": "a", "id": "i" * 129}]}
            ),
            "input[0].id",
        ),
        (json.dumps({"model": MODEL, "input": [{"role": "user", "content": "a"}, {}]}), None),
    ],
)
async def test_what_can_not_be_stored_is_refused_with_the_place(
    served: Served, body: str, param: str | None
) -> None:
    answer = await served.client.post(PATH, content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param or param is None
    assert await rows() == []
    assert served.upstream.requests == []


@pytest.mark.parametrize("depth", [10, 500, 590, 600, 900, 990])
async def test_no_depth_of_nesting_is_a_fault_of_the_server(served: Served, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    said = f'{{"role":"user","content":"a","custom":{nested}}}'
    body = f'{{"model":"{MODEL}","input":[{said}],"custom":{nested}}}'

    async def answer_without_reading(_: Seen, reply: Reply) -> None:
        await reply.json({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]})

    served.upstream.script(CHAT, answer_without_reading)
    answer = await served.client.post(PATH, content=body)

    assert answer.status_code in {200, 400}
    if answer.status_code == 200:  # what is taken in can be read again
        kept = await served.get(answer.json()["id"])
        assert kept == answer.json()
        await served.ask(previous_response_id=kept["id"])


async def test_who_is_nobody_can_have_a_response_that_is_not_stored_only(served: Served) -> None:
    served.keys.callers["ann"] = Caller(kind="operator", scopes=served.ann.scopes)

    refused = await served.post()
    made = await served.post(store=False)

    assert (refused.status_code, made.status_code) == (400, 200)
    assert "OpenAI-Project" in refused.json()["error"]["message"]


@pytest.mark.parametrize("turns", [1, 30])
async def test_a_response_takes_few_queries_however_much_came_before(
    served: Served, database: Database, turns: int
) -> None:
    previous = None
    for _ in range(turns):
        previous = (await served.ask(previous_response_id=previous))["id"]
    conversation_id = await new_conversation(served.ann)
    for _ in range(turns):
        await served.ask(conversation=conversation_id)
    queries: list[str] = []
    connections = [await database.pool.acquire() for _ in range(4)]
    for connection in connections:
        connection.add_query_logger(lambda query: queries.append(query.query))
        await database.pool.release(connection)

    async def cost(**parameters: Any) -> int:
        queries.clear()
        await served.ask(**parameters)
        return len([query for query in queries if "response" in query or "conversation" in query])

    assert await cost() == 2
    assert await cost(previous_response_id=previous) == 4
    assert await cost(conversation=conversation_id) == 9
    assert await cost(store=False) == 0
    assert queries == []
