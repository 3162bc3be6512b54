"""Asking a child of ours over HTTP whether it is there, without an HTTP library."""

import asyncio
from urllib.parse import urlsplit

import anyio

TIMEOUT_S = 1.0
"""Short: a child that dies while it is asked is noticed only afterwards."""


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    with anyio.move_on_after(TIMEOUT_S):
        try:
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
