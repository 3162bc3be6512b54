"""What fits where, on cards that nobody here has."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jan.runner.hardware import Hardware
from jan.runner.needs import Facts
from jan.runner.nvml import Gpu
from jan.runner.placement import plan
from jan.runner.rooms import CONTEXT_BYTES
from jan.runner.wishes import Assignment, Plan, Wanted

GB = 10**9

LLAMA_8B = Facts(
    weights_bytes=16 * GB,
    layers=32,
    heads=32,
    kv_heads=8,
    head_bytes_per_layer=512,
    hidden=4096,
    intermediate=14336,
    vocabulary=128_256,
    context_tokens=131_072,
)
SMALL = Facts(
    weights_bytes=1 * GB,
    layers=28,
    heads=16,
    kv_heads=8,
    head_bytes_per_layer=512,
    hidden=1024,
    intermediate=3072,
    vocabulary=151_936,
    context_tokens=40_960,
)


def machine(*sizes: int, used: int = 0, name: str = "NVIDIA H100 80GB HBM3") -> Hardware:
    """Tell of GPUs of so many gigabytes."""
    gpus = tuple(
        Gpu(
            index=index,
            name=name,
            uuid=f"GPU-{index}",
            total_bytes=size * GB,
            used_bytes=used * GB,
            free_bytes=(size - used) * GB,
        )
        for index, size in enumerate(sizes)
    )
    return Hardware("cuda", "found", gpus)


def wish(key: str, facts: Facts | None = LLAMA_8B, **said: object) -> Wanted:
    """Want an instance; its key is its model and a number."""
    return Wanted(key=key, model=key.partition("/")[0], facts=facts, **said)  # pyright: ignore[reportArgumentType]


def test_a_model_alone_gets_what_is_free_up_to_what_vllm_takes_by_itself() -> None:
    made = plan(machine(80), [wish("a")])

    assert made.placed["a"].gpus == (0,)
    assert made.placed["a"].devices == ("GPU-0",)
    assert made.placed["a"].memory_fraction == 0.92
    assert made.placed["a"].max_running == 1024


def test_what_others_use_is_left_to_them() -> None:
    """VLLM refuses to start if less is free than its fraction of the whole."""
    made = plan(machine(80, used=30), [wish("a")])

    fraction = made.placed["a"].memory_fraction
    assert fraction is not None
    assert 0.58 < fraction < 50 / 80


def test_instances_spread_before_they_share() -> None:
    made = plan(machine(80, 80, 80), [wish(f"a/{n}") for n in range(4)])

    places = [made.placed[f"a/{n}"].gpus for n in range(4)]
    assert sorted(places[:3]) == [(0,), (1,), (2,)]
    shared = made.placed["a/3"]
    assert shared.gpus == (0,)
    assert "shares it with others" in shared.reasons


def test_the_largest_is_placed_first() -> None:
    """The small one would take the only card that the large one fits on."""
    made = plan(machine(24, 12), [wish("small", SMALL), wish("large")])

    assert made.placed["large"].gpus == (0,)
    assert made.placed["small"].gpus == (1,)


def test_what_a_spread_leaves_no_room_for_is_packed() -> None:
    third = Facts(weights_bytes=18 * GB, layers=1, kv_heads=1, head_bytes_per_layer=1, heads=1)
    wishes = [wish(f"m{n}", third) for n in range(3)]
    wishes += [wish("n", Facts(weights_bytes=36 * GB))]

    made = plan(machine(70, 45), wishes)

    assert made.refused == {}


def test_what_runs_stays_where_it_is() -> None:
    first = plan(machine(80, 80), [wish("a"), wish("b", SMALL)])
    running = dict(first.placed)

    # Each has its GPU by now, as far as that is possible.
    second = plan(
        machine(80, 80),
        [
            wish("a", running=running["a"]),
            wish("b", SMALL, running=running["b"]),
            wish("c"),
        ],
    )

    assert second.placed == running
    assert "GB of b" in second.refused["c"]


def test_a_successor_needs_room_beside_its_predecessor() -> None:
    old = plan(machine(80), [wish("a")]).placed["a"]

    made = plan(machine(80), [wish("a", running=old), wish("b", replaces="a")])

    assert made.refused["b"].endswith("; `replace: recreate` would free GPU 0 first")


def test_what_jans_engines_use_is_not_taken_for_others() -> None:
    running = Assignment(gpus=(0,), memory_fraction=0.5, memory_bytes=40 * GB)

    full = plan(machine(80, used=41), [wish("a", running=running), wish("b", SMALL)])
    loading = plan(machine(80, used=2), [wish("a", running=running), wish("b", SMALL)])

    assert full.placed["b"].memory_fraction == loading.placed["b"].memory_fraction


def test_the_operators_word_is_obeyed() -> None:
    wishes = [
        wish("a", gpus=(1,), memory_fraction=0.3),
        wish("b", SMALL, gpus=(1,)),
        wish("c", SMALL, engine_args="--gpu-memory-utilization=0.25 --max-num-seqs 7"),
    ]
    made = plan(machine(80, 80), wishes)

    assert made.placed["a"].gpus == made.placed["b"].gpus == (1,)
    assert made.placed["a"].memory_fraction == 0.3
    assert made.placed["c"].memory_fraction == 0.25
    assert made.placed["c"].max_running == 7


@pytest.mark.parametrize(
    ("wishes", "key", "words"),
    [
        ([wish("a", gpus=(7,))], "a", "there is no GPU 7: Jan sees 0, 1"),
        ([wish("a", gpus=(1,), tensor_parallel=2)], "a", "over 2 GPUs, and `gpus` names 1"),
        ([wish("a", tensor_parallel=4)], "a", "over 4 GPUs, and there are 2"),
        ([wish("a", engine_args="-dp 2 -tp 2")], "a", "over 4 GPUs, and there are 2"),
        (
            [wish("a", memory_fraction=0.6, gpus=(0,)), wish("b", memory_fraction=0.6, gpus=(0,))],
            "b",
            "0.6 of a GPU's memory is not left: GPU 0 (80.0 GB: 48.0 GB of a)",
        ),
        ([wish("a", Facts(weights_bytes=200 * GB))], "a", "(200.0 GB weights"),
        ([wish("a", None)], "a", "not in the model store"),
        (
            [wish("a", Facts(weights_bytes=GB, heads=9, kv_heads=3), tensor_parallel=2)],
            "a",
            "its 9 attention heads can't be divided among 2 GPUs",
        ),
        (
            [wish("a", Facts(weights_bytes=GB, heads=12, kv_heads=3), tensor_parallel=2)],
            "a",
            "its 3 key-value heads can't be divided among 2 GPUs",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    wishes: Sequence[Wanted], key: str, words: str
) -> None:
    made = plan(machine(80, 80), wishes)

    assert words in made.refused[key]
    assert key not in made.placed


def test_a_model_is_divided_among_gpus_of_one_kind() -> None:
    odd = Gpu(index=2, name="NVIDIA L4", total_bytes=24 * GB, used_bytes=0)
    hardware = machine(80, 80)
    mixed = Hardware("cuda", "found", (*hardware.gpus, odd))
    large = Facts(weights_bytes=100 * GB, heads=64, kv_heads=8, layers=80)

    made = plan(mixed, [wish("small", SMALL, gpus=(0,)), wish("a", large, tensor_parallel=2)])

    assert made.placed["a"].gpus == (0, 1)
    assert made.placed["a"].tensor_parallel == 2
    assert made.placed["small"].gpus == (0,)


def test_ray_may_find_gpus_elsewhere() -> None:
    arguments = "--distributed-executor-backend ray -pp 2 -tp 2"
    made = plan(machine(80, 80), [wish("a", engine_args=arguments)])

    assert made.placed["a"].gpus == (0, 1)
    assert "Ray places its 4 parts, here and elsewhere" in made.placed["a"].reasons


def test_experts_are_shared_out_among_copies() -> None:
    """DeepSeek's weights fit on eight cards as eight copies that have an eighth of the experts."""
    mixture = Facts(weights_bytes=640 * GB, expert_bytes=600 * GB, heads=128, layers=61)
    dense = Facts(weights_bytes=640 * GB, heads=128, layers=61)
    eight = machine(*[141] * 8)

    assert "a" in plan(eight, [wish("a", mixture, engine_args="--data-parallel-size 8")]).placed
    assert "a" in plan(eight, [wish("a", dense, engine_args="--data-parallel-size 8")]).refused


