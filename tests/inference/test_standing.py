"""How the fleet is told to stand."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jan.inference.condition import Condition
from jan.inference.registry import Endpoint, Served, State
from jan.inference.standing import NOBODY, described

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Known:
    """An endpoint, and how it is."""

    endpoint: Endpoint
    condition: Condition


def known(
    state: State, hours: int = 0, error: str | None = None, number: int = 1, **more: Any
) -> Known:
    condition = Condition()
    condition.state, condition.since, condition.last_error = state, NOON + hours * HOUR, error
    served = (Served(f"m{number}"),)
    values: dict[str, Any] = {
        "id": f"ep_{number}",
        "url": "http://secret-host",
        "served": served,
    } | more
    return Known(Endpoint(**values), condition)


def told(*instances: Known) -> dict[str, Any]:
    return described(instances, {"ep_1": {"ejected": 2, "healthy": 3}}, begun_at=NOON)


def test_without_anybody_nobody_answers() -> None:
    said = told()

    assert (said["ok"], said["last_error"], said["models"]) == (False, NOBODY, [])


def test_one_that_is_well_is_enough() -> None:
    said = told(known("healthy", 1), known("ejected", 2, "Connection refused", 2))

    assert (said["ok"], said["since"]) == (True, "2026-01-05T13:00:00Z")
    assert said["models"] == ["m1"]
    assert said["last_error"] == "Connection refused"
    [first, second] = said["endpoints"]
    assert (first["state"], first["changes"], first["ejections"]) == ("healthy", 5, 2)
    assert (second["state"], second["models"], second["ejections"]) == ("ejected", ["m2"], 0)
    assert "secret-host" not in repr(said)


def test_of_those_that_are_away_the_last_to_go_tells_why() -> None:
    said = told(known("ejected", 1, "first", 1), known("half_open", 2, "second", 2))

    assert (said["ok"], said["since"]) == (False, "2026-01-05T14:00:00Z")
    assert (said["last_error"], said["models"]) == ("second", [])


def test_one_that_drains_or_was_never_looked_at_does_not_count() -> None:
    assert not told(known("healthy", is_draining=True))["ok"]
    assert not told(known("unknown"))["ok"]
    assert told(known("degraded", 0, "slow"))["ok"]


def test_models_are_told_by_the_names_that_clients_use() -> None:
    served = (Served("a"), Served("b"))
    one = known("healthy", served=served, only_models=("b",), prefix="acme/")

    assert told(one)["models"] == ["acme/b"]
