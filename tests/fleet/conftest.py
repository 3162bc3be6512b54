"""The tenants and what they stand on."""

from tests.gateways import upstream
from tests.tenants import tenants

__all__ = ["tenants", "upstream"]