def test_a_divided_card_is_left_alone() -> None:
    divided = Gpu(index=0, name="NVIDIA A100", total_bytes=80 * GB, used_bytes=0, is_divided=True)

    made = plan(Hardware("cuda", "found", (divided,)), [wish("a")])

    assert "GPU 0 is divided (MIG)" in made.refused["a"]


def test_a_card_that_does_not_tell_its_memory_is_given_to_one() -> None:
    """The NVIDIA GB10 shares the machine's memory and has no number of its own."""
    hardware = Hardware("cuda", "found", (Gpu(index=0, name="NVIDIA GB10"),))

    made = plan(hardware, [wish("a"), wish("b")])

    assert made.placed["a"].memory_fraction is None
    assert made.placed["a"].devices == ("0",)
    assert "GPU 0 (of unknown memory: " in made.refused["b"]


def test_keys_are_distinct() -> None:
    with pytest.raises(ValueError, match="same key"):
        plan(machine(80), [wish("a"), wish("a")])


FACTS = st.builds(
    Facts,
    weights_bytes=st.integers(1, 200 * GB),
    layers=st.none() | st.integers(0, 100),
    heads=st.none() | st.integers(1, 128),
    kv_heads=st.none() | st.integers(1, 16),
    head_bytes_per_layer=st.none() | st.integers(1, 1024),
    context_tokens=st.none() | st.integers(1, 2_000_000),
    quantization=st.sampled_from([None, "awq"]),
)
GPUS = st.lists(st.tuples(st.integers(2, 192), st.integers(0, 40), st.booleans()), max_size=5).map(
    lambda cards: tuple(
        Gpu(
            index=index,
            name=f"card of {size}",
            total_bytes=None if is_unknown and index == 3 else size * GB,
            used_bytes=min(used, size) * GB,
            others_bytes=None if is_unknown else min(used, size) * GB // 2,
            is_divided=is_unknown and index == 4,
        )
        for index, (size, used, is_unknown) in enumerate(cards)
    )
)


