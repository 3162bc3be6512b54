"""Where settings are written: the environment and `jan.toml`, read as they stand.

Nothing else in Jan reads the environment; what is meant for programs that Jan starts is handed on
by `inherited`.
"""

import difflib
import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jan.errors import Misconfigured

CONFIG = "jan.toml"
SYSTEM_HOME = Path("/var/lib/jan")
"""JAN_HOME of root, and of the service."""
SYSTEM_CONFIG = Path("/etc/jan")
"""Where the settings for that home may be too."""

ALIASES = {
    "DB_POSTGRESQL_WRITE_DSN": "database_url",
    "DB_POSTGRESQL_READ1_DSN": "database_read_urls",
    "INVITE_REDIRECT_URL": "invite_redirect_url",
    "JWT_SECRET": "jwt_secret",
    "APIKEY_SECRET": "api_key_secret",
    "ALLOWED_CORS_HOSTS": "allowed_origins",
    "OAUTH2_GOOGLE_CLIENT_ID": "oauth2_google_client_id",
    "OAUTH2_GOOGLE_CLIENT_SECRET": "oauth2_google_client_secret",
    "OAUTH2_GOOGLE_REDIRECT_URL": "oauth2_google_redirect_url",
    "ORGANIZATION_ADMIN_EMAILS": "organization_admin_emails",
    "SMTP_HOST": "smtp_host",
    "SMTP_PORT": "smtp_port",
    "SMTP_USERNAME": "smtp_username",
    "SMTP_PASSWORD": "smtp_password",
    "SMTP_SENDER_EMAIL": "smtp_sender_email",
    "SERPER_API_KEY": "serper_api_key",
    "REDIS_URL": "redis_url",
    "REDIS_PASSWORD": "redis_password",
}
"""Jan Server's names for the same settings. `JAN_*` wins where both are set."""

EXECUTABLE = "JAN_EXECUTABLE"
"""Names the one file that this program was unpacked from."""
NOT_SETTINGS = frozenset({"JAN_CONFIG", "JAN_VERSION", "JAN_CACHE", EXECUTABLE})
"""Variables of ours that say where to look rather than how to behave."""

NEVER_EMPTY = frozenset({"jwt_secret", "api_key_secret"})
"""An empty variable is how shells and Kubernetes say "unset". For these that would silently replace
what the operator meant to configure with a secret of our own."""


def inherited(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for programs of others: ours, without any setting or secret of Jan's."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("JAN_") and name not in ALIASES
    }


def executable() -> Path | None:
    """Tell which file the head of an executable says it is."""
    said = os.environ.get(EXECUTABLE)
    return Path(said) if said else None


def made_at() -> datetime | None:
    """Tell when what is made now was made, where it is to be the same each time that it is.

    Source: https://reproducible-builds.org/specs/source-date-epoch/

    Raises:
        Misconfigured: it says no time.
    """
    said = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(said), UTC) if said else None
    except (ValueError, OverflowError, OSError):
        raise Misconfigured("SOURCE_DATE_EPOCH is no number of seconds since 1970.") from None


def variable(name: str) -> str:
    """Name the variable of a setting."""
    return f"JAN_{name.upper()}"


def read_environment(
    environ: Mapping[str, str], names: Iterable[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read values by setting, and the variable that each came from.

    Raises:
        Misconfigured: a variable looks like one of ours and is none.
    """
    known = {variable(name): name for name in names}
    found: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for its_name, name in {**ALIASES, **known}.items():  # JAN_* last: it wins
        value = environ.get(its_name)
        if value is None or (value == "" and name not in NEVER_EMPTY):
            continue
        found[name], variables[name] = value, its_name
    for other in environ:
        if other.startswith("JAN_") and other not in known and other not in NOT_SETTINGS:
            raise Misconfigured(
                f"Unknown variable {other} in the environment.{_nearest(other, known)}"
            )
    return found, variables


def find_file(named: Path | None, home: Path) -> Path | None:
    """Find `jan.toml`: the one that is named, else in the working directory, else in JAN_HOME.

    For the system's home it may be in the system's folder of settings, too.

    Raises:
        Misconfigured: the named one is not there.
    """
    if named is not None:
        if not named.is_file():
            raise Misconfigured(f"There is no configuration file {named}.")
        return named.absolute()
    folders = [Path.cwd(), home]
    if home == SYSTEM_HOME:
        folders.append(SYSTEM_CONFIG)
    for folder in folders:
        with suppress(PermissionError):  # whoever needs the folder says so better
            if (folder / CONFIG).is_file():
                return (folder / CONFIG).absolute()
    return None


def read_file(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read values by setting.

    Raises:
        Misconfigured: the file can't be read, or has what is no setting.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"Can't read {path}: {error}") from None
    for name in content:
        if name == "home":
            raise Misconfigured(f"`home` can't be set in {path}: it says where to look for it.")
        if name not in names:
            near = _nearest(name, names)
            raise Misconfigured(f"Unknown setting `{name}` in {path}.{near}")
    return content


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
