"""A request on its way to a model: what is sent, for whom, and what of it each server gets to see.

The body goes on as the client wrote it, byte for byte, but for two things: the model's name, where
the server has another one for it, and the salt of the prefix cache.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from jan.caller import Caller
from jan.errors import InvalidRequest
from jan.inference.registry import Endpoint
from jan.telemetry import Exchange

JSON = b"application/json"
SALTED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages"})
"""Paths on which vLLM takes a salt."""
SALT_PURPOSE = b"jan prefix cache"

Headers = Iterable[tuple[bytes, bytes]]

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Ask:
    """One request. It is sent to one server after another, if need be."""

    __slots__ = (
        "asked_as",
        "body",
        "caller",
        "content_type",
        "exchange",
        "headers",
        "model",
        "name_span",
        "native",
        "renamed",
        "session",
        "target",
    )

    def __init__(  # noqa: PLR0913 - as much as there is to know about a request
        self,
        target: bytes,
        headers: Headers,
        body: bytes,
        exchange: Exchange,
        *,
        model: str,
        asked_as: str | None = None,
        session: str | None = None,
        content_type: bytes = JSON,
        native: bytes | None = None,
        name_span: tuple[int, int] | None = None,
    ) -> None:
        """Take what is sent, and the exchange that it is part of, whose caller is known by now."""
        assert exchange.caller is not None
        self.target = target
        """Path and query."""
        self.headers = headers
        self.body = body
        self.exchange = exchange
        """Is told where the request went."""
        self.caller = exchange.caller
        self.model = model
        """Which is found in the catalog."""
        self.asked_as = asked_as or model
        """What the body says."""
        self.session = session
        """What several requests with the same beginning have in common, if anybody says."""
        self.content_type = content_type
        self.native = native
        """What is asked of servers that are no Jan, where that is called otherwise."""
        self.name_span = name_span
        """Where in the body the model's name stands, if that is no JSON."""
        self.renamed: tuple[str, bytes] | None = None
        """The body with another name for the model, as it was needed last."""

    @property
    def path(self) -> str:
        """Of the target."""
        return self.target.partition(b"?")[0].decode()

    def target_for(self, endpoint: Endpoint) -> bytes:
        """Tell what is asked of a server."""
        return self.native if self.native is not None and endpoint.kind != "jan" else self.target

    def body_for(self, name: str, salt: str | None) -> bytes:
        """Write the body for a server that calls the model `name`."""
        body = self.body
        if name != self.asked_as:
            if self.renamed is None or self.renamed[0] != name:
                span = self.name_span
                anew = renamed(body, name) if span is None else spliced(body, span, name)
                self.renamed = name, anew
            body = self.renamed[1]
        if salt is not None and self.path in SALTED:
            body = salted(body, salt)
        return body


class Salts:
    """Makes the salts by which tenants do not see from the time it takes what others asked.

    vLLM shares what it has computed of a prompt only between requests of the same salt. A project's
    can't be guessed, and is the same in all processes, at all times.
    """

    def __init__(self, api_key_secret: str) -> None:
        self._key = hmac.digest(api_key_secret.encode(), SALT_PURPOSE, hashlib.sha256)
        self._known: dict[str, str] = {}

    def of(self, caller: Caller) -> str:
        """Tell a caller's: their project's, or their own if they are in none."""
        whose = caller.project_id or caller.owner_id or caller.kind
        salt = self._known.get(whose)
        if salt is None:
            if len(self._known) > 10_000:  # noqa: PLR2004 - it is made again in microseconds
                self._known.clear()
            salt = hmac.digest(self._key, whose.encode(), hashlib.sha256).hex()
            self._known[whose] = salt
        return salt


def salted(body: bytes, salt: str) -> bytes:
    """Add a salt, as the last member: of several of one name, the last one counts.

    However a client spells a salt of its own, it stands before ours.

    Source: https://docs.python.org/3/library/json.html#repeated-names-within-an-object
    """
    end = body.rindex(b"}")
    return b'%b,"cache_salt":"%b"}' % (body[:end], salt.encode())


def renamed(body: bytes, name: str) -> bytes:
    """Write a JSON body with another model."""
    try:
        members = _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Escapes of lone surrogates are JSON (RFC 8259, section 8.2), but not msgspec's.
        request: dict[str, Any] = json.loads(body)
        try:
            return json.dumps(request | {"model": name}, allow_nan=False).encode()
        except ValueError:
            raise InvalidRequest("The request body holds a number that is too large.") from None
    members["model"] = msgspec.Raw(msgspec.json.encode(name))
    return msgspec.json.encode(members)


def spliced(body: bytes, span: tuple[int, int], name: str) -> bytes:
    """Write a body with another model in a place."""
    return b"%b%b%b" % (body[: span[0]], name.encode(), body[span[1] :])


def has_side_effect(endpoint: Endpoint, body: bytes) -> bool:
    """Whether a request leaves something at a provider: such a one is not sent twice."""
    if endpoint.kind == "runner" or not (b'"store"' in body or b"\\u" in body):
        return False
    try:
        said = _members.decode(body).get("store")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return True  # who knows
    return said is not None and bytes(said) not in {b"false", b"null"}
