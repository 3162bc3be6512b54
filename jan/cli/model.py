"""`jan model`: pull, add, list and remove models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jan.cli import context, output

if TYPE_CHECKING:  # `jan --help` must not pay for it
    from jan.runner.store import Model

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name in `jan model list`.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def pull(
    hub_id: Annotated[str, typer.Argument(help="Id on the hub, such as `Qwen/Qwen3-0.6B`.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit. Not said: the main branch.")
    ] = None,
) -> None:
    """Download a model from the Hugging Face hub. Run again, it goes on where it stopped."""
    from jan.runner import hub, progress

    home = context.loaded().settings.home
    with progress.shown() as report:
        model = hub.pull(home, hub_id, revision=revision, report=report)
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
    _tell(store.add(context.loaded().settings.home, name or folder.name, folder))


@app.command("list")
def list_models(*, json: Json = False) -> None:
    """List the models that can be served."""
    from jan.runner import sizes, store

    models = store.models(context.loaded().settings.home)
    rows = [
        (m.name, sizes.in_words(m.size_bytes), m.source, m.added_at, m.note or "") for m in models
    ]
    output.data(
        [_as_data(model) for model in models],
        as_json=json,
        text=output.table(("name", "size", "source", "added", "note"), rows),
    )


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
