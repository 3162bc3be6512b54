"""Who has set pip up for a mirror need not do it again for uv."""

from pathlib import Path

from jan.runner import uv
from jan.sources import ALIASES


def test_settings_of_pip_are_said_in_the_words_of_uv() -> None:
    environ = {"PIP_FIND_LINKS": "/a /b", "PIP_INDEX_URL": "http://mirror.test/simple"}

    child = uv.environment(Path("/engines"), environ)

    assert child["UV_FIND_LINKS"] == "/a,/b"
    assert child["UV_DEFAULT_INDEX"] == "http://mirror.test/simple"


def test_settings_of_uv_win_over_those_of_pip() -> None:
    environ = {"PIP_FIND_LINKS": "/a", "UV_FIND_LINKS": "/b", "UV_CACHE_DIR": "/c"}

    child = uv.environment(Path("/engines"), environ)

    assert child["UV_FIND_LINKS"] == "/b"
    assert child["UV_CACHE_DIR"] == "/c"


def test_our_secrets_are_none_of_its_business() -> None:
    environ = {"JAN_JWT_SECRET": "s", **dict.fromkeys(ALIASES, "s"), "HOME": "/root"}

    child = uv.environment(Path("/engines"), environ)

    assert "s" not in child.values()
    assert child["HOME"] == "/root"


def test_only_folders_of_this_machine_are_looked_into(tmp_path: Path) -> None:
    links = f"https://wheels.test/,{tmp_path},file://{tmp_path},/absent"

    assert uv.find_links({"UV_FIND_LINKS": links}) == [tmp_path, tmp_path]
