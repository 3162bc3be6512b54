"""`jan serve`: everything, on one machine."""

from typing import Annotated

import typer

from jan.cli import context


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to load, by its name.")] = None,
    engine: Annotated[str | None, typer.Option(help="Engine: auto, cpu or cuda.")] = None,
    engine_args: Annotated[str | None, typer.Option(help="More options for vLLM.")] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible server to use; then no engine is started here."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Gateway processes behind the port.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run everything: database, engine, gateway."""
    import anyio

    from jan.supervisor.serve import run

    loaded = context.loaded(
        host=host,
        port=port,
        model=model,
        engine=engine,
        engine_args=engine_args,
        inference_model_url=upstream,
        workers=workers,
        log_format=log_format,
        log_level=log_level,
    )
    anyio.run(run, loaded)
