"""Ports for programs that are told theirs before they can take it."""

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Find a port that nobody listens on, and that the kernel gives nobody who asks for any.

    Tests run beside each other: a port of the kernel's may be another's a moment later.
    """
    first = int(KERNELS.read_text(encoding="ascii").split()[0])
    while True:
        port = random.randrange(first // 2, first)
        try:
            with socket.create_server((HOST, port)):
                return port
        except OSError:
            continue
