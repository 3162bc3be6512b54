"""`jan model set|alias|unalias|aliases|registry`: what is said of models, whoever serves them."""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import quote

import typer

from jan.cli import api, output
from jan.cli.api import Json
from jan.errors import InvalidRequest

MODELS, ALIASES = "/v1/admin/models", "/v1/admin/aliases"
MICRO = 1_000_000
COLUMNS = {
    "model": "id",
    "providers": "who",
    "enabled": "enabled",
    "prompt $/M": "prompt",
    "cached $/M": "cached",
    "completion $/M": "completion",
    "context": "context_length",
    "falls back to": "instead",
}

Name = Annotated[str, typer.Argument(help="By which clients ask for it.")]
Price = Annotated[str | None, typer.Option(help="Dollars for a million tokens, such as 0.15.")]


def set_(
    name: Name,
    *,
    prompt_price: Price = None,
    completion_price: Price = None,
    cached_price: Price = None,
    context_length: Annotated[int | None, typer.Option(help="In tokens.")] = None,
    capability: Annotated[list[str] | None, typer.Option(help="What it can do; repeated.")] = None,
    owned_by: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    fallback: Annotated[
        list[str] | None, typer.Option(help="A model that stands in for it; repeated, best first.")
    ] = None,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Offer it.")] = None,
    json: Json = False,
) -> None:
    """Say what a model costs, can do, and what stands in for it."""
    said = {
        "prompt_price": _micro(prompt_price),
        "completion_price": _micro(completion_price),
        "cached_price": _micro(cached_price),
        "context_length": context_length,
        "capabilities": capability or None,
        "owned_by": owned_by,
        "fallbacks": fallback or None,
        "enabled": enable,
    }
    fields = {field: value for field, value in said.items() if value is not None}
    if not fields:
        raise InvalidRequest("Nothing is said of it.")
    made = api.run(lambda jan: jan.patch(f"{MODELS}/{quote(name)}", **fields))
    output.shown(made if json else _shown(made), COLUMNS, as_json=json)


def registry(*, json: Json = False) -> None:
    """List the models that can be asked for or of which something is said, whoever serves them."""
    found = api.run(lambda jan: jan.all(MODELS))
    output.listing(found if json else [_shown(each) for each in found], COLUMNS, as_json=json)


def alias(
    name: Annotated[str, typer.Argument(help="The other name.")],
    target: Annotated[str, typer.Argument(help="The model that it stands for.")],
    *,
    json: Json = False,
) -> None:
    """Give a model another name, or have that name stand for another model."""
    made = api.run(lambda jan: jan.post(ALIASES, alias=name, model=target))
    output.shown(made, {"alias": "id", "model": "model"}, as_json=json)


def unalias(name: Annotated[str, typer.Argument(help="The other name.")]) -> None:
    """Take another name away."""
    api.run(lambda jan: jan.delete(f"{ALIASES}/{quote(name)}"))
    output.say(f"{name} stands for nothing any more.")


def aliases(*, json: Json = False) -> None:
    """List other names of models."""
    found = api.run(lambda jan: jan.all(ALIASES))
    output.listing(found, {"alias": "id", "model": "model"}, as_json=json)


def register(app: typer.Typer) -> None:
    """Make them commands of `jan model`."""
    app.command("set")(set_)
    for command in (registry, alias, unalias, aliases):
        app.command()(command)


def _micro(dollars: str | None) -> int | None:
    if dollars is None:
        return None
    try:
        micro = Decimal(dollars) * MICRO
        if micro != int(micro):
            raise InvalidRequest(f"`{dollars}` is finer than a millionth of a dollar.")
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequest(f"`{dollars}` is no number of dollars, such as 0.15.") from None
    return int(micro)


def _shown(model: dict[str, Any]) -> dict[str, Any]:
    def dollars(field: str) -> str | None:
        micro = model[field]
        return None if micro is None else f"{Decimal(micro) / MICRO:f}"

    return {
        **model,
        "who": ", ".join(model["providers"]) or None,
        "prompt": dollars("prompt_price"),
        "cached": dollars("cached_price"),
        "completion": dollars("completion_price"),
        "instead": ", ".join(model["fallbacks"]) or None,
    }
