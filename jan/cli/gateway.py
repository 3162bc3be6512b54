"""`jan gateway`: one gateway process alone."""

from typing import Annotated

import typer

from jan.cli import context


def gateway(
    fd: Annotated[
        int | None, typer.Option(help="Inherited listening socket, in place of host and port.")
    ] = None,
    private_fd: Annotated[
        int | None, typer.Option(help="Inherited listening socket, in place of the private port.")
    ] = None,
    managed: Annotated[
        bool, typer.Option(help="Leave it to `jan serve` to tell of model servers.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any.")] = None,
) -> None:
    """Run one gateway process alone."""
    import socket

    import uvloop

    from jan import listener, telemetry
    from jan.gateway import worker
    from jan.metrics import private

    loaded = context.loaded(host=host, port=port)
    settings = loaded.settings
    telemetry.configure(settings.log_format, settings.log_level)
    sock = listener.listen(settings.host, settings.port) if fd is None else socket.socket(fileno=fd)
    if private_fd is None:
        private_sock = private.listen(loaded)
    else:
        private_sock = socket.socket(fileno=private_fd)
    uvloop.run(worker.run(loaded, sock, private_sock, is_alone=not managed))
