"""Run by test_namespace.py in a network namespace: tries everything, prints what came of it."""

import asyncio
import json
import socket

from jan import settings
from jan.errors import UrlNotFetched, UrlRefused
from jan.net.guard import Guard

PUBLIC = ("93.184.216.34", "2606:4700::1111")
PRIVATE = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200", "::1", "fd00:ec2::254")
GOOD = (
    *("http://93.184.216.34/", "http://1572395042/", "http://[2606:4700::1111]/"),
    "http://[::ffff:93.184.216.34]/",
)
BAD = (
    *("http://10.0.0.1/", "http://169.254.169.254/", "http://100.100.100.200/", "http://[::1]/"),
    *("http://[fd00:ec2::254]/", "http://localhost/", "http://localhost./", "http://127.0.0.1/"),
    *("http://167772161/", "http://0xa000001/", "http://10.1/", "http://2852039166/"),
    *("http://[::ffff:169.254.169.254]/", "http://[::ffff:a00:1]/", "http://[64:ff9b::a00:1]/"),
    *("http://0/", "http://[::]/", "http://127.1/", "http://017700000001/"),
    *(f"http://93.184.216.34/to/{host}" for host in ("10.0.0.1", "169.254.169.254", "[::1]")),
)


async def main() -> None:
    visitors = 0

    async def serve_public(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if target.startswith(b"/to/"):
            where = b"location: http://%b/\r\n" % target.removeprefix(b"/to/")
            writer.write(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n" + where + b"\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npublic")
        writer.close()

    async def serve_private(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visitors
        visitors += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
        writer.close()

    for host in PUBLIC:
        await asyncio.start_server(serve_public, host, 80)
    for host in PRIVATE:
        await asyncio.start_server(serve_private, host, 80)
        with socket.create_connection((host, 80)) as sure_of_it:
            await asyncio.get_running_loop().run_in_executor(None, sure_of_it.recv, 1)
    sure = visitors

    fetched: dict[str, str] = {}
    refused: dict[str, str] = {}
    async with Guard.configured(settings.load({}, environ={}).settings) as guard:
        for url in (*GOOD, *BAD):
            try:
                fetched[url] = (await guard.fetch(url)).body.decode()
            except UrlRefused as error:
                refused[url] = error.message
            except UrlNotFetched as error:
                fetched[url] = error.message
    told = {
        "fetched": fetched,
        "refused": refused,
        "visitors_of_private_addresses": visitors - sure,
    }
    print(json.dumps(told))  # noqa: T201 - how the test learns of it


if __name__ == "__main__":
    asyncio.run(main())
