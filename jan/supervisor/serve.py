"""One tree of processes, from the lock on JAN_HOME to the last child's end.

The gateway answers first, whatever else takes long. At the end it is the first to stop, for what it
still answers needs the others; PostgreSQL is the last, for until then usage is written.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import anyio
import structlog

from jan import keyring, listener, process
from jan.metrics import private
from jan.settings import Loaded
from jan.supervisor import lock, parts, places, schema
from jan.supervisor.board import shown
from jan.supervisor.fleet import Fleet
from jan.supervisor.keeper import Keeper
from jan.supervisor.parts import Parts

log = structlog.get_logger()


async def run(loaded: Loaded) -> None:
    """Serve until a signal says to stop.

    Raises:
        NotFound: there is no such model.
        Misconfigured: the home, the port or the database can't be had.
        Unavailable: something that nothing goes on without keeps dying.
    """
    loaded = _with_socket(loaded)
    settings = loaded.settings
    names = [parts.GATEWAY, schema.PART]
    if settings.manages_database:
        names.insert(1, parts.DATABASE)
    names += places.parts(settings)
    with (
        lock.hold(settings.run_dir),
        places.place(settings),
        listener.listen(settings.host, settings.port) as server,
        shown(settings, names) as board,
        anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        keeper = Keeper(board)
        children = Parts(loaded, keyring.load(settings), server, board)
        engines = Fleet(loaded, children.keyring, keeper, children.environment)
        children.gathering.engines = engines.engines
        async with (
            private.serving(private.listen(loaded), children.gathering.collect),
            anyio.create_task_group() as group,
        ):
            group.start_soon(_obey, signals, keeper)
            group.start_soon(keeper.achieve, schema.PART, children.prepare_database)
            board.listening(children.url)
            await _live(children, keeper, engines)
            group.cancel_scope.cancel()
        log.info("stopped")
    if keeper.cause is not None:
        raise keeper.cause


def _with_socket(loaded: Loaded) -> Loaded:
    """Give our engine a socket: on a port any local user could listen, and be sent the prompts."""
    settings = loaded.settings
    if not settings.manages_engine:
        return loaded
    path = settings.runner_socket or places.socket_of(settings, settings.deployments[0].name, 1)
    return replace(loaded, settings=settings.model_copy(update={"runner_socket": path}))


async def _live(children: Parts, keeper: Keeper, engines: Fleet) -> None:
    """Run all children until the end is asked for. What is entered first is stopped last."""
    settings = children.loaded.settings
    async with AsyncExitStack() as tree:
        if settings.manages_database:
            database = keeper.keeping(parts.DATABASE, children.database, is_vital=True)
            await tree.enter_async_context(database)
        if settings.manages_engine:
            await tree.enter_async_context(engines.running(children.is_prepared))
        gateways = keeper.keeping(
            parts.GATEWAY, children.gateway, is_vital=True, count=settings.workers
        )
        await tree.enter_async_context(gateways)
        await keeper.until_end()
        # Connections are refused from now on rather than left waiting for nobody.
        children.listener.close()


async def _obey(signals: AsyncIterator[signal.Signals], keeper: Keeper) -> None:
    async for number in signals:
        if keeper.is_ending:
            log.warning("stopping at once", signal=number.name)
            process.abandon_all()
        else:
            log.info("stopping; once more stops at once", signal=number.name)
            keeper.end()
