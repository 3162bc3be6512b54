"""`jan setup`: the first owner's link."""

import asyncio
from typing import Annotated

import typer

from jan.cli import context, output


def setup(
    url: Annotated[
        str | None, typer.Option(help="Where Jan is reached, if not where settings say.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print a link for the first owner of this Jan. It works once, within 24 hours.

    A link that was printed before is void. `jan serve` has to be running when it is opened.
    """
    from jan import keyring
    from jan.auth import owners
    from jan.auth.codes import Codes
    from jan.db import session

    loaded = context.loaded(public_url=url)

    async def run() -> str:
        async with session.opened(loaded):
            codes = Codes(keyring.load(loaded.settings).api_key_secret)
            return await owners.link(codes=codes, url=loaded.settings.url)

    link = asyncio.run(run())
    output.say("Open this link within 24 hours, and tell who you are:")
    output.data({"url": link}, as_json=json, text=link)
