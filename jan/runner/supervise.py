"""`jan runner`: one engine with one model, watched by a thin process that never imports vLLM.

Whatever is killed, the rest ends: the engine leads a group of its own that is killed whole, what
escapes it comes to us, and without us it ends itself.
"""

import asyncio
import signal
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

from jan import clock, listener, probe, process, sockets
from jan.errors import JanError, Misconfigured, Unavailable
from jan.runner import engines, launch, loading, orphans, progress, store
from jan.runner.prepare import prepare
from jan.runner.progress import Report
from jan.runner.wishes import Assignment
from jan.settings import Settings

OPTIONS = ("JAN_RUNNER_HOST", "JAN_RUNNER_PORT")
"""What an operator chooses the engine's address by, whatever file or flag it is said in."""
LAST_LINES = 10
"""Told of an engine that died without a word about why."""
LAST_LINES_OF_START = 30
"""Told of one that did not come so far. Fewer than a supervisor keeps of what we say."""

Say = Callable[[str], None]


async def run(settings: Settings, say: Say, assignment: Assignment | None = None) -> None:
    """Install what is missing, serve the model, and stop at SIGTERM or SIGINT.

    Without an assignment the engine has the machine to itself.

    Raises:
        Misconfigured: the port is taken, there is no room, or vLLM does not know an option.
        Unavailable: the engine did not start, or died; its last lines are in the hint.
    """
    orphans.adopt()
    with _scratch() as scratch:
        serving = asyncio.create_task(_serve(settings, say, scratch, assignment))
        for number in (signal.SIGTERM, signal.SIGINT):
            # A second one cuts the grace of the engine short.
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            say("Stopped.")
        finally:
            orphans.end()
            orphans.remove_semaphores(scratch.name)


async def _serve(
    settings: Settings, say: Say, scratch: Path, assignment: Assignment | None
) -> None:
    with ExitStack() as display, _address(settings) as claim:
        report = display.enter_context(progress.shown())
        engine, model = await prepare(settings, report)
        if model.note:
            say(model.note)
        report(f"Starting {model.name} on the {engine.variant} engine", None)
        started_s = clock.monotonic_s()
        with engines.using(engine), store.serving(model):
            async with process.spawn(
                launch.command(settings, engine, model, scratch, assignment),
                env=launch.environment(settings, engine, scratch, assignment=assignment),
                cwd=scratch,
                name="The engine",
                stop_grace_s=settings.runner_stop_grace_s,
                parent_death_signal=signal.SIGTERM,
                on_line=(lines := _Lines(settings, report, say)).take,
            ) as child:
                try:
                    await _until_ready(child, settings, claim)
                except Unavailable as error:
                    last = child.last_lines[-LAST_LINES_OF_START:]
                    raise _failure(child, error.message, lines.cause, last) from None
                lines.is_ready = True
                display.close()
                took_s = clock.monotonic_s() - started_s
                say(f"Serving {model.name} at {settings.runner_url} after {took_s:.0f} s")
                end = process.describe_end(await child.wait())
                trouble = [line for line in child.last_lines if loading.is_trouble(line)]
                cause = reduce(lambda before, line: loading.cause(line, before), trouble, None)
                last = trouble or child.last_lines[-LAST_LINES:]
                raise _failure(child, f"The engine {end}.", cause, last)


@contextmanager
def _address(settings: Settings) -> Generator[sockets.Claim | None]:
    """See that the engine can have its port or socket: it would find out after half a minute."""
    path = settings.runner_socket
    if path is None:
        listener.listen(settings.runner_host, settings.runner_port, options=OPTIONS).close()
        yield None
        return
    if sockets.is_answered(path):
        raise _taken(path)
    sockets.make_way(path)
    claim = sockets.Claim(path)
    try:
        yield claim
    finally:
        claim.release()


async def _until_ready(
    child: process.Child, settings: Settings, claim: sockets.Claim | None
) -> None:
    is_ready = partial(probe.answers, settings.runner_url, "/health")
    try:
        await child.until_ready(is_ready, timeout_s=settings.runner_start_timeout_s)
    finally:
        if claim:  # vLLM makes the socket long before it listens
            claim.look()
    if claim and claim.is_lost(child.pid):
        raise _taken(claim.path)


def _failure(
    child: process.Child, what: str, cause: str | None, last_lines: Sequence[str]
) -> JanError:
    if cause and cause.startswith(loading.REFUSAL):
        words = cause.removeprefix(loading.REFUSAL)
        return Misconfigured(f"vLLM refuses its options: {words}", hint="Mend `engine_args`.")
    is_killed = child.returncode is not None and child.returncode < 0
    if cause and not is_killed:  # what killed it told nobody why
        what = f"{what.removesuffix('.')}: {cause}"
    return Unavailable(what, hint="\n".join(last_lines) or None)


def _taken(path: Path) -> Misconfigured:
    return Misconfigured(
        f"Another program listens on {path}.",
        hint=f"Stop it, or choose another path with {sockets.OPTION}.",
    )


@contextmanager
def _scratch() -> Generator[Path]:
    """A folder for the engine's sockets. If we are killed the engine deletes it."""
    with tempfile.TemporaryDirectory(prefix="jan-runner-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@dataclass
class _Lines:
    """What the engine says: progress while it starts, then only trouble is passed on."""

    settings: Settings
    report: Report
    say: Say
    is_ready: bool = False
    cause: str | None = None
    """What went wrong, as far as a line told."""

    def take(self, line: str) -> None:
        self.cause = loading.cause(line, self.cause)
        if self.settings.log_level == "debug" or (self.is_ready and loading.is_trouble(line)):
            self.say(line)
        elif not self.is_ready and (stage := loading.stage(line)):
            self.report(*stage)
