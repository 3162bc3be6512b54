"""`python -m images PROFILE` builds the container image of an executable, into one file.

Run it by `just image`, which builds the executable first. The Dockerfile gets the folder of the
executable and nothing else of the checkout. The same executable on the same base gives the same
image: everything in it is as old as the commit, which the executable's manifest tells.
"""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "images"
REPOSITORY = "jan-server"
"""As the chart names the image of gateways. Others have their profile behind it."""
BUILDERS = ("docker", "buildah")

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command(help=__doc__)
def main(
    profile: Annotated[str, typer.Argument(help="One that has a Dockerfile in `images/`.")],
    base: Annotated[
        str | None, typer.Option(help="Image to build on: its name, and for a release its digest.")
    ] = None,
    builder: Annotated[
        str | None, typer.Option(help="`docker` or `buildah`. Not said: the first that is here.")
    ] = None,
    executable: Annotated[Path | None, typer.Option(help="Not said: `dist/PROFILE/jan`.")] = None,
    out: Annotated[Path | None, typer.Option(help="Not said: `dist/PROFILE/image.tar`.")] = None,
) -> None:
    dockerfile = FOLDER / f"{profile}.Dockerfile"
    if not dockerfile.is_file():
        raise SystemExit(f"error: there is no {dockerfile}.")
    folder = executable.parent if executable else ROOT / "dist" / profile
    identity = json.loads((folder / "manifest.json").read_bytes())
    out = out or folder / "image.tar"
    name = f"{_repository(profile)}:{identity['version']}"
    said = {
        "VERSION": identity["version"],
        "REVISION": identity["commit"],
        "SOURCE_DATE_EPOCH": identity["made_at_s"],
        **({"BASE": base} if base else {}),
    }
    words = ["--file", dockerfile, "--tag", name]
    words += [word for each in said.items() for word in ("--build-arg", "{}={}".format(*each))]
    if (chosen := _chosen(builder)) == "buildah":
        words += ["--timestamp", identity["made_at_s"]]
    for argv in _commands(chosen, [*map(str, words), str(folder)], name, out):
        if subprocess.run(argv, check=False).returncode:
            raise SystemExit(f"error: {argv[0]} failed; it says above why.")
    typer.echo(f"{out}: {name}, {out.stat().st_size / 1e6:.0f} MB, {_digest(out)}")


def _repository(profile: str) -> str:
    return REPOSITORY if profile == "gateway" else f"{REPOSITORY}-{profile}"


def _chosen(builder: str | None) -> str:
    for each in (builder,) if builder else BUILDERS:
        if each in BUILDERS and shutil.which(each):
            return each
    raise SystemExit(f"error: {builder or ' and '.join(BUILDERS)} is not here to build with.")


def _commands(builder: str, words: list[str], name: str, out: Path) -> list[list[str]]:
    """Tell what to run, one after the other."""
    if builder == "docker":
        output = f"type=oci,dest={out},rewrite-timestamp=true"
        how = ("--provenance=false", "--output", output)
        return [["docker", "buildx", "build", *how, *words]]
    # By chroot, which wants no container engine. OCI's format has no health check; the other one
    # tells by which container it was built, and so is another each time.
    how = ("--isolation", "chroot", "--format", "oci", "--identity-label=false")
    out.unlink(missing_ok=True)  # buildah writes over no archive
    return [
        ["buildah", "build", *how, *words],
        ["buildah", "push", "--quiet", name, f"oci-archive:{out}:{name}"],
    ]


def _digest(archive: Path) -> str:
    """Read what names the image, and is its digest in a registry, too."""
    with tarfile.open(archive) as files:
        index = files.extractfile("index.json")
        assert index
        return json.load(index)["manifests"][0]["digest"]


app()
