"""What ended requests are counted as, and that nobody can make up a label."""

import uuid

import pytest

from jan.errors import ModelNotFound, QueueFull, RateLimited, TooManyWaiting
from jan.metrics import families
from jan.metrics.requests import Generations, Requests
from jan.telemetry import Exchange
from tests.scraping import Scrape

CHAT = "/v1/chat/completions"


def ended(**said: object) -> Exchange:
    exchange = Exchange("req_1", "POST", CHAT)
    for name, value in {"status": 200, "duration_ms": 20.0, **said}.items():
        setattr(exchange, name, value)
    return exchange


def sent(**said: object) -> Exchange:
    known = {"endpoint_id": "ep_1", "provider": "acme", "model": "large", "queue_ms": 0.0}
    return ended(**{**known, **said})


def told(counts: Requests | Generations) -> Scrape:
    return Scrape(families.text(counts.families()).decode(), 0.0)


def test_requests_are_counted_by_method_route_and_status() -> None:
    counts = Requests()

    for status in (200, 200, 499):
        counts.count(ended(status=status), CHAT)
    counts.count(ended(method="GET"), "/v1/models")

    seen = told(counts)
    assert seen.sum("jan_gateway_requests_total", route=CHAT, status="200") == 2
    assert seen.sum("jan_gateway_requests_total", route=CHAT, status="499") == 1
    assert seen.sum("jan_gateway_requests_total", method="GET", route="/v1/models") == 1
    assert seen.sum("jan_gateway_request_duration_seconds_count", route=CHAT) == 3
    assert seen.sum("jan_gateway_request_duration_seconds_sum") == pytest.approx(0.08)


def test_errors_are_counted_by_code_and_refusals_for_being_too_many_apart() -> None:
    counts = Requests()

    for kind in (ModelNotFound, QueueFull, RateLimited, TooManyWaiting, TooManyWaiting):
        counts.count(ended(status=kind.status, error_code=kind.code), CHAT)

    seen = told(counts)
    assert seen.sum("jan_gateway_errors_total", code="model_not_found") == 1
    assert seen.sum("jan_gateway_errors_total", code="too_many_waiting") == 2
    assert seen.sum("jan_gateway_rate_limited_total", code="too_many_waiting") == 2
    assert seen.sum("jan_gateway_rate_limited_total", code="rate_limit_exceeded") == 1
    assert seen.sum("jan_gateway_rate_limited_total") == 3


def test_what_clients_and_servers_make_up_is_in_no_label() -> None:
    requests, generations = Requests(), Generations()

    for _ in range(300):
        word = uuid.uuid4().hex
        exchange = ended(method=word, status=404, error_code=word, model=word, path=f"/{word}")
        requests.count(exchange, None)
        generations.count(exchange)
    generations.count(sent(error_code="made-up", path="/v1/made-up"))

    assert told(requests).values("jan_gateway_requests_total") == [300]
    assert told(requests).sum("jan_gateway_requests_total", method="other", route="none") == 300
    assert told(requests).values("jan_gateway_errors_total", code="other") == [300]
    assert len(requests._ended) == 1
    name = "gen_ai_server_request_duration_seconds_count"
    assert told(generations).values(
        name, gen_ai_operation_name="other", error_type="other", gen_ai_request_model="large"
    ) == [1]
    assert len(generations._ended) == 1


def test_generations_are_told_by_opentelemetrys_names() -> None:
    counts = Generations()

    counts.count(sent(prompt_tokens=11, completion_tokens=3, cached_tokens=4, queue_ms=500.0))
    counts.count(sent(path="/v1/embeddings", prompt_tokens=5))

    seen = told(counts)
    chat = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "acme"}
    assert seen.sum("gen_ai_server_request_duration_seconds_count", **chat) == 1
    assert seen.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **chat) == 11
    assert seen.sum("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **chat) == 3
    assert seen.sum("gen_ai_client_token_usage_sum", gen_ai_operation_name="embeddings") == 5
    assert seen.sum("jan_gateway_cached_tokens_total", model="large") == 4
    assert seen.sum("jan_gateway_queue_wait_seconds_sum", model="large") == 0.5
    assert seen.sum("jan_gateway_queue_wait_seconds_count", model="large") == 2


def test_a_streams_first_token_gaps_and_pace_are_told() -> None:
    counts = Generations()
    exchange = sent(completion_tokens=3)
    for _ in range(3):
        exchange.note_piece()
    exchange.last_piece_s += 8

    counts.count(exchange)
    counts.count(sent(completion_tokens=3))

    seen = told(counts)
    assert seen.values("gen_ai_server_time_to_first_token_seconds_count") == [1]
    assert seen.values("jan_gateway_token_gap_seconds_count") == [2]
    assert seen.sum("jan_gateway_token_gap_seconds_sum") == pytest.approx(8, abs=0.1)
    assert seen.values("gen_ai_server_time_per_output_token_seconds_count") == [1]
    assert seen.sum("gen_ai_server_time_per_output_token_seconds_sum") == pytest.approx(4, abs=0.1)


def test_what_was_sent_nowhere_is_no_generation() -> None:
    counts = Generations()

    counts.count(ended(model="asked-for", status=503, error_code="model_loading"))

    assert told(counts).values("gen_ai_server_request_duration_seconds_count") == []
