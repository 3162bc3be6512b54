"""Keeps pages of other sites from acting by a person's cookie (cross-site request forgery).

Cookies are SameSite=Lax: a browser sends them from elsewhere only where it goes to a page of ours,
by GET. So a link could sign somebody out, and what is below the same domain could do anything. The
browser says where a request comes from, and here it is believed: `Sec-Fetch-Site` where it is sent
(https, and this machine), else `Origin`. What says neither is a program, which nobody can make send
a cookie that it was not given; unless it wants a page. That is a browser going somewhere by plain
http, and from where, nobody can tell.
Source: https://www.w3.org/TR/fetch-metadata/; RFC 6265bis, section 8.8.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from jan import clients
from jan.errors import Forbidden

FOREIGN = "This comes from a page of another site. `allowed_origins` names those that may."
UNKNOWN = "Send this by POST: where a GET that wants a page comes from can't be told here."

OURS = frozenset({"same-origin", "none"})
"""Our own pages, and what people do themselves: typed addresses, bookmarks."""

Connection = ASGIConnection[Any, Any, Any, Any]


def made(url: str, trusts: Callable[[bytes], bool]) -> Guard:
    """Make the guard of routes that use cookies or set them.

    `url` is where people reach this Jan; `trusts` tells which other origins are configured.
    """
    parts = urlsplit(url)
    home = f"{parts.scheme}://{parts.netloc}"

    def guard(connection: Connection, _: BaseRouteHandler) -> None:
        """Raise Forbidden where the request is another site's doing."""
        origin = connection.headers.get("origin")
        if origin is not None and trusts(origin.encode("latin-1")):
            return
        site = connection.headers.get("sec-fetch-site")
        if site is not None:
            if site not in OURS:
                raise Forbidden(FOREIGN)
        elif origin is not None:
            if origin != home and not _is_own(origin, connection):
                raise Forbidden(FOREIGN)
        elif is_visit(connection):
            raise Forbidden(UNKNOWN)

    return guard


def is_browser(connection: Connection) -> bool:
    """Whether a browser asks, which may have several tabs with one cookie."""
    return "sec-fetch-site" in connection.headers or "origin" in connection.headers


def is_visit(connection: Connection) -> bool:
    """Whether somebody goes there with a browser, and wants to see a page."""
    is_get = connection.scope.get("method") == "GET"
    return is_get and "text/html" in connection.headers.get("accept", "")


def _is_own(origin: str, connection: Connection) -> bool:
    scheme, _, authority = origin.partition("://")
    # Where a proxy speaks https for us and is not known, we believe that the client speaks http.
    is_no_downgrade = scheme == "https" or not clients.is_secure(connection.scope)
    return authority == connection.headers.get("host") and is_no_downgrade
