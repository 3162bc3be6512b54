"""Answers requests about responses that are stored. Everything is as it was told, to the letter."""

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from jan import pages
from jan.caller import Caller
from jan.chat.passage import Send
from jan.chat.request import Receive
from jan.errors import InvalidRequest
from jan.pages import Page, Wanted
from jan.permissions import Scope as Permission
from jan.responses import store

NUMBER = re.compile(r"[0-9]{1,9}")


async def page(scope: MutableMapping[str, Any], _: Receive, send: Send) -> None:
    """Answer `GET /v1/responses`, whose path takes streams too.

    Raises:
        JanError: as `store.page` and `wanted`.
    """
    caller: Caller = scope["user"]
    caller.require(Permission.RESPONSES_READ)
    body = shown(await store.page(caller, wanted(scope["query_string"])))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def shown(page: Page[Any]) -> bytes:
    """Write a page of what is stored."""
    return msgspec.json.encode(pages.mapped(page, lambda each: each.body))


def wanted(query: bytes) -> Wanted:
    """Read which page of a list a URL means. The newest are first, as OpenAI has it.

    Raises:
        InvalidRequest: as `pages.read`.
    """
    said = dict(parse_qsl(query.decode("latin-1")))
    limit = said.get("limit")
    if limit is not None and not NUMBER.fullmatch(limit):
        raise InvalidRequest("`limit` is a whole number, at least 1.", param="limit")
    return pages.read(
        None if limit is None else int(limit),
        said.get("after"),
        said.get("before"),
        said.get("order"),
        said.get("last"),
        default_order="desc",
    )
