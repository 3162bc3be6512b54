"""An image holds what it must and no more, belongs to root, and is the same each time."""

import json
import stat
from pathlib import Path

import pytest

from tests.images.conftest import Image, built, make_base, unpacked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds it

OWN = {"etc/passwd", "etc/group", "opt/jan", "var/lib/jan"}
"""All that is added to the base."""


def places(root: Path) -> set[str]:
    """Everything in a root file system, by its place."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_the_same_executable_gives_the_same_bytes(
    gateway: Image, storage: dict[str, str], executable: Path, tmp_path: Path
) -> None:
    with unpacked(built(storage, "gateway", executable, tmp_path)) as again:
        assert again.digest == gateway.digest


def test_nothing_but_jan_is_added(gateway: Image, tmp_path: Path) -> None:
    make_base(tmp_path / "base")

    added = places(gateway.root) - places(tmp_path / "base")

    assert {each for each in added if not any(each.startswith(own) for own in OWN)} == set()


def test_its_user_can_change_the_home_only(gateway: Image) -> None:
    uid, gid = map(int, gateway.config["User"].split(":"))
    for path in [gateway.root / own for own in OWN] + list((gateway.root / "opt").rglob("*")):
        status = path.lstat()
        if path == gateway.root / "var/lib/jan":
            assert (status.st_uid, status.st_gid) == (uid, gid)
        elif not path.is_symlink():
            assert (status.st_uid, status.st_gid) == (0, 0), path
            assert status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) == 0, path
    assert list((gateway.root / "var/lib/jan").iterdir()) == []


def test_nothing_in_it_is_younger_than_the_commit(gateway: Image, executable: Path) -> None:
    made_at_s = json.loads((executable.parent / "manifest.json").read_bytes())["made_at_s"]

    times = {path.lstat().st_mtime for path in (gateway.root / "opt/jan").rglob("*")}

    assert times == {made_at_s}


def test_it_says_what_it_is(gateway: Image, executable: Path) -> None:
    identity = json.loads((executable.parent / "manifest.json").read_bytes())
    labels = gateway.config["Labels"]

    assert labels["org.opencontainers.image.version"] == identity["version"]
    assert labels["org.opencontainers.image.revision"] == identity["commit"]
    assert gateway.config["StopSignal"] == "SIGTERM"
    assert set(gateway.config["ExposedPorts"]) == {"8080/tcp", "6060/tcp"}
    assert set(gateway.config["Volumes"]) == {"/var/lib/jan"}


def test_its_bill_of_materials_is_the_executables(gateway: Image, executable: Path) -> None:
    inside = gateway.root / "opt/jan/sbom.cdx.json"

    assert inside.read_bytes() == (executable.parent / "sbom.cdx.json").read_bytes()


def test_certificates_are_where_the_environment_says(gateway: Image) -> None:
    authorities = gateway.root / gateway.environ["SSL_CERT_FILE"].lstrip("/")

    assert authorities.read_text(encoding="utf-8").count("BEGIN CERTIFICATE") > 100
