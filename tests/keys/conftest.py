"""The tenants and what they stand on."""

from tests.box import box
from tests.gateways import upstream
from tests.tenants import tenants

__all__ = ["box", "tenants", "upstream"]
