"""The real engine and the demonstration model, kept between runs."""

from pathlib import Path

import pytest

from jan.runner import progress
from jan.runner.prepare import prepare
from jan.settings import Settings

CACHE = Path(__file__).parents[2] / ".cache"


@pytest.fixture(scope="session")
async def engine_home(anyio_backend: str) -> Path:
    """A JAN_HOME with both in it, installed where missing. Tests must change nothing there."""
    settings = Settings(home=CACHE / "engine-home", engine="cpu")
    with progress.shown() as report:
        await prepare(settings, report)
    return settings.home
