"""`jan model`: pull, add, export, list and remove models; `jan.cli.deployments` runs them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import context, deployments, model_plan, model_registry, output

if TYPE_CHECKING:  # `jan --help` must not pay for it
    from jan.runner.progress import Report
    from jan.runner.store import Model

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name in `jan model list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def pull(
    address: Annotated[
        str,
        typer.Argument(
            help="Id on the hub, such as `Qwen/Qwen3-0.6B`, a model of another Jan,"
            " `jan://host/name`, or the demonstration model, `SmolLM2-135M-Instruct`."
        ),
    ],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit. Not said: the main branch.")
    ] = None,
    if_missing: Annotated[
        bool,
        typer.Option("--if-missing", help="Do nothing if it is in the store, whatever is new."),
    ] = False,
) -> None:
    """Download a model, from the Hugging Face hub or another Jan. Run again, it goes on.

    HF_TOKEN is the key to private models of the hub, JAN_ADMIN_KEY to another Jan.
    """
    import asyncio

    from jan.errors import InvalidRequest
    from jan.runner import demonstration, hub, peer, prepare, progress, store

    settings = context.loaded().settings
    room = settings.model_store_max_bytes
    if if_missing:
        name = peer.name_of(address) if peer.is_meant(address) else address
        if store.find(settings.home, name):
            output.say(f"{name} is there already.")
            return

    async def demonstrate(report: "Report") -> "Model":
        engine = await prepare.engine_for(settings, report)  # which converts it
        return await demonstration.install(settings.home, engine, report)

    with progress.shown() as report:
        if address == demonstration.NAME:
            model = asyncio.run(demonstrate(report))
        elif peer.is_meant(address):
            if revision is not None:
                raise InvalidRequest("Another Jan has one revision of a model.", param="revision")
            key = None if settings.admin_key is None else settings.admin_key.get_secret_value()
            model = peer.pull(settings.home, address, key, report, max_bytes=room)
        else:
            model = hub.pull(
                settings.home, address, revision=revision, report=report, max_bytes=room
            )
    _tell(model)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder with weights in safetensors files.")],
    name: Annotated[
        str | None, typer.Option(help="Name to serve it under. Not said: that of the folder.")
    ] = None,
) -> None:
    """Take a model from a folder of this machine. The folder may be deleted afterwards."""
    from jan.runner import store

    folder = folder.absolute()
    settings = context.loaded().settings
    room = settings.model_store_max_bytes
    _tell(store.add(settings.home, name or folder.name, folder, max_bytes=room))


@app.command("list")
def list_models(*, json: Json = False) -> None:
    """List the models that can be served."""
    from jan.runner import sizes, store

    settings = context.loaded().settings
    models = store.models(settings.home)
    rows = [
        (m.name, sizes.in_words(m.size_bytes), m.source, m.added_at, m.note or "") for m in models
    ]
    output.data(
        [_as_data(model) for model in models],
        as_json=json,
        text=output.table(("name", "size", "source", "added", "note"), rows),
    )
    room = settings.model_store_max_bytes
    if room is not None:
        held = sizes.in_words(store.used_bytes(settings.home))
        output.say(f"The store holds {held} and may hold {sizes.in_words(room)}.")


@app.command()
def show(name: Name, *, json: Json = False) -> None:
    """Show where a model came from and which files it has."""
    from jan.runner import sizes, store

    model = store.get(context.loaded().settings.home, name)
    facts = {
        "name": model.name,
        "source": model.source,
        "revision": model.revision or "-",
        "added": f"{model.added_at.astimezone():%Y-%m-%d %H:%M}",
        "folder": model.folder,
        "note": model.note or "-",
    }
    files = [(path, sizes.in_words(f.size_bytes), f.sha256) for path, f in model.files.items()]
    text = "\n".join(f"{label:9} {value}" for label, value in facts.items())
    output.data(
        _as_data(model),
        as_json=json,
        text=f"{text}\n\n{output.table(('file', 'size', 'sha-256'), files)}",
    )


@app.command()
def remove(name: Name) -> None:
    """Delete a model from the store."""
    from jan.runner import sizes, store

    model = store.remove(context.loaded().settings.home, name)
    output.say(f"Removed {model.name}, {sizes.in_words(model.size_bytes)}.")


@app.command()
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write, a tar; `-` for standard output.")],
) -> None:
    """Write a model into one file, for a machine without a network."""
    import sys

    from jan.errors import Conflict
    from jan.runner import archive, progress, store

    model = store.get(context.loaded().settings.home, name)
    with progress.shown() as report:
        if str(file) == "-":
            archive.export(model, sys.stdout.buffer, report)
            sys.stdout.buffer.flush()
            return
        try:
            target = file.open("xb")
        except FileExistsError:
            raise Conflict(f"There is a file {file} already.") from None
        try:
            with target:
                archive.export(model, target, report)
        except BaseException:
            file.unlink()  # half a model is none
            raise
    output.say(f"{file} holds {model.name}. `jan model import {file.name}` takes it in.")


@app.command("import")
def take_in(
    file: Annotated[Path, typer.Argument(help="What `export` wrote; `-` is standard input.")],
    name: Annotated[str | None, typer.Option(help="Another name to serve it under.")] = None,
) -> None:
    """Take a model from a file that `jan model export` has written."""
    import sys

    from jan.errors import NotFound
    from jan.runner import archive, progress

    settings = context.loaded().settings
    room = settings.model_store_max_bytes
    with progress.shown() as report:
        if str(file) == "-":
            source = sys.stdin.buffer
            model = archive.take_in(settings.home, source, report, name=name, max_bytes=room)
        else:
            try:
                opened = file.open("rb")
            except (FileNotFoundError, IsADirectoryError):
                raise NotFound(f"There is no file {file}.") from None
            with opened:
                model = archive.take_in(settings.home, opened, report, name=name, max_bytes=room)
    _tell(model)


@app.command()
def prune(
    *,
    unused_for: Annotated[
        str | None, typer.Option(help="Models too that were not served for so long, such as `30d`.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what could go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove what downloads that died have left, and models that nobody serves."""
    from dataclasses import asdict

    from jan.cli import api, durations
    from jan.runner import pruning, sizes

    settings = context.loaded().settings
    age = durations.parse(unused_for, param="unused-for") if unused_for else None
    wanted = {deployment.name for deployment in settings.deployments}
    if age is not None:  # those that operators have loaded are in the database
        deployed = api.run(lambda jan: jan.all("/v1/admin/deployments"))
        wanted |= {deployment["model"] for deployment in deployed}
    surplus = pruning.found(settings.home, unused_for=age, wanted=wanted)
    rows = [(each.name, sizes.in_words(each.size_bytes), each.reason) for each in surplus]
    output.data(
        [asdict(each) for each in surplus],
        as_json=json,
        text=output.table(("name", "size", "why"), rows),
    )
    if dry_run or not surplus:
        return
    api.confirm(f"Remove these {len(surplus)}?", yes=yes)
    freed_bytes = pruning.remove(settings.home, surplus)
    output.say(f"{sizes.in_words(freed_bytes)} are free again.")


def _tell(model: "Model") -> None:
    from jan.runner import sizes

    output.say(
        f"{model.name} is in the store, {sizes.in_words(model.size_bytes)}. "
        f"Serve it with `jan serve --model {model.name}`."
    )


def _as_data(model: "Model") -> dict[str, Any]:
    return {
        "name": model.name,
        "source": model.source,
        "revision": model.revision,
        "size_bytes": model.size_bytes,
        "files": {
            path: {"size_bytes": file.size_bytes, "sha256": file.sha256}
            for path, file in model.files.items()
        },
        "added_at": model.added_at,
        "folder": model.folder,
        "note": model.note,
    }


deployments.register(app)
app.command()(model_plan.plan)
model_registry.register(app)
