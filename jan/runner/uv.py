"""uv as a child process: what it is told, and where it may look for packages."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import uv

from jan import process
from jan.errors import Unavailable
from jan.sources import inherited

FROM_PIP = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}
"""Who configured pip for this machine's registry or mirror need not do it again for uv."""

REASON = "error: "
"""Before what went wrong; then follow causes, and what it has tried."""

COMMA_SEPARATED = frozenset({"UV_FIND_LINKS"})
"""pip separates several values by spaces, as uv does everywhere else."""


def environment(engines: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment, with pip's settings said in uv's words where uv has none."""
    child = inherited(environ)
    for theirs, ours in FROM_PIP.items():
        if said := child.get(theirs):
            separator = "," if ours in COMMA_SEPARATED else " "
            child.setdefault(ours, separator.join(said.split()))
    # Beside the engines: on one file system uv links files rather than copying them.
    child.setdefault("UV_CACHE_DIR", str(engines / ".cache"))
    child.setdefault("UV_PYTHON_INSTALL_DIR", str(engines / ".python"))
    return child


def find_links(environ: Mapping[str, str]) -> list[Path]:
    """Folders on this machine in which uv looks for wheels."""
    links = environ.get("UV_FIND_LINKS", "").split(",")
    paths = [Path(unquote(urlsplit(link).path)) for link in links if link.startswith("file:")]
    paths += [Path(link) for link in links if link and "://" not in link]
    return [path for path in paths if path.is_dir()]


def only_from(wheels: Path) -> tuple[str, ...]:
    """Options by which uv takes packages from a folder and asks nobody."""
    return ("--offline", "--no-index", "--find-links", str(wheels))


async def run(
    arguments: Sequence[str | Path],
    *,
    engines: Path,
    on_line: Callable[[str], None] | None = None,
) -> list[str]:
    """Run uv and return its last lines. It ends with us, however we end.

    Raises:
        Unavailable: it failed; its last lines are in the hint.
    """
    argv = [uv.find_uv_bin(), *arguments, "--color", "never"]
    environ = environment(engines)
    if environ.get("PIP_NO_INDEX") and arguments[0] == "pip" and "--no-index" not in argv:
        argv.append("--no-index")
    async with process.spawn(argv, env=environ, name="uv", on_line=on_line, cwd=engines) as child:
        if await child.wait() != 0:
            what = f"`uv {shlex.join(str(word) for word in arguments[:2])}` failed"
            raise Unavailable(
                f"{what}: {reason}" if (reason := _reason(child.last_lines)) else f"{what}.",
                hint="\n".join(child.last_lines[-12:]) or None,
            )
        return child.last_lines


def _reason(lines: Sequence[str]) -> str | None:
    """The line by which uv begins to say why."""
    reasons = [line.removeprefix(REASON) for line in lines if line.startswith(REASON)]
    return reasons[0] if reasons else None


async def interpreter(python: str, *, engines: Path) -> Path:
    """A Python of that version: this one where it fits, else another, fetched if need be."""
    if python == "{}.{}".format(*sys.version_info):
        return Path(sys.executable)
    try:
        found = await run(["python", "find", python, "--no-python-downloads"], engines=engines)
    except Unavailable:
        await run(["python", "install", python, "--no-bin"], engines=engines)
        found = await run(["python", "find", python, "--managed-python"], engines=engines)
    return Path(found[-1])