@st.composite
def wishes_of(draw: st.DrawFn) -> list[Wanted]:
    """Anything that settings let through."""
    arguments = ["", "-dp 2", "--enforce-eager", "-pp=2 --max_model_len 4k"]
    return [
        Wanted(
            key=f"{number}",
            model=draw(st.sampled_from("abc")),
            facts=draw(st.none() | FACTS),
            gpus=draw(st.none() | st.lists(st.integers(0, 5), max_size=3).map(tuple)),
            memory_fraction=draw(st.none() | st.floats(0.01, 1)),
            tensor_parallel=draw(st.integers(1, 4)),
            engine_args=draw(st.sampled_from(arguments)),
        )
        for number in range(draw(st.integers(0, 7)))
    ]


def over_committed(hardware: Hardware, made: Plan) -> list[int]:
    """Tell on which GPUs more is given than there is."""
    wrong: list[int] = []
    for gpu in hardware.gpus:
        on_it = [a for a in made.placed.values() if gpu.index in a.gpus]
        if gpu.total_bytes is None:
            if len([a for a in on_it if a.memory_fraction is None]) > 1:
                wrong.append(gpu.index)
            continue
        given_bytes = sum(round((a.memory_fraction or 1) * gpu.total_bytes) for a in on_it)
        contexts = CONTEXT_BYTES * max(0, len(on_it) - 1)
        if on_it and given_bytes + contexts + (gpu.used_bytes or 0) > gpu.total_bytes + len(on_it):
            wrong.append(gpu.index)
    return wrong


def loaded(hardware: Hardware, made: Plan) -> Hardware:
    """Tell of the same machine when all of the plan runs."""
    gpus = list(hardware.gpus)
    for number, gpu in enumerate(gpus):
        on_it = [a for a in made.placed.values() if gpu.index in a.gpus]
        size = gpu.total_bytes or 0
        given = sum(round(size * (a.memory_fraction or 0)) + CONTEXT_BYTES for a in on_it)
        gpus[number] = replace(gpu, used_bytes=(gpu.used_bytes or 0) + given)
    return Hardware("cuda", "found", tuple(gpus))


@given(gpus=GPUS, wishes=wishes_of())
@settings(max_examples=300, deadline=None)
def test_no_gpu_is_given_away_twice_and_every_refusal_has_a_reason(
    gpus: tuple[Gpu, ...], wishes: list[Wanted]
) -> None:
    hardware = Hardware("cuda", "found", gpus)

    made = plan(hardware, wishes)

    assert over_committed(hardware, made) == []
    assert made.placed.keys() | made.refused.keys() == {wish.key for wish in wishes}
    assert not made.placed.keys() & made.refused.keys()
    assert all(made.refused.values())
    assert all(assignment.reasons for assignment in made.placed.values())
    for wish in wishes:
        if wish.key in made.placed:
            assert len(set(made.placed[wish.key].gpus)) == len(made.placed[wish.key].gpus) > 0
            assert wish.gpus is None or set(made.placed[wish.key].gpus) <= set(wish.gpus)


@given(gpus=GPUS, wishes=wishes_of(), seed=st.integers())
@settings(max_examples=100, deadline=None)
def test_a_plan_depends_on_what_is_wanted_and_not_on_its_order(
    gpus: tuple[Gpu, ...], wishes: list[Wanted], seed: int
) -> None:
    hardware = Hardware("cuda", "found", gpus)
    shuffled = random.Random(seed).sample(wishes, len(wishes))

    assert plan(hardware, shuffled) == plan(hardware, wishes)


@given(gpus=GPUS, wishes=wishes_of(), more=FACTS)
@settings(max_examples=150, deadline=None)
def test_loading_one_moves_no_other(
    gpus: tuple[Gpu, ...], wishes: list[Wanted], more: Facts
) -> None:
    hardware = Hardware("cuda", "found", gpus)
    before = plan(hardware, wishes)
    running = [
        Wanted(key=wish.key, model=wish.model, facts=wish.facts, running=before.placed[wish.key])
        for wish in wishes
        if wish.key in before.placed
    ]

    after = plan(loaded(hardware, before), [*running, wish("more", more)])

    assert {key: after.placed[key] for key in before.placed} == before.placed
    assert over_committed(hardware, after) == []
