"""One look at an instance: it is asked for its models, and says by its answer how it is.

What it answers is believed as far as it can be read, and no further: a server elsewhere may answer
anything.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import unquote, urlsplit

import msgspec

from jan.inference.client import Client, Unreachable
from jan.inference.connection import Connection, ConnectionLost
from jan.inference.registry import Capability, Endpoint, Served

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of a list of models. The longest seen, of a reseller of hundreds, had a tenth of it."""
MAX_MODELS = 2000
MAX_NAME_LENGTH = 256
MAX_NUMBER = 2**53
"""What JSON's readers agree on."""
UNUSABLE = "its URL can't be used"
TARGET = b"/v1/models"
CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""What servers call the longest context: vLLM, Jan and OpenRouter, Groq, Mistral."""
CAPABILITIES: frozenset[str] = frozenset(Capability.__args__)

UNREADABLE = (msgspec.MsgspecError, json.JSONDecodeError, UnicodeDecodeError, RecursionError)


class Unwell(Exception):
    """The instance would not answer a request, or not as it should. Says why, without secrets."""

    def __init__(self, words: str, *, is_gone: bool = False, is_settled: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.is_gone = is_gone
        """Whether no request at all would be answered."""
        self.is_settled = is_settled
        """Whether it stays so until somebody does something: no need to look often."""


class Busy(Exception):
    """It answers, and has no time for this: that says neither good nor bad."""


class _NoList(ValueError):
    pass


async def look(client: Client, endpoint: Endpoint, *, timeout_s: float) -> tuple[Served, ...]:
    """Ask for its models: at least one, each once, in its order.

    Raises:
        Unwell, Busy: as they say.
    """
    headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity")]
    if endpoint.api_key:
        headers.append((b"authorization", b"Bearer " + endpoint.api_key.encode()))
    try:
        async with asyncio.timeout(timeout_s):
            async with client.request(b"GET", TARGET, headers) as answer:
                if answer.status == 200:  # noqa: PLR2004
                    listed = _models(await _body(answer))
                else:
                    listed = _instead(answer.status, endpoint)
    except TimeoutError:
        raise Unwell(f"no answer within {timeout_s:g} s") from None
    except Unreachable as error:
        raise Unwell(str(error), is_gone=True) from None
    except ConnectionLost as error:
        raise Unwell(str(error)) from None
    except (_NoList, *UNREADABLE):  # before what they are kinds of
        raise Unwell("its list of models can't be read", is_gone=True) from None
    except ValueError:
        raise Unwell(UNUSABLE, is_gone=True, is_settled=True) from None
    if not listed:  # it answers, but no chat would be answered
        raise Unwell("the model server has no model", is_gone=True)
    return listed


def socket_of(url: str) -> Path | None:
    """Tell where an engine of this node listens. None: it is somewhere else."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "unix" else None


def is_near(url: str) -> bool:
    """Whether it is on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


async def _body(answer: Connection) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    while part := await answer.read():
        size_bytes += len(part)
        if size_bytes > MAX_ANSWER_BYTES:
            raise Unwell("its list of models is too long", is_gone=True)
        parts.append(part)
    return b"".join(parts)


def _instead(status: int, endpoint: Endpoint) -> tuple[Served, ...]:
    """Make what can be made of an answer that is no list."""
    match status:
        case 401 | 403 if endpoint.api_key:
            words = f"it refuses the API key (status {status})"
            raise Unwell(words, is_gone=True, is_settled=True)
        case 401 | 403:
            words = f"it wants an API key (status {status})"
            raise Unwell(words, is_gone=True, is_settled=True)
        case 404 | 405 if endpoint.only_models:
            return tuple(Served(name, owned_by=endpoint.provider) for name in endpoint.only_models)
        case 404 | 405:
            words = f"it does not list its models (status {status}), and none are named for it"
            raise Unwell(words, is_gone=True, is_settled=True)
        case 429:
            raise Busy
        case _:
            raise Unwell(f"status {status}")


def _models(body: bytes) -> tuple[Served, ...]:
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        said = json.loads(body)  # which takes half characters and endless numbers, as some write
    listed = said.get("data") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise _NoList
    found = (_model(each) for each in listed[:MAX_MODELS])
    return tuple({served.id: served for served in found if served is not None}.values())


def _model(said: Any) -> Served | None:
    """Read what can be read. None: it has no name that could be asked for, or kept."""
    if not isinstance(said, dict):
        return None
    name = said.get("id")
    if not _is_text(name):
        return None
    owner = said.get("owned_by")
    able = said.get("capabilities")
    return Served(
        id=name,
        created=_number(said.get("created")) or 0,
        owned_by=owner if _is_text(owner) else "jan",
        max_model_len=next(filter(None, (_number(said.get(name)) for name in CONTEXTS)), None),
        capabilities=_capabilities(able) if isinstance(able, list) else None,
    )


def _is_text(said: object) -> TypeGuard[str]:
    return isinstance(said, str) and 0 < len(said) <= MAX_NAME_LENGTH and said.isprintable()


def _capabilities(said: list[Any]) -> tuple[Any, ...] | None:
    """Of a Jan elsewhere. Others have lists of that name with other words in them."""
    return tuple(word for word in said if isinstance(word, str) and word in CAPABILITIES) or None


def _number(said: object) -> int | None:
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    try:
        number = int(said)
    except (ValueError, OverflowError):  # not a number, or endless
        return None
    return number if 0 <= number <= MAX_NUMBER else None
