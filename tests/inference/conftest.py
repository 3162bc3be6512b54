"""The gateway's fixtures."""

from tests.gateways import client, upstream

__all__ = ["client", "upstream"]
