"""The gateway's fixtures."""

from tests.gateways import client, gateway, upstream

__all__ = ["client", "gateway", "upstream"]
