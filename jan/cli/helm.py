"""`jan helm`: Jan on Kubernetes, without the helm program for all but the installation."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import api, context, output

if TYPE_CHECKING:  # `jan --help` must not pay for them
    from jan.deployments import Deployment
    from jan.helm.rendering import Manifest, Release
    from jan.keyring import Keyring
    from jan.settings import Settings

app = typer.Typer(no_args_is_help=True)

DIFFERS = 1
TROUBLE = 2

Files = Annotated[
    list[Path] | None,
    typer.Option("--values", "-f", help="A file with values; the last of several wins."),
]
Name = Annotated[str, typer.Option(help="Name of the release.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where it is installed.")]


@app.command()
def values(
    secrets: Annotated[
        Path | None,
        typer.Option(help="Write the Secrets that the values name into this file, in clear."),
    ] = None,
) -> None:
    """Print what runs here as values of the chart, with secrets by reference.

    That is: the settings, the models with their part of this machine, and model servers elsewhere.
    While `jan serve` runs, what operators told it is among them.
    """
    from jan.helm import carry, documents
    from jan.runner import hardware

    settings = context.loaded().settings
    deployments, providers = _told(settings)
    found = carry.carry(
        settings,
        _keyring(settings),
        hardware.chosen(settings.engine),
        deployments=deployments,
        providers=providers,
    )
    for note in found.notes:
        output.say(f"Not carried over: {note}.")
    if secrets is not None:
        _write_secrets(secrets, "---\n".join(map(documents.write, carry.secret_manifests(found))))
    for name, keys in found.secrets.items():
        lacking = [key for key, value in keys.items() if value is None] if secrets else list(keys)
        if lacking:
            output.say(f"The values name the Secret {name}, to be made with {', '.join(lacking)}.")
    output.data(None, as_json=False, text=documents.write(found.values).rstrip())


@app.command()
def chart(folder: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")]) -> None:
    """Write the chart into a folder, for `helm install`. An older one in it is replaced."""
    from jan.helm import chart

    files = chart.write(folder)
    output.say(f"Wrote {len(files)} files. helm install jan {folder} --values VALUES")


@app.command()
def template(
    files: Files = None,
    name: Name = "jan",
    namespace: Namespace = "default",
    *,
    notes: Annotated[bool, typer.Option("--notes", help="Print what helm tells.")] = False,
) -> None:
    """Print the manifests, as `helm template` does."""
    from jan.helm import chart, merging, rendering

    release = rendering.Release(name, namespace)
    if notes:
        whole = chart.read(chart.folder())
        merged = _merged(files or [])
        merging.check(merged, chart.schema())
        output.data(None, as_json=False, text=rendering.notes(whole, merged, release).strip())
        return
    manifests = _rendered(files or [], release)
    made = [each.object["metadata"]["name"] for each in manifests if each.kind == "Secret"]
    if made:
        output.say(
            f"The Secrets {', '.join(made)} are made anew at each run. Applied again they would"
            " make keys and passwords worthless: name Secrets of yours, or install with helm."
        )
    text = "".join(f"---\n# Source: {each.source}\n{each.text}\n" for each in manifests)
    output.data(None, as_json=False, text=text.rstrip("\n"))


@app.command()
def diff(
    old: Annotated[
        Path, typer.Argument(help="Values, or manifests: of helm, or out of a cluster.")
    ],
    files: Files = None,
    name: Name = "jan",
    namespace: Namespace = "default",
) -> None:
    """Print what the values would change: against older ones, or against manifests.

    Manifests are the output of `helm get manifest` or `kubectl get -o yaml`, for an upgrade of that
    release, or of `jan helm template`. Values of Secrets are neither compared nor shown. Exits with
    0 if nothing differs, 1 if something does, 2 on trouble.
    """
    from jan.errors import COMPLAINT, JanError
    from jan.helm import diff, documents, rendering

    try:
        release = rendering.Release(name, namespace)
        there = documents.parse(_text(old), origin=str(old))
        if diff.is_manifests(there):
            before = diff.objects(there)
            release = replace(release, is_upgrade=not diff.has_hooks(before))
        else:
            before = [each.object for each in _rendered([old], release)]
        lines = diff.compare(before, [each.object for each in _rendered(files or [], release)])
    except JanError as error:  # 1 is taken: it says that something differs
        output.say(f"{COMPLAINT}{error.message}")
        raise typer.Exit(TROUBLE) from None
    if lines:
        output.data(None, as_json=False, text="\n".join(lines))
        raise typer.Exit(DIFFERS)


def _merged(files: list[Path]) -> dict[str, Any]:
    from jan.helm import chart, documents, merging

    return merging.merged(chart.read(chart.folder()), map(documents.one, files))


def _rendered(files: list[Path], release: "Release") -> "list[Manifest]":
    from jan.helm import chart, merging, rendering

    merged = _merged(files)
    merging.check(merged, chart.schema())
    return rendering.render(chart.read(chart.folder()), merged, release)


def _text(path: Path) -> str:
    from jan.errors import Misconfigured

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"Can't read {path}: {error}.") from None


def _keyring(settings: "Settings") -> "Keyring | None":
    """The secrets that keys are stored under, if there are any yet. Makes none."""
    from jan import keyring

    if keyring.check(settings):
        return keyring.load(settings)
    if settings.jwt_secret is None or settings.api_key_secret is None:
        return None
    said = (settings.jwt_secret, settings.api_key_secret)
    return keyring.Keyring(*(secret.get_secret_value() for secret in said), database_password="")


def _told(settings: "Settings") -> "tuple[list[Deployment] | None, list[dict[str, Any]]]":
    """What operators told the Jan that runs here, and nothing where none does."""
    from jan.deployments import Deployment
    from jan.fleet import deployed
    from jan.supervisor import lock

    if not lock.is_held(settings.run_dir):
        return None, []

    async def ask(jan: api.Api) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return await jan.all("/v1/admin/deployments"), await jan.all("/v1/admin/providers")

    loaded, providers = api.run(ask)
    deployments = [
        Deployment(name=each["model"], **{key: each[key] for key in deployed.OPTIONS})
        for each in loaded
        if each["wanted"] != "unloaded"
    ]
    return deployments, [each for each in providers if each["managed_by"] == "operator"]


def _write_secrets(path: Path, text: str) -> None:
    """Write a file that nobody else may read, from its first byte on."""
    import os

    from jan.errors import Misconfigured

    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Misconfigured(f"Can't write {path}: {error.strerror}.") from None
