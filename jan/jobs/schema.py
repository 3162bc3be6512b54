"""pgqueuer's tables, as Jan names them. The migrations make them; here is what they are called.

pgqueuer would take the names from variables such as `CHANNEL` or `QUEUE_TABLE`, which a machine may
have set for something else: Jan says all of them itself.
"""

from typing import Any

from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.domain.settings import DBSettings
from pgqueuer.ports.driver import Driver
from pgqueuer.queries import Queries


class Names(DBSettings):
    """pgqueuer's defaults, whatever the environment says."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: Any,  # noqa: ARG003 - it and the others: where pydantic would read
        init_settings: Any,
        env_settings: Any,  # noqa: ARG003
        dotenv_settings: Any,  # noqa: ARG003
        file_secret_settings: Any,  # noqa: ARG003
    ) -> tuple[Any, ...]:
        """Read from nowhere."""
        return (init_settings,)


NAMES = Names()


def queries(driver: Driver) -> Queries:
    """Make the statements of pgqueuer on these names."""
    return Queries(
        driver,
        QueryBuilderEnvironment(NAMES),
        QueryQueueBuilder(NAMES),
        QuerySchedulerBuilder(NAMES),
    )
