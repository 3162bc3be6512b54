"""Secrets are made once, kept private, and never weakened."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from jan import keyring
from jan.errors import Misconfigured
from jan.settings import Settings


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "new/home")

    first, second = keyring.load(settings), keyring.load(settings)

    assert first == second
    assert len({first.jwt_secret, first.api_key_secret, first.database_password}) == 3
    assert stat.S_IMODE((settings.home / "secrets.toml").stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: keyring.load(settings), range(32)))

    assert all(ring == rings[0] for ring in rings)
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.toml"]


def test_a_configured_secret_is_used_and_not_written(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, jwt_secret=SecretStr("configured" * 4))

    ring = keyring.load(settings)

    assert ring.jwt_secret == "configured" * 4
    assert "configured" not in (tmp_path / "secrets.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", ["", "jwt_secret = 3\n", 'jwt_secret = "short"\n', "\x00", "not toml"]
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)

    for look in (keyring.load, keyring.check):
        with pytest.raises(Misconfigured):
            look(Settings(home=tmp_path))

    assert path.read_text(encoding="utf-8") == content


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    keyring.load(settings)
    (tmp_path / "secrets.toml").chmod(0o644)

    with pytest.raises(Misconfigured, match="can be read by others") as refusal:
        keyring.load(settings)

    assert refusal.value.hint
    assert "chmod 600" in refusal.value.hint


def test_checking_makes_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "new")

    assert not keyring.check(settings)
    assert not settings.home.exists()
    keyring.load(settings)
    assert keyring.check(settings)


def test_a_keyring_shows_no_secret(tmp_path: Path) -> None:
    ring = keyring.load(Settings(home=tmp_path))

    assert ring.api_key_secret not in repr(ring)


def test_previous_secrets_come_along_unseen(tmp_path: Path) -> None:
    previous = (SecretStr("older" * 8), SecretStr("oldest" * 8))

    ring = keyring.load(Settings(home=tmp_path, jwt_previous_secrets=previous))

    assert ring.jwt_previous_secrets == ("older" * 8, "oldest" * 8)
    assert "older" not in repr(ring)


def test_a_derived_key_depends_on_the_secret_and_the_purpose() -> None:
    keys = [keyring.derive(*of) for of in (("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"))]

    assert [len(key) for key in keys] == [32] * 4
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
