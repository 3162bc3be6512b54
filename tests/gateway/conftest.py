"""The gateway's fixtures."""

from tests.gateways import client, gateway, upstream
from tests.tenants import tenants

__all__ = ["client", "gateway", "tenants", "upstream"]
