"""Asking a child of ours over HTTP whether it is there, without an HTTP library."""

import asyncio
from urllib.parse import unquote, urlsplit

import anyio

TIMEOUT_S = 1.0
"""Short: a child that dies while it is asked is noticed only afterwards."""


async def answers(url: str, path: str) -> bool:
    """Whether a GET of `path` at the URL, perhaps `unix:///socket`, is answered with 200."""
    parts = urlsplit(url)
    host = parts.netloc or "localhost"
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    with anyio.move_on_after(TIMEOUT_S):
        try:
            if parts.scheme == "unix":
                reader, writer = await asyncio.open_unix_connection(unquote(parts.path))
            else:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError:
            return False
        try:
            writer.write(request.encode())
            status = await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()
        return status.split()[1:2] == [b"200"]
    return False
