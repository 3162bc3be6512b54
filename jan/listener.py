"""Listening sockets, and words for why one can't be had.

`jan serve` binds once and every gateway worker inherits: a dead worker's connections go to the
others, and the port is never lost between two lives.
"""

import errno
import socket

from jan.errors import Misconfigured

BACKLOG = 2048
"""Connections that wait while every worker is busy or being restarted."""

LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 nothing is bound here
"""Where what listens on all addresses is found from this machine."""


OPTIONS = ("--host", "--port")
"""What an operator chooses the address of the gateway by."""


def listen(host: str, port: int, *, options: tuple[str, str] = OPTIONS) -> socket.socket:
    """Bind and listen. Port 0 takes any free one; a hint names the `options` for both.

    Raises:
        Misconfigured: the address can't be had; the hint says what to do.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise Misconfigured(
            f"There is no address `{host}`: {error.strerror}.",
            hint="Use an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all.",
        ) from None
    except OSError as error:
        reason, hint = _explain(error.errno, port, *options)
        raise Misconfigured(f"Can't listen on {host}:{port}: {reason}.", hint=hint) from None


def url(listener: socket.socket) -> str:
    """Where a client on this machine finds the socket, such as `http://127.0.0.1:8080`."""
    host, port = listener.getsockname()[:2]
    local = LOCAL.get(host, str(host))
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def _explain(number: int | None, port: int, for_host: str, for_port: str) -> tuple[str, str]:
    if number == errno.EADDRINUSE:
        who = f"`ss -ltnp 'sport = :{port}'` names it."
        return (
            "another program uses that port",
            f"{who} Stop it, or choose another port with {for_port}.",
        )
    if number == errno.EACCES:
        return (
            "ports below 1024 are for root",
            "Choose another port, or lower net.ipv4.ip_unprivileged_port_start by sysctl.",
        )
    if number == errno.EADDRNOTAVAIL:
        return (
            "this machine has no such address",
            "`ip address` lists those it has; 0.0.0.0 stands for all of them.",
        )
    reason = errno.errorcode.get(number or 0, "unknown error")
    return (reason, f"Choose another address with {for_host} or {for_port}.")
