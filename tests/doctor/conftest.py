"""A gateway to find on its port."""

from tests.gateways import gateway, upstream

__all__ = ["gateway", "upstream"]
