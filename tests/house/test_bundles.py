"""An executable has all that the code looks for beside itself."""

import re
from pathlib import Path

import pytest

from bundles.profile import ROOT, Profile

PROFILES = [path.parent.name for path in ROOT.glob("bundles/*/bundle.toml")]
WITH_EXECUTABLE = [
    name
    for name in PROFILES
    if "[executable]" in (ROOT / "bundles" / name / "bundle.toml").read_text(encoding="utf-8")
]
NOT_SHIPPED = {"jan/README.md"}


@pytest.fixture(params=WITH_EXECUTABLE)
def shipped(request: pytest.FixtureRequest) -> set[str]:
    """Places of what goes in without being code."""
    return {file.inside for file in Profile.read(request.param).shipped_files()}


def test_there_is_an_executable_of_everything_but_an_engine() -> None:
    assert "gateway" in WITH_EXECUTABLE


def test_every_file_in_the_package_that_is_no_code_is_shipped(shipped: set[str]) -> None:
    files = [path for path in (ROOT / "jan").rglob("*") if path.is_file()]
    beside = {
        path.relative_to(ROOT).as_posix() for path in files if path.suffix not in {".py", ".pyc"}
    }

    assert beside - shipped - NOT_SHIPPED == set()


def test_every_asset_that_the_code_names_is_shipped(shipped: set[str]) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "jan").rglob("*.py"))
    named = set(re.findall(r'assets\.path\("([^"]+)"\)', code))

    assert named
    assert [name for name in named if not any(_is_in(place, name) for place in shipped)] == []


def test_migrations_are_files_of_their_own(shipped: set[str]) -> None:
    """Piccolo lists them, so they are shipped as files and not as modules."""
    names = {path.name for path in (ROOT / "jan/db/migrations").glob("m*.py")}

    assert {Path(place).name for place in shipped if "/migrations/m" in place} == names


def _is_in(place: str, name: str) -> bool:
    return place == name or place.startswith(f"{name}/")
