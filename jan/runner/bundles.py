"""The engines that Jan can install: one folder of `bundles/` each, with its lock file."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jan import assets

PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Bundle:
    """What an engine variant consists of."""

    variant: str
    package: str
    """Distribution that holds vLLM."""
    version: str
    python: str
    """Version of Python that the lock was made for, such as `3.11`."""
    download_bytes: int
    installed_bytes: int
    lock: Path
    torch_backend: str | None = None
    """uv's name for the PyTorch index to use; None where the usual index has the right build."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `[engine]` of `bundle.toml` in a folder that is named as the variant."""
        data = tomllib.loads((folder / "bundle.toml").read_text(encoding="utf-8"))["engine"]
        return cls(variant=folder.name, lock=folder / "engine.lock", **data)

    @property
    def name(self) -> str:
        """Folder of the installed engine, such as `cpu-0.32.0`."""
        return f"{self.variant}-{self.version}"

    @property
    def pins(self) -> dict[str, str]:
        """Version of every distribution in the lock, by normalized name."""
        pinned = PINNED.findall(self.lock.read_text(encoding="utf-8"))
        return {normalized(name): version for name, version in pinned}

    @property
    def lock_sha256(self) -> str:
        """Tells two locks of one version apart."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()


def find(variant: str) -> Bundle:
    """The bundle of a variant, as shipped with this Jan."""
    return Bundle.read(assets.path(f"bundles/{variant}"))


def normalized(name: str) -> str:
    """One spelling for a distribution's name. Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
