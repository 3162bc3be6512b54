"""What a pool tells of itself."""

import asyncio

from jan.db import pool as pools


async def test_those_who_wait_for_a_connection_are_counted(database_url: str) -> None:
    async with pools.make(database_url, size=1, application_name="test") as pool:

        async def borrow() -> None:
            async with pools.borrowed(pool, wait_s=5):
                pass

        before = pools.waiting(pool)
        async with pools.borrowed(pool, wait_s=5):
            waiting = asyncio.create_task(borrow())
            async with asyncio.timeout(5):
                while not pools.waiting(pool):
                    await asyncio.sleep(0.002)
            during = pools.waiting(pool)
        await waiting

        assert (before, during, pools.waiting(pool)) == (0, 1, 0)
