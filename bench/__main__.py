"""`python -m bench` measures everything in turn; with a NAME, that alone. Prints Markdown tables.

Figures of a shared machine are read as ratios: nothing here passes or fails.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop

from bench import engine as engine_bench
from bench import fleet as fleet_bench
from bench import gateway as gateway_bench
from bench import limits as limits_bench
from bench import listing as listing_bench
from bench import metrics as metrics_bench
from bench import peers as peers_bench
from bench import report, subjects
from bench import responses as responses_bench
from bench import start as start_bench

ENGINE_HOME = Path(__file__).parents[1] / ".cache" / "engine-home"
"""Where the tests keep an engine and a model."""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, help=__doc__)

Rounds = Annotated[int, typer.Option(min=1, help="Rounds of which medians are shown.")]
Home = Annotated[Path | None, typer.Option(help="JAN_HOME with an engine and a model.")]


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure the gateway, the start and, where there is an engine, the gateway in front of it."""
    if context.invoked_subcommand is not None:
        return
    gateway()
    if not any(ENGINE_HOME.glob("engines/*/")):
        report.say(f"No engine in {ENGINE_HOME} (the tests install one): not measured with one.")
        start()
        return
    with subjects.borrowed(ENGINE_HOME) as home:
        start(home)
        engine(home)


@app.command()
def gateway(rounds: Rounds = 5) -> None:
    """Measure the gateway in front of a mock upstream: latency, CPU, memory, hang-ups."""

    async def run() -> None:
        with subjects.temporary_folder() as home:
            async with subjects.mock() as mock, subjects.jan(mock.target, home) as jan:
                figures = await gateway_bench.measure(mock, [jan], rounds=rounds)
        targets = gateway_bench.TARGETS
        report.show("Gateway", figures, ratio=("jan", "direct"), targets=targets)

    uvloop.run(run())


@app.command()
def metrics(rounds: Rounds = 5) -> None:
    """Measure what counting costs of a request and of a stream."""

    async def run() -> None:
        with subjects.temporary_folder() as home:
            async with subjects.mock() as mock, subjects.jan(mock.target, home) as jan:
                figures = await metrics_bench.measure(mock, jan, rounds=rounds)
        ratio = (metrics_bench.COUNTING, metrics_bench.WHOLE)
        report.show("Metrics", figures, ratio=ratio, targets=metrics_bench.TARGETS)

    uvloop.run(run())


@app.command()
def fleet(home: Home = None) -> None:
    """Measure several instances: failover, balance, prefix caches, fairness of the queue.

    With a home that has an engine and the demonstration model, with two of those too.
    """
    figures = uvloop.run(fleet_bench.measure())
    report.show("Fleet", figures, targets=fleet_bench.TARGETS)
    if home is not None:
        with subjects.borrowed(home) as folder:
            figures = uvloop.run(fleet_bench.measure_engines(folder))
        report.show("Two engines", figures, targets={})


@app.command()
def responses(rounds: Rounds = 5) -> None:
    """Measure what a response costs over the chat completion beneath it, stored and not."""

    async def run() -> None:
        with subjects.temporary_folder() as home:
            async with subjects.mock() as mock, subjects.jan(mock.target, home) as jan:
                figures = await responses_bench.measure(jan, rounds=rounds)
        ratio = (responses_bench.STORED, responses_bench.CHAT)
        report.show("Responses", figures, ratio=ratio, targets=responses_bench.TARGETS)

    uvloop.run(run())


@app.command()
def listing(rounds: Rounds = 5) -> None:
    """Measure pages of conversations and of items, where there are few and where there are many."""

    async def run() -> None:
        with subjects.temporary_folder() as home, subjects.temporary_folder() as other:
            async with (
                subjects.mock() as mock,
                subjects.jan(mock.target, home) as few,
                subjects.jan(mock.target, other) as many,
            ):
                figures = await listing_bench.measure({"few": few, "many": many}, rounds=rounds)
        targets = listing_bench.targets(figures)
        report.show("Lists", figures, ratio=("many", "few"), targets=targets)

    uvloop.run(run())


@app.command()
def limits(rounds: Rounds = 5) -> None:
    """Measure what taking a token costs in PostgreSQL and in Valkey."""

    async def run() -> None:
        with subjects.temporary_folder() as home:
            async with subjects.mock() as mock, subjects.jan(mock.target, home) as jan:
                figures = await limits_bench.measure(jan, home, rounds=rounds)
        ratio = (limits_bench.VALKEY, limits_bench.POSTGRESQL)
        report.show("Limits", figures, ratio=ratio, targets={})

    uvloop.run(run())


@app.command()
def peers(rounds: Rounds = 3) -> None:
    """Measure the same with LiteLLM beside it, installed from PyPI for the occasion."""

    async def run() -> None:
        with subjects.temporary_folder() as home, subjects.temporary_folder() as other:
            async with (
                subjects.mock() as mock,
                subjects.jan(mock.target, home) as jan,
                peers_bench.litellm(mock.target, other) as litellm,
            ):
                figures = await gateway_bench.measure(mock, [jan, litellm], rounds=rounds)
        targets = gateway_bench.TARGETS
        report.show("Gateways", figures, ratio=("jan", "litellm"), targets=targets)

    uvloop.run(run())


@app.command()
def engine(
    home: Home = None,
    url: Annotated[str | None, typer.Option(help="A vLLM that runs already.")] = None,
    rounds: Rounds = 6,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each answer.")] = 48,
) -> None:
    """Measure the gateway in front of real vLLM: tokens a second, time to first token."""
    if (home is None) == (url is None):
        raise typer.BadParameter("name either --home or --url")

    async def run() -> None:
        with subjects.temporary_folder() as folder:
            if url is not None:
                direct = await subjects.named("direct", urlsplit(url).port or 80)
                figures = await behind(direct, folder)
            else:
                assert home is not None
                async with subjects.engine(home, folder / "engine.log") as runner:
                    figures = await behind(runner.target, folder)
        targets = engine_bench.TARGETS
        report.show("In front of vLLM", figures, targets=targets)

    async def behind(direct: subjects.Target, folder: Path) -> report.Figures:
        async with subjects.jan(direct, folder) as jan:
            return await engine_bench.measure(direct, jan.target, rounds=rounds, tokens=tokens)

    uvloop.run(run())


@app.command()
def start(
    home: Home = None,
    rounds: Rounds = 5,
    executable: Annotated[
        Path | None, typer.Option(help="A file that `just bundle` built, to compare with.")
    ] = None,
) -> None:
    """Measure the time of `jan --help`, to /livez and, with a home, to the first token."""
    figures = uvloop.run(
        start_bench.measure(
            rounds=rounds, home=home, executable=executable and executable.resolve()
        )
    )
    ratio = ("executable", "jan") if executable else ("jan", "bare Python")
    report.show("Start", figures, ratio=ratio, targets=start_bench.TARGETS)


app()
