"""By which names MCP clients may call Jan, from which web pages, and where they are told it is.

A strange web page can make its own name lead to this machine (DNS rebinding): to the browser, Jan
is then part of that page's site. The name it asks for gives it away, and so does the origin that
the browser adds. Whoever asks by an IP address was not led here by a name.
Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#security-warning
"""

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from jan import clients
from jan.errors import Forbidden, UnknownHost
from jan.permissions import DATA_PLANE, Scope
from jan.settings import Settings
from jan.trust import as_address

METADATA = "/.well-known/oauth-protected-resource"
"""Source: https://www.rfc-editor.org/rfc/rfc9728#section-3"""

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::[0-9]{1,5})?", re.ASCII)


def names(settings: Settings) -> frozenset[str]:
    """Tell by which names Jan goes, as settings say and as this machine is called."""
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    origins = [urlsplit(origin).netloc for origin in settings.allowed_origins]
    found = {own, short, f"{short}.local", _name(settings.host), *map(_name, origins)}
    return frozenset(found.union(settings.mcp_allowed_hosts) - {""})


class Site:
    """The names of this Jan."""

    def __init__(
        self,
        public_url: str | None = None,
        names: Iterable[str] = (),
        trusts: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """Take where people reach this Jan, more names of it, and which web pages are trusted."""
        self._public_url = public_url
        self._names = frozenset({*names, _name(urlsplit(public_url or "").netloc)})
        self._trusts = trusts

    def admit(self, scope: Mapping[str, Any]) -> None:
        """Let in whoever calls Jan by a name of its own, from no strange web page.

        Raises:
            UnknownHost: it is called by another name, or by none.
            Forbidden: the page is of an origin that is not trusted.
        """
        host = _header(scope, b"host")
        if not (_HOST.fullmatch(host) and self._goes_by(_name(host))):
            raise UnknownHost(
                "Jan does not go by the name in `Host`: name it in `mcp_allowed_hosts`, or set"
                " `public_url`."
            )
        origin = _header(scope, b"origin")
        if origin and not self._is_trusted(origin, host):
            raise Forbidden(
                "This comes from a page of another site. `allowed_origins` names those that may."
            )

    def url(self, scope: Mapping[str, Any]) -> str:
        """Tell where whoever asks reaches this Jan, without a slash at the end."""
        if self._public_url is not None:
            return self._public_url
        return f"{'https' if clients.is_secure(scope) else 'http'}://{_header(scope, b'host')}"

    def challenge(self, scope: Mapping[str, Any]) -> str:
        """Say where it is told how to come in, as `WWW-Authenticate` has it."""
        return f'Bearer resource_metadata="{self.url(scope)}{METADATA}{scope["path"]}"'

    def metadata(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Describe what is protected, for whoever has no credential yet.

        Jan issues its credentials itself. It takes no registrations of OAuth clients.
        """
        url, path = self.url(scope), scope["path"].removeprefix(METADATA)
        return {
            "resource": f"{url}{path}",
            "resource_name": "Jan",
            "authorization_servers": [url],
            "bearer_methods_supported": ["header"],
            "scopes_supported": sorted(str(each) for each in DATA_PLANE & _USED),
        }

    def _goes_by(self, name: str) -> bool:
        return (
            as_address(name) is not None
            or name == "localhost"
            or name.endswith(".localhost")
            or name in self._names
        )

    def _is_trusted(self, origin: str, host: str) -> bool:
        netloc = urlsplit(origin).netloc
        return (
            netloc == host
            or origin == self._public_url
            or _is_loopback(_name(netloc))
            or self._trusts(origin.encode("latin-1"))
        )


_USED = frozenset(
    {Scope.TOOLS_USE, Scope.MODELS_READ, Scope.CONVERSATIONS_READ, Scope.RESPONSES_READ}
)


def _is_loopback(name: str) -> bool:
    address = as_address(name)
    if address is not None:
        return address.is_loopback
    return name == "localhost" or name.endswith(".localhost")


def _name(host: str) -> str:
    return clients.without_port(host).lower().rstrip(".")


def _header(scope: Mapping[str, Any], wanted: bytes) -> str:
    """Find a header that may be there once. Several contradict each other, and count as none."""
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[0].decode("latin-1").strip() if len(found) == 1 else ""
