"""Providers that stand for the real ones, and toolboxes that ask them."""

from collections.abc import AsyncIterator

import pytest

from jan.caller import Caller
from tests.fakes import FakeUpstream
from tests.gateways import CALLER
from tests.tools import providers


@pytest.fixture
async def serper() -> AsyncIterator[FakeUpstream]:
    """A server that stands for both of Serper's."""
    fake = await providers.started(search=providers.serper_search, scrape=providers.serper_scrape)
    yield fake
    await fake.kill()


@pytest.fixture
async def searxng() -> AsyncIterator[FakeUpstream]:
    """A server that stands for a SearXNG."""
    fake = await providers.started(search=providers.searxng_search)
    yield fake
    await fake.kill()


@pytest.fixture
def caller() -> Caller:
    """Somebody with a key of a project."""
    return CALLER
