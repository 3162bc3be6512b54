"""The gateway's fixtures."""

from tests.box import box
from tests.gateways import client, gateway, upstream
from tests.tenants import tenants

__all__ = ["box", "client", "gateway", "tenants", "upstream"]
