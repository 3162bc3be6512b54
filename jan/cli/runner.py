"""`jan runner`: one model on its own engine."""

from pathlib import Path
from typing import Annotated

import typer

from jan.cli import context, output


def runner(
    *,
    model: Annotated[str | None, typer.Option(help="Name in the model store.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    uds: Annotated[
        Path | None, typer.Option(help="Unix socket to listen on, in place of host and port.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="`cpu`, `cuda` or `auto`.")] = None,
    engine_args: Annotated[str | None, typer.Option(help="More options for vLLM.")] = None,
    assignment: Annotated[
        str | None,
        typer.Option(hidden=True, help="Its part of the machine, as `jan serve` has planned it."),
    ] = None,
) -> None:
    """Run one model's engine alone, until it is told to stop or dies."""
    import asyncio

    import msgspec

    from jan.errors import InvalidRequest
    from jan.runner import supervise
    from jan.runner.wishes import Assignment
    from jan.supervisor import lock

    settings = context.loaded(
        model=model,
        runner_host=host,
        runner_port=port,
        runner_socket=uds,
        engine=engine,
        engine_args=engine_args,
    ).settings
    try:
        place = msgspec.json.decode(assignment, type=Assignment) if assignment else None
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"`--assignment` is not what `jan serve` writes: {error}") from None
    try:
        asyncio.run(supervise.run(settings, output.say, place))
    finally:
        lock.tidy(settings.run_dir)
