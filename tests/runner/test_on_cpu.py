"""How engines without a GPU share memory and processors."""

from hypothesis import given
from hypothesis import strategies as st

from jan.runner import on_cpu
from jan.runner.facts import MADE_HERE
from jan.runner.hardware import Hardware
from jan.runner.needs import Facts
from jan.runner.placement import plan
from jan.runner.wishes import Assignment, Wanted

GiB = 2**30
SMOL = MADE_HERE["SmolLM2-135M-Instruct"]


def machine(memory: int = 24, free: int | None = None, cpus: int = 8) -> Hardware:
    """Tell of a machine with so many gibibytes."""
    free = memory if free is None else free
    return Hardware(
        "cpu",
        "no NVIDIA driver is installed",
        memory_bytes=memory * GiB,
        free_memory_bytes=free * GiB,
        cpus=tuple(range(cpus)),
    )


def wish(key: str, facts: Facts | None = SMOL, **said: object) -> Wanted:
    """Want an instance."""
    return Wanted(key=key, model="smol", facts=facts, **said)  # pyright: ignore[reportArgumentType]


def test_one_alone_has_all_processors_and_a_share_of_the_memory() -> None:
    place = plan(machine(), [wish("a")]).placed["a"]

    assert place.cpus == ()
    assert place.max_running == 128
    assert place.kv_cache_bytes is not None
    assert 5 * GiB < place.kv_cache_bytes < 6 * GiB


def test_several_divide_what_there_is() -> None:
    made = plan(machine(), [wish("a"), wish("b")]).placed

    assert made["a"].cpus == (0, 1, 2, 3)
    assert made["b"].cpus == (4, 5, 6, 7)
    caches = [made[key].kv_cache_bytes or 0 for key in "ab"]
    assert caches[0] == caches[1] < 3 * GiB


def test_one_more_gets_what_the_others_leave() -> None:
    first = plan(machine(), [wish("a"), wish("b")]).placed
    running = [wish(key, running=first[key]) for key in first]

    second = plan(machine(free=20), [*running, wish("c")]).placed

    assert {key: second[key] for key in first} == first
    assert second["c"].cpus == (0, 1)


def test_a_successor_has_its_predecessors_processors() -> None:
    first = plan(machine(), [wish("a"), wish("b")]).placed
    running = [wish(key, running=first[key]) for key in first]

    second = plan(machine(), [*running, wish("c", replaces="b")]).placed
    alone = plan(machine(), [wish("a", running=Assignment()), wish("c", replaces="a")]).placed

    assert second["c"].cpus == first["b"].cpus
    assert alone["c"].cpus == ()


def test_what_does_not_fit_is_refused() -> None:
    large = Facts(weights_bytes=30 * GiB)

    made = plan(machine(), [wish("a", large), wish("b"), wish("c", gpus=(0,))])

    assert "of memory is not left" in made.refused["a"]
    assert "b" in made.placed
    assert "`gpus` names GPUs" in made.refused["c"]


def test_the_operators_word_is_obeyed() -> None:
    fraction = plan(machine(), [wish("a", memory_fraction=0.5)]).placed["a"]
    theirs = plan(machine(), [wish("a", engine_args="--kv-cache-memory-bytes 2G")]).placed["a"]

    assert abs(fraction.memory_bytes - 12 * GiB) < GiB
    assert theirs.kv_cache_bytes is None
    assert theirs.memory_bytes > 2 * GiB


def test_unknown_models_and_machines_are_tried() -> None:
    made = plan(Hardware("cpu", "no driver"), [wish("a", None)])

    assert made.placed["a"].kv_cache_bytes == on_cpu.KV_CACHE_MIN_BYTES


@given(
    memory=st.integers(1, 64),
    cpus=st.integers(1, 16),
    weights=st.lists(st.integers(1, 20 * GiB), max_size=6),
)
def test_memory_is_never_given_away_twice(memory: int, cpus: int, weights: list[int]) -> None:
    hardware = machine(memory, cpus=cpus)
    wishes = [wish(f"{n}", Facts(weights_bytes=size)) for n, size in enumerate(weights)]

    made = plan(hardware, wishes)

    assert sum(place.memory_bytes for place in made.placed.values()) <= memory * GiB
    assert made.placed.keys() | made.refused.keys() == {w.key for w in wishes}
    assert all(made.refused.values())
    assert made == plan(hardware, list(reversed(wishes)))
    if len(made.placed) <= cpus:
        named = [number for place in made.placed.values() for number in place.cpus]
        assert len(named) == len(set(named))
