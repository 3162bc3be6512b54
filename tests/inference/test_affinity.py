"""Prompts that begin alike are known by it, and choices respect that, within reason."""

from dataclasses import dataclass

from jan.inference.affinity import BLOCK_BYTES, MAX_BLOCKS, MAX_INSTANCES, Affinity, keys_of
from jan.inference.budget import RESERVE, RetryBudget
from jan.inference.choice import choose

START = b'{"model":"m","messages":[{"role":"system","content":"'


def _body(shared: int, rest: str = "") -> bytes:
    return START + b"x" * shared + rest.encode() + b'"}]}'


def test_what_begins_alike_has_the_same_first_keys() -> None:
    one = keys_of(_body(3000, "a" * 3000), "p")
    two = keys_of(_body(3000, "b" * 3000), "p")

    assert one[:2] == two[:2]
    assert not set(one[3:]) & set(two[3:])


def test_what_stands_before_the_prompt_says_nothing_of_it() -> None:
    one = keys_of(b'{"temperature":0,"messages":' + b"x" * 3000, "p")

    assert one == keys_of(b'{"messages":' + b"x" * 3000, "p")


def test_tenants_share_no_keys() -> None:
    assert not set(keys_of(_body(5000), "p", "s")) & set(keys_of(_body(5000), "q", "s"))


def test_short_and_odd_bodies_have_none_and_huge_ones_few() -> None:
    for body in (b"", b"{}", _body(10), b"\xff" * 5000, b'"messages"'):
        assert not keys_of(body, "p")
    assert len(keys_of(_body(10_000_000), "p")) == MAX_BLOCKS
    assert len(keys_of(_body(BLOCK_BYTES), "p", "session")) == 2


def test_the_longest_known_beginning_decides() -> None:
    affinity = Affinity()
    affinity.remember([1, 2, 3], "a")
    affinity.remember([1, 2], "b")

    assert affinity.find([1, 2, 3, 4])[0] == "a"
    assert affinity.find([1, 2, 9])[0] == "b"
    assert affinity.find([9]) == ()


def test_memory_is_bounded() -> None:
    affinity = Affinity(max_known=10)
    for key in range(100):
        affinity.remember([key], "a")
    for number in range(10):
        affinity.remember([99], str(number))

    assert affinity.find([0]) == ()
    assert len(affinity._known) == 10
    assert len(affinity.find([99])) == MAX_INSTANCES


@dataclass
class One:
    """An instance."""

    id: str
    running: int = 0
    weight: int = 1
    has_room: bool = True
    is_well: bool = True


def test_choices() -> None:
    idle, busy = One("idle"), One("busy", running=3)

    assert choose([]) is None
    assert choose([One("full", has_room=False)]) is None
    assert choose([idle, busy]) is idle
    assert choose([idle, busy], ["busy"]) is busy
    assert choose([idle, One("over", running=9)], ["over"]) is idle
    assert choose([One("sick", is_well=False), busy]) is busy
    assert choose([sick := One("sick", is_well=False), One("full", has_room=False)]) is sick
    assert choose([One("small", running=2), big := One("big", running=3, weight=2)]) is big
    assert choose([idle, busy], ["gone"]) is idle


def test_ties_are_broken_by_chance() -> None:
    assert {choose([One("a"), One("b")]).id for _ in range(100)} == {"a", "b"}  # pyright: ignore[reportOptionalMemberAccess]


def test_retries_are_a_share_of_requests() -> None:
    budget, spent = RetryBudget(), 0
    for _ in range(1000):
        budget.note()
        spent += budget.spend()

    assert 200 <= spent <= 200 + RESERVE
