"""The secrets of this Jan, in `JAN_HOME/secrets.toml` where the operator configured none.

Made once, readable by the owner alone, never changed: with `api_key_secret` all keys are lost.
"""

import os
import secrets
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jan.errors import Misconfigured
from jan.settings import Settings
from jan.values import MIN_SECRET_BYTES

FILE = "secrets.toml"
NAMES = ("jwt_secret", "api_key_secret", "database_password")


@dataclass(frozen=True)
class Keyring:
    """Secrets in clear. Its repr shows none of them."""

    jwt_secret: str = field(repr=False)
    """Signs sign-in tokens (HMAC-SHA256)."""
    api_key_secret: str = field(repr=False)
    """Keys the HMAC under which API keys are stored."""
    database_password: str = field(repr=False)
    """Of Jan's own PostgreSQL; without meaning for one that is configured by URL."""
    jwt_previous_secrets: tuple[str, ...] = field(default=(), repr=False)
    """What `jwt_secret` was before. What was signed or sealed under one of them can be read."""


def derive(secret: str, purpose: str) -> bytes:
    """Make a key of 32 bytes for one purpose, so that no two uses of a secret share a key.

    Source: https://www.rfc-editor.org/rfc/rfc5869
    """
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"jan/{purpose}".encode())
    return kdf.derive(secret.encode())


def check(settings: Settings) -> bool:
    """Look for what `load` would refuse. Returns whether there is a file yet, and makes none.

    Raises:
        Misconfigured: as `load`.
    """
    path = settings.home / FILE
    try:
        if not path.exists():
            return False
        _read(path)
    except OSError as error:
        raise _unusable(path, error) from None
    return True


def load(settings: Settings) -> Keyring:
    """Read the secrets, making what is missing. Several processes may do so at once.

    Raises:
        Misconfigured: the file can't be read or written, is open to others, or is damaged.
    """
    path = settings.home / FILE
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o711)
        _create(path)
        kept = _read(path)
    except OSError as error:
        raise _unusable(path, error) from None
    if settings.jwt_secret is not None:
        kept["jwt_secret"] = settings.jwt_secret.get_secret_value()
    if settings.api_key_secret is not None:
        kept["api_key_secret"] = settings.api_key_secret.get_secret_value()
    previous = tuple(secret.get_secret_value() for secret in settings.jwt_previous_secrets)
    return Keyring(**kept, jwt_previous_secrets=previous)


def _unusable(path: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"Can't keep secrets in {path}: {error.strerror}.",
        hint="Give JAN_HOME a folder that you may write to.",
    )


def _create(path: Path) -> None:
    """Write the file whole or not at all; the first of several processes wins."""
    if path.exists():
        return
    lines = (f'{name} = "{secrets.token_hex(MIN_SECRET_BYTES)}"' for name in NAMES)
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:  # made with mode 0600
        draft.write("\n".join(lines) + "\n")
        draft.flush()
        os.fsync(draft.fileno())
        with suppress(FileExistsError):
            os.link(draft.name, path)  # unlike rename it refuses to replace


def _read(path: Path) -> dict[str, str]:
    if path.stat().st_mode & 0o077:
        raise Misconfigured(
            f"{path} can be read by others than its owner.", hint=f"chmod 600 {path}"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"Can't read {path}: {error}") from None
    for name in NAMES:
        value = content.get(name)
        if not isinstance(value, str) or len(value.encode()) < MIN_SECRET_BYTES:
            raise Misconfigured(
                f"`{name}` in {path} is missing or shorter than {MIN_SECRET_BYTES} bytes.",
                hint="Restore the file from a backup: keys made with another secret stop working.",
            )
    return {name: content[name] for name in NAMES}
