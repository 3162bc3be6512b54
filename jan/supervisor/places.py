"""Where engines are: their sockets, and their lines on the board."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from jan import sockets
from jan.inference import trouble
from jan.runner import prepare
from jan.settings import Settings
from jan.supervisor.instances import ENGINE, MODEL


def parts(settings: Settings) -> list[str]:
    """Name the lines on the board that there are from the start."""
    if not settings.manages_engine:
        return []
    said = settings.deployments
    return [ENGINE, *(part_of(settings, deployment.name, 1) for deployment in said)]


def part_of(settings: Settings, model: str, number: int) -> str:
    """Name an engine's line on the board. That of the only model in the settings needs no name."""
    said = [deployment.name for deployment in settings.deployments]
    name = MODEL if said == [model] else f"{MODEL} {model}"
    return name if number == 1 else f"{name} {number}"


def socket_of(settings: Settings, model: str, number: int) -> Path:
    """Tell where an engine listens."""
    named = settings.runner_socket
    if named is not None and number == 1 and model == settings.deployments[0].name:
        return named
    return sockets.of_engine(settings.home, sockets.place_of(model, number))


@contextmanager
def place(settings: Settings) -> Generator[None]:
    """Make room for what the settings say, and remove what engines of an earlier life left.

    Raises:
        NotFound: there is no such model. Of several, those that are there run without it.
        Misconfigured: no socket can be there.
    """
    if not settings.manages_engine:
        yield
        return
    if len(settings.deployments) == 1:
        prepare.require(settings.home, settings.deployments[0].name)
    _sweep(settings.home)
    for said in settings.deployments:
        path = socket_of(settings, said.name, 1)
        sockets.make_way(path)  # before a gateway trusts what is there
        trouble.clear(path)
    try:
        yield
    finally:
        _sweep(settings.home)


def _sweep(home: Path) -> None:
    for folder in sockets.engines(home).glob("*/"):
        trouble.clear(folder / sockets.NAME)
        sockets.leave(folder / sockets.NAME)
