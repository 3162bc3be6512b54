"""Several instances behind one door: which gets a request, and what happens when one fails."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from jan.errors import (
    InvalidRequest,
    JanError,
    ModelLoading,
    TooManyWaiting,
    UpstreamError,
    UpstreamTimedOut,
)
from jan.inference.ask import Ask, Salts, renamed
from jan.inference.connection import Connection
from jan.inference.fleet import Fleet
from jan.inference.registry import Described, Endpoint, Registry, Served, Sleeping
from jan.inference.upstream import Refused
from jan.telemetry import Exchange
from tests.fakes import MODEL, FakeUpstream, Reply, Script, Seen, fake_upstream
from tests.gateways import CALLER, endpoint, until

PATH = b"/v1/chat/completions"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()
LONG = json.dumps({"messages": [{"content": "x" * 5000}], "model": MODEL}).encode()


def ask(body: bytes = BODY, *, model: str = MODEL, **more: Any) -> Ask:
    """Make a request."""
    caller = more.pop("caller", CALLER)
    exchange = Exchange("req_1", "POST", PATH.decode(), caller=caller)
    return Ask(PATH, (), body, exchange, model=model, **more)


class Box:
    """A fleet of fakes."""

    def __init__(self, fakes: list[FakeUpstream]) -> None:
        self.fakes = fakes
        self.fleet = Fleet(connect_timeout_s=1)

    def be(
        self, fleet: Fleet | None = None, each: dict[str, Any] | None = None, **more: Any
    ) -> Fleet:
        """Begin, with all of them well."""
        self.fleet = fleet or self.fleet
        self.fleet.apply(Registry(self.endpoints(**(each or {})), **more))
        for instance in self.fleet.instances.values():
            instance.condition.good()
            self.fleet.turned(instance.id)
        return self.fleet

    def endpoints(self, **more: Any) -> list[Endpoint]:
        """Describe them: `ep_0` and so on."""
        said = {"served": (Served(MODEL),)} | more
        return [endpoint(fake.url, f"ep_{n}", **said) for n, fake in enumerate(self.fakes)]

    @property
    def asked(self) -> list[int]:
        """How many requests each got."""
        return [len(fake.requests) for fake in self.fakes]

    def script(self, *scripts: Script) -> None:
        """Have them answer in other ways, in their order."""
        for fake, script in zip(self.fakes, scripts, strict=False):
            fake.script(PATH.decode(), script)


@pytest.fixture
async def box() -> AsyncIterator[Box]:
    """Two of them."""
    async with AsyncExitStack() as stack:
        made = Box([await stack.enter_async_context(fake_upstream()) for _ in range(2)])
        yield made
        made.fleet.close()


async def answer(fleet: Fleet, asked: Ask | None = None) -> tuple[int, bytes]:
    """Have a request answered."""
    async with fleet.post(asked or ask()) as got:
        return got.status, await got.read_all()


def dies(after: bytes = b"") -> Script:
    """Reset the connection, perhaps in the middle of a body."""

    async def script(_: Seen, reply: Reply) -> None:
        if after:
            await reply.begin_events()
            await reply.chunk(after)
            await asyncio.sleep(0.02)
        reply.die()

    return script


def refuses(status: int, **headers: str) -> Script:
    """Refuse."""

    async def script(_: Seen, reply: Reply) -> None:
        await reply.json({"error": {"message": "not now"}}, status, **headers)

    return script


async def stalls(_: Seen, reply: Reply) -> None:
    """Take a request and never answer."""
    await reply.stall()


@asynccontextmanager
async def under_way(fleet: Fleet, asked: Ask) -> AsyncGenerator[asyncio.Task[tuple[int, bytes]]]:
    """Have a request answered beside the block."""
    task = asyncio.create_task(answer(fleet, asked))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_one_with_less_to_do_is_asked(box: Box) -> None:
    fleet = box.be()
    fleet.instances["ep_0"].running = 5

    for _ in range(6):
        await answer(fleet)

    assert box.asked == [0, 6]


async def test_weights_count(box: Box) -> None:
    fleet = box.be()
    fleet.apply(Registry([replace_weight(e, 4 if e.id == "ep_0" else 1) for e in box.endpoints()]))
    box.script(stalls, stalls)

    tasks = [asyncio.create_task(answer(fleet)) for _ in range(10)]
    await until(lambda: sum(box.asked) == 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert box.asked[0] == 8
    assert [i.running for i in fleet.instances.values()] == [0, 0]


def replace_weight(known: Endpoint, weight: int) -> Endpoint:
    """Give an endpoint another weight."""
    return endpoint(known.url, known.id, served=known.served, weight=weight)


async def test_prompts_that_begin_alike_go_to_the_same_one(box: Box) -> None:
    fleet = box.be()

    for _ in range(8):
        await answer(fleet, ask(LONG))

    assert sorted(box.asked) == [0, 8]


async def test_a_session_stays_where_it_is_until_that_is_overloaded(box: Box) -> None:
    fleet = box.be()
    for _ in range(4):
        await answer(fleet, ask(session="conv_1"))
    assert sorted(box.asked) == [0, 4]
    home = box.asked.index(4)

    fleet.instances[f"ep_{home}"].running = 50
    await answer(fleet, ask(session="conv_1"))

    assert box.asked[1 - home] == 1


@pytest.mark.parametrize("body", [BODY, LONG])
async def test_one_that_was_killed_is_replaced_before_the_first_byte(box: Box, body: bytes) -> None:
    fleet = box.be()
    await box.fakes[0].kill()

    statuses = [(await answer(fleet, ask(body)))[0] for _ in range(5)]

    assert statuses == [200] * 5
    assert box.asked == [0, 5]


async def test_one_that_dies_before_it_answers_is_replaced(box: Box) -> None:
    fleet = box.be()
    box.script(dies(), dies())
    with pytest.raises(UpstreamError):
        await answer(fleet)
    assert sum(box.asked) == 2

    box.script(refuses(200))
    fleet.instances["ep_1"].condition.bad("broken", is_gone=True)
    fleet.instances["ep_0"].condition.good()

    assert (await answer(fleet))[0] == 200


async def test_nothing_is_repeated_once_the_answer_has_begun(box: Box) -> None:
    fleet = box.be()
    box.script(dies(b"data: {}\n\n"), dies(b"data: {}\n\n"))

    with pytest.raises(UpstreamError):
        await answer(fleet)

    assert sum(box.asked) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_who_can_not_now_is_replaced(box: Box, status: int) -> None:
    fleet = box.be()
    box.script(refuses(status))
    fleet.instances["ep_1"].running = 1  # so that the other is asked first

    assert (await answer(fleet))[0] == 200
    assert box.asked == [1, 1]


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_what_is_wrong_with_the_request_is_told_at_once(box: Box, status: int) -> None:
    fleet = box.be()
    box.script(refuses(status), refuses(status))

    assert (await answer(fleet))[0] == status
    assert sum(box.asked) == 1


async def test_the_last_refusal_is_what_is_told(box: Box) -> None:
    fleet = box.be()
    box.script(refuses(429), refuses(429))

    status, body = await answer(fleet)

    assert (status, sum(box.asked)) == (429, 2)
    assert b"not now" in body


async def test_who_asks_to_be_left_alone_is(box: Box) -> None:
    fleet = box.be()
    box.script(refuses(503, retry_after="30"), refuses(429, retry_after="20"))
    await answer(fleet)
    before = sum(box.asked)

    with pytest.raises(JanError) as caught:
        await answer(fleet)

    assert sum(box.asked) == before == 2
    assert caught.value.status == 503
    assert caught.value.retry_after_s in {20, 21}


async def test_a_storm_of_retries_ends(box: Box) -> None:
    fleet = box.be()
    box.script(refuses(429), refuses(429))

    for _ in range(100):
        with suppress(Refused):
            await answer(fleet)

    assert 100 < sum(box.asked) < 140  # the reserve, and a fifth of them


async def test_one_that_never_answers_times_out(box: Box) -> None:
    fleet = box.be(Fleet(connect_timeout_s=1, head_timeout_s=0.1, retries=0))
    box.script(stalls, stalls)

    with pytest.raises(UpstreamTimedOut):
        await answer(fleet)

    assert fleet.instances["ep_0"].running == fleet.instances["ep_1"].running == 0


async def test_who_waits_for_one_that_is_found_dead_goes_elsewhere(box: Box) -> None:
    fleet = box.be()
    fleet.instances["ep_1"].running = 1
    box.script(stalls)
    async with under_way(fleet, ask()) as task:
        await until(lambda: box.asked == [1, 0])
        fleet.instances["ep_0"].condition.bad("no answer to a look", is_gone=True)
        fleet.turned("ep_0")

        assert (await task)[0] == 200
    assert box.asked == [1, 1]


async def test_who_waits_for_the_only_one_goes_on_waiting(box: Box) -> None:
    fleet = box.be()
    fleet.instances["ep_1"].condition.bad("gone", is_gone=True)
    box.script(stalls)
    async with under_way(fleet, ask()) as task:
        await until(lambda: box.asked == [1, 0])
        fleet.instances["ep_0"].condition.bad("no answer to a look", is_gone=True)
        fleet.turned("ep_0")
        await asyncio.sleep(0.05)

        assert not task.done()


async def test_who_can_go_nowhere_else_waits_on(box: Box) -> None:
    fleet = box.be(Fleet(connect_timeout_s=1, retries=0))
    fleet.instances["ep_1"].running = 1
    box.script(stalls)
    async with under_way(fleet, ask()) as task:
        await until(lambda: box.asked == [1, 0])
        fleet.instances["ep_0"].condition.bad("no answer to a look", is_gone=True)
        fleet.turned("ep_0")
        await asyncio.sleep(0.05)

        assert not task.done()


async def test_who_asks_for_what_only_the_dead_one_has_waits_on(box: Box) -> None:
    fleet = box.be()
    one, two = box.endpoints()
    fleet.apply(Registry([endpoint(one.url, "ep_0", served=(Served(MODEL), Served("b"))), two]))
    box.script(stalls)
    asked = ask(BODY.replace(MODEL.encode(), b"b"), model="b")
    async with under_way(fleet, asked) as task:
        await until(lambda: box.asked == [1, 0])
        fleet.instances["ep_0"].condition.bad("no answer to a look", is_gone=True)
        fleet.turned("ep_0")
        await asyncio.sleep(0.05)

        assert not task.done()


@pytest.mark.parametrize(
    ("member", "tries"),
    [
        (b'"store":true', 1),
        (b'"st\\u006fre":true', 1),
        (b'"store":{"a":1}', 1),
        (b'"user":"\\ud800"', 1),  # that can't be told
        (b'"store":false', 2),
        (b'"user":"store"', 2),
        (b'"user":"\\u00e9"', 2),
    ],
)
async def test_a_side_effect_elsewhere_is_not_made_twice(
    box: Box, member: bytes, tries: int
) -> None:
    fleet = box.be()
    box.script(dies(), dies())

    with pytest.raises(UpstreamError):
        await answer(fleet, ask(BODY[:-1] + b"," + member + b"}"))

    assert sum(box.asked) == tries


def test_what_can_not_be_written_anew_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too large"):
        renamed(b'{"model":"a","user":"\\ud800","temperature":1e400}', "b")


async def test_where_nothing_was_sent_even_that_goes_elsewhere(box: Box) -> None:
    fleet = box.be()
    await box.fakes[0].kill()
    fleet.instances["ep_1"].running = 1

    assert (await answer(fleet, ask(BODY[:-1] + b',"store":true}')))[0] == 200


async def test_when_all_are_down_that_is_said_until_one_is_back(box: Box) -> None:
    fleet = box.be()
    for fake in box.fakes:
        await fake.kill()

    with pytest.raises(ModelLoading):
        await answer(fleet)
    with pytest.raises(ModelLoading):
        fleet.catalog.find(MODEL, CALLER)
    await box.fakes[0].start()
    fleet.instances["ep_0"].condition.good(is_look=True)
    fleet.turned("ep_0")

    assert (await answer(fleet))[0] == 200


async def test_a_cancelled_request_leaves_no_trace(box: Box) -> None:
    fleet = box.be()
    box.script(stalls, stalls)
    async with under_way(fleet, ask()):
        await until(lambda: sum(box.asked) == 1)

    assert [i.running for i in fleet.instances.values()] == [0, 0]
    await until(lambda: not any(fake.running for fake in box.fakes))


async def test_a_bound_makes_requests_wait_and_tells_how_long(box: Box) -> None:
    fleet = box.be(each={"max_running": 1})
    gate = asyncio.Event()

    async def waits(_: Seen, reply: Reply) -> None:
        await gate.wait()
        await reply.json({})

    box.script(waits, waits)
    asks = [ask() for _ in range(6)]
    tasks = [asyncio.create_task(answer(fleet, each)) for each in asks]
    await until(lambda: sum(box.asked) == 2)
    await asyncio.sleep(0.03)
    assert sum(box.asked) == 2
    gate.set()
    await asyncio.gather(*tasks)

    waited = sorted(each.exchange.queue_ms or 0 for each in asks)
    assert waited[1] < 20 < waited[2]


async def test_who_waits_has_a_turn_when_the_rest_is_over(box: Box) -> None:
    del box.fakes[1:]
    fleet = box.be(each={"max_running": 1})
    is_first = True

    async def rests_once(_: Seen, reply: Reply) -> None:
        nonlocal is_first
        was_first, is_first = is_first, False
        await asyncio.sleep(0.02)
        await reply.json(
            {}, 503 if was_first else 200, **({"retry_after": "1"} if was_first else {})
        )

    box.script(rests_once)
    async with asyncio.timeout(5):
        (status, _), *others = await asyncio.gather(*(answer(fleet) for _ in range(3)))

    assert status == 503
    assert [each[0] for each in others] == [200, 200]


async def test_places_to_wait_are_bounded(box: Box) -> None:
    fleet = box.be(
        Fleet(connect_timeout_s=1, queue_size=2, queue_timeout_s=5), each={"max_running": 1}
    )
    box.script(stalls, stalls)
    tasks = [asyncio.create_task(answer(fleet)) for _ in range(4)]
    await until(lambda: sum(box.asked) == 2)
    with pytest.raises(JanError) as caught:
        await answer(fleet)
    assert (caught.value.status, caught.value.code) == (503, "queue_full")
    assert caught.value.retry_after_s
    other = asyncio.create_task(answer(fleet, ask(caller=replace(CALLER, project_id="proj_2"))))
    done, _ = await asyncio.wait([*tasks, other], return_when=asyncio.FIRST_COMPLETED)

    assert isinstance(done.pop().exception(), TooManyWaiting)  # the newest of who has the most
    for task in [*tasks, other]:
        task.cancel()
    await asyncio.gather(*tasks, other, return_exceptions=True)


async def test_processes_share_the_room_of_an_instance(box: Box) -> None:
    fleet = box.be(Fleet(shared_by=2), each={"max_running": 5})

    assert [i.max_running for i in fleet.instances.values()] == [3, 3]


async def test_draining_ones_get_nothing_new_and_end_what_they_do(box: Box) -> None:
    fleet = box.be()
    box.script(stalls)
    fleet.instances["ep_1"].running = 1
    async with under_way(fleet, ask()) as task:
        await until(lambda: box.asked == [1, 0])
        fleet.instances["ep_1"].running = 0
        drained = box.endpoints()
        drained[0] = endpoint(drained[0].url, "ep_0", served=drained[0].served, is_draining=True)
        fleet.apply(Registry(drained))
        for _ in range(3):
            await answer(fleet)

        assert box.asked == [1, 3]
        assert not task.done()


async def test_what_is_gone_from_the_registry_ends_what_it_does(box: Box) -> None:
    fleet = box.be()
    gate = asyncio.Event()

    async def waits(_: Seen, reply: Reply) -> None:
        await gate.wait()
        await reply.json({})

    box.script(waits, waits)
    async with under_way(fleet, ask()) as task:
        await until(lambda: sum(box.asked) == 1)
        fleet.apply(Registry())
        gate.set()

        assert (await task)[0] == 200


async def test_requests_wait_while_the_only_instance_is_replaced(box: Box) -> None:
    fleet = box.be()
    fleet.apply(Registry([e for e in box.endpoints(is_draining=True) if e.id == "ep_0"]))
    async with under_way(fleet, ask()) as task:
        await asyncio.sleep(0.03)
        assert not task.done()
        fleet.apply(Registry(box.endpoints()))
        fleet.instances["ep_1"].condition.good()
        fleet.turned("ep_1")

        assert (await task)[0] == 200


async def test_a_sleeping_model_is_woken_and_waited_for(box: Box) -> None:
    fleet = box.be()
    wanted: list[str] = []
    fleet.wanted = wanted.append
    fleet.apply(Registry(sleeping=[Sleeping(MODEL, "depl_1", Served(MODEL))]))
    assert fleet.catalog.find(MODEL, CALLER).id == MODEL
    async with under_way(fleet, ask()) as task:
        await until(lambda: wanted)
        fleet.apply(Registry(box.endpoints()))

        assert (await task)[0] == 200
    assert set(wanted) == {"depl_1"}


async def test_another_model_stands_in_for_one_that_is_away(box: Box) -> None:
    fleet = box.be(models={"big": Described(fallbacks=("secret", MODEL))})
    one, two = box.endpoints()
    fleet.apply(
        Registry(
            [endpoint(one.url, "ep_0", served=(Served("big"), Served("secret"))), two],
            models={"big": Described(fallbacks=("secret", MODEL))},
        )
    )
    fleet.instances["ep_0"].condition.bad("gone", is_gone=True)
    allowed = replace(CALLER, denied_models=frozenset({"secret"}))
    asked = ask(BODY.replace(MODEL.encode(), b"big"), model="big", caller=allowed)

    assert (await answer(fleet, asked))[0] == 200
    assert box.fakes[1].requests[0].json["model"] == MODEL
    assert (asked.exchange.model, asked.exchange.endpoint_id) == (MODEL, "ep_1")


async def test_no_model_stands_in_that_the_caller_may_not_use(box: Box) -> None:
    fleet = box.be(models={MODEL: Described(fallbacks=("secret",))})
    one, two = box.endpoints()
    fleet.apply(
        Registry(
            [one, endpoint(two.url, "ep_1", served=(Served("secret"),))],
            models={MODEL: Described(fallbacks=("secret",))},
        )
    )
    fleet.instances["ep_0"].condition.bad("gone", is_gone=True)
    caller = replace(CALLER, allowed_models=frozenset({MODEL}))

    with pytest.raises(ModelLoading):
        await answer(fleet, ask(caller=caller))
    assert box.asked == [0, 0]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "fast", "messages": []}',
        b'{"messages": [], "model":"fast"}',
        b'{"m\\u006fdel": "fast", "messages": []}',
        b'{"model": "other", "messages": [], "model": "fast"}',
        b'{"model": "fast", "user": "\\ud800"}',
    ],
)
async def test_a_server_is_asked_by_its_own_name_for_the_model(box: Box, body: bytes) -> None:
    fleet = box.be(each={"prefix": "acme/"}, aliases={"fast": f"acme/{MODEL}"})
    model = fleet.catalog.find("fast", CALLER).id

    await answer(fleet, ask(body, model=model, asked_as="fast"))

    seen = next(fake.requests[0] for fake in box.fakes if fake.requests)
    assert seen.json["model"] == MODEL
    assert seen.body.count(b"fast") == 0


async def test_only_models_that_are_to_be_used_are(box: Box) -> None:
    served = (Served("a"), Served("b"))
    fleet = box.be(
        each={"served": served, "only_models": ("a",)}, models={"c": Described(is_enabled=False)}
    )

    assert [model.id for model in fleet.catalog.models] == ["a"]


@pytest.mark.parametrize(
    "own",
    [
        b"",
        b',"cache_salt":"mine"',
        b',"cache_s\\u0061lt":"mine"',
        b',"\\u0063\\u0061che_salt" : "mine" ',
    ],
)
async def test_the_salt_is_ours_and_each_project_has_another(box: Box, own: bytes) -> None:
    fleet = box.be(Fleet(salts=Salts("s" * 32)), each={"kind": "runner"})
    body = BODY[:-1] + own + b"}"
    for project in ("proj_1", "proj_1", "proj_2"):
        await answer(fleet, ask(body, caller=replace(CALLER, project_id=project)))

    seen = [request for fake in box.fakes for request in fake.requests]
    salts = [request.json["cache_salt"] for request in seen]
    assert len(set(salts)) == 2
    assert not any("mine" in salt or "proj" in salt for salt in salts)


async def test_servers_of_others_get_no_salt(box: Box) -> None:
    fleet = box.be(Fleet(salts=Salts("s" * 32)), each={"kind": "openai"})

    await answer(fleet)

    assert all(fake.requests[0].body == BODY for fake in box.fakes if fake.requests)


async def test_half_open_instances_are_tried_by_one_at_a_time(box: Box) -> None:
    fleet = box.be()
    fleet.apply(Registry(box.endpoints()[:1]))
    instance = fleet.instances["ep_0"]
    for _ in range(3):
        instance.condition.bad("slow")
    assert instance.condition.state == "ejected"
    await until(instance.condition.admits)
    box.script(stalls)
    async with under_way(fleet, ask()) as task:
        await until(lambda: box.asked[0] == 1)
        with pytest.raises(ModelLoading):
            await answer(fleet)
        assert not task.done()
    box.script(refuses(200))

    assert (await answer(fleet))[0] == 200
    assert instance.condition.state == "healthy"


async def test_connections_are_kept(box: Box) -> None:
    fleet = box.be()
    fleet.apply(Registry(box.endpoints()[:1]))
    seen: list[Connection] = []
    for _ in range(3):
        async with fleet.post(ask()) as got:
            seen.append(got)
            await got.read_all()

    assert len(set(map(id, seen))) == 1
