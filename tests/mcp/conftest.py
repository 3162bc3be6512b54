"""Fixtures of the MCP server's tests."""

from tests.gateways import client, gateway, upstream
from tests.tenants import tenants

__all__ = ["client", "gateway", "tenants", "upstream"]
