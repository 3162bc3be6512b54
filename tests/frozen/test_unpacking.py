"""The one file unpacks itself once, whole or not at all, and says what is in the way."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.frozen.conftest import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VERSION = "-c", "import sys; print(sys.executable)"
"""Any quick command will do; this one tells where it was unpacked to."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"


def unpacked(executable: Path, cache: Path) -> Path:
    """Run it. Returns the folder that it runs in."""
    said = run([executable, *VERSION], {"JAN_CACHE": str(cache)})
    assert said.returncode == 0, said.stderr
    return Path(said.stdout.strip()).parent


def refused(executable: Path, **environ: str) -> str:
    """Run it in vain. Returns what it says."""
    said = run([executable, *VERSION], environ)
    assert (said.returncode, said.stdout) == (1, "")
    return said.stderr


def test_it_unpacks_once(executable: Path, cache: Path) -> None:
    folder = unpacked(executable, cache)
    made = folder.stat().st_ino

    assert unpacked(executable, cache).stat().st_ino == made
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [folder.name]


def test_two_at_once_unpack_once(executable: Path, cache: Path) -> None:
    environ = {**os.environ, "JAN_CACHE": str(cache)}
    argv = [executable, *VERSION]
    runs = [subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) for _ in range(3)]

    assert len({each.communicate(timeout=120)[0] for each in runs}) == 1
    assert [each.returncode for each in runs] == [0, 0, 0]
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_what_a_kill_left_behind_is_removed(executable: Path, cache: Path) -> None:
    (cache / ".unpack.new" / "_internal").mkdir(parents=True)

    folder = unpacked(executable, cache)

    assert [path.name for path in cache.iterdir() if path.is_dir()] == [folder.name]


def test_other_versions_are_removed_unless_they_run(executable: Path, cache: Path) -> None:
    idle, busy, strange = cache / "jan-0.0.1-gateway-a", cache / "jan-0.0.2-gateway-b", cache / "x"
    for folder in (idle, busy, strange):
        (folder / "_internal").mkdir(parents=True)
    holder = os.open(busy, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_SH)

    folder = unpacked(executable, cache)
    os.close(holder)

    assert {path.name for path in cache.iterdir() if path.is_dir()} == {
        *(folder.name, busy.name, strange.name)
    }


def test_one_that_runs_holds_its_folder(executable: Path, cache: Path) -> None:
    environ = {**os.environ, "JAN_CACHE": str(cache)}
    argv = [executable, "-c", "input()"]
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE) as running:
        folder = unpacked(executable, cache)
        holder = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert running.stdin
        running.stdin.close()
    fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(holder)


def test_a_damaged_file_is_refused(executable: Path, cache: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "jan"
    shutil.copy(executable, damaged)
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        file.write(b"damage")

    assert "damaged" in refused(damaged, JAN_CACHE=str(cache))
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_cache_that_others_may_write_to_is_refused(executable: Path, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)

    assert "not yours alone" in refused(executable, JAN_CACHE=str(cache))


def test_a_cache_that_can_not_be_made_is_named(executable: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(executable, JAN_CACHE=str(tmp_path / "file" / "cache"))

    assert str(tmp_path) in said
    assert "hint: JAN_CACHE" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_cache_where_nothing_may_run_is_named(executable: Path, cache: Path) -> None:
    cache.mkdir()
    mount = 'mount -t tmpfs -o noexec,mode=755 tmpfs "$JAN_CACHE" && exec "$@"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]

    said = run([*argv, executable, *VERSION], {"JAN_CACHE": str(cache)})

    assert said.returncode == 1
    assert "noexec" in said.stderr


def test_a_strict_umask_keeps_nobody_out(executable: Path, cache: Path) -> None:
    """PostgreSQL's own user reads its libraries there, if it can reach them."""
    environ = {**os.environ, "JAN_CACHE": str(cache)}
    subprocess.run([executable, *VERSION], env=environ, umask=0o077, check=True)

    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    assert (folder / "_internal").stat().st_mode & 0o777 == 0o755
    assert (folder / "jan").stat().st_mode & 0o777 == 0o755
