"""Certificates and settings for mail."""

from pathlib import Path
from typing import Any

import pytest

from jan import settings
from jan.settings import Settings
from tests.mail.servers import HOST, Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for the run."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def mail_settings(home: Path, port: int, **more: Any) -> Settings:
    """Settings that name a mail server on this machine."""
    named = {"smtp_host": HOST, "smtp_port": port, "smtp_sender_email": "Jan <jan@example.com>"}
    return settings.load({"home": home, **named, **more}, environ={}).settings
