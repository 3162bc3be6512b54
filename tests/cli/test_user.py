"""`jan user reset-link`, as a program."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jan import keyring, settings
from jan.auth import owners, people
from jan.auth.codes import Codes
from jan.db.engine import Database
from tests.cli.test_key import jan


@pytest.fixture
def environment(home: Path, database_url: str) -> dict[str, str]:
    return {**os.environ, "JAN_HOME": str(home), "JAN_DATABASE_URL": database_url}


async def test_a_link_for_a_new_password_is_printed_and_works(
    environment: dict[str, str], home: Path, database: Database
) -> None:
    await owners.appoint(["ada@example.com"])

    plain = await jan(environment, "user", "reset-link", "Ada@example.com")
    run = await jan(
        environment, "user", "reset-link", "ada@example.com", "--url", "https://jan.x", "--json"
    )

    assert plain.stdout.startswith("http://127.0.0.1:8080/reset?code=")
    link = json.loads(run.stdout)["url"]
    assert link.startswith("https://jan.x/reset?code=")
    codes = Codes(keyring.load(settings.load({"home": home}).settings).api_key_secret)
    code = urlsplit(link).query.removeprefix("code=")
    person = await people.by_id(await codes.check("password_reset", code) or "")
    assert person is not None
    assert person.email == "ada@example.com"


async def test_nobody_s_link_is_refused_in_words(
    environment: dict[str, str], database: Database
) -> None:
    run = await jan(environment, "user", "reset-link", "nobody@example.com")

    assert run.returncode == 1
    assert run.stdout == ""
    assert "nobody@example.com" in run.stderr
