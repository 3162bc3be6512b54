"""The metrics of several processes as those of one."""

from collections.abc import Mapping, Sequence

from prometheus_client.metrics_core import Metric as Family

from jan.metrics import families, names
from jan.metrics.families import Labels
from jan.metrics.names import Metric
from jan.metrics.tallies import Tally
from tests.scraping import Scrape


def said(values: Mapping[Metric, Mapping[Labels, float]]) -> list[Family]:
    """What a process says, as it arrives."""
    made = [families.family(metric, each) for metric, each in values.items()]
    return families.read(families.text(made))


def shown(found: Sequence[Family]) -> Scrape:
    return Scrape(families.text(found).decode(), 0.0)


def test_counters_and_gauges_are_added_and_what_all_measure_alike_is_not() -> None:
    one = said(
        {names.ERRORS: {("/a", "x"): 2}, names.RUNNING: {(): 3}, names.JOBS_WAITING: {("k",): 7}}
    )
    two = said(
        {names.ERRORS: {("/a", "x"): 5}, names.RUNNING: {(): 1}, names.JOBS_WAITING: {("k",): 6}}
    )

    seen = shown(families.merged({"1": one, "2": two}, []))

    assert seen.values("jan_gateway_errors_total", route="/a", code="x") == [7]
    assert seen.values("jan_gateway_requests_running") == [4]
    assert seen.values("jan_jobs_waiting", kind="k") == [7]


def test_histograms_are_added_bucket_by_bucket() -> None:
    def process(*values: float) -> list[Family]:
        tally = Tally(names.LAG_S)
        for value in values:
            tally.add(value)
        return families.read(families.text([families.histogram(names.LOOP_LAG, {(): tally})]))

    seen = shown(families.merged({"1": process(0.002, 0.02), "2": process(0.002, 9)}, []))

    assert seen.values("jan_event_loop_lag_seconds_bucket", le="0.0025") == [2]
    assert seen.values("jan_event_loop_lag_seconds_bucket", le="0.025") == [3]
    assert seen.values("jan_event_loop_lag_seconds_bucket", le="+Inf") == [4]
    assert seen.values("jan_event_loop_lag_seconds_count") == [4]


def test_of_those_who_are_gone_counters_stay_and_gauges_go() -> None:
    living = said({names.ERRORS: {("/a", "x"): 1}, names.RUNNING: {(): 1}})
    dead = said({names.ERRORS: {("/a", "x"): 4, ("/b", "y"): 1}, names.RUNNING: {(): 9}})

    past = families.merged({}, [dead])
    seen = shown(families.merged({"1": living}, [past, dead]))

    assert seen.values("jan_gateway_errors_total", route="/a") == [9]
    assert seen.values("jan_gateway_errors_total", route="/b") == [2]
    assert seen.values("jan_gateway_requests_running") == [1]


def test_processes_are_told_apart() -> None:
    text = b"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 2.0\n"

    seen = shown(families.merged({"one": families.read(text), "two": families.read(text)}, []))

    assert seen.values("process_cpu_seconds_total", process="one") == [2]
    assert seen.values("process_cpu_seconds_total", process="two") == [2]


def test_labels_are_added_to_what_others_say_and_only_to_what_is_wanted() -> None:
    text = (
        b"# HELP vllm:num_requests_running R.\n# TYPE vllm:num_requests_running gauge\n"
        b'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n'
        b'# TYPE vllm:x_total counter\nvllm:x_total{model_name="m"} 3.0\n'
        b"# TYPE vllm:x_created gauge\nvllm:x_created 1.7e9\n"
        b"# TYPE python_gc_total counter\npython_gc_total 3.0\n"
    )
    parsed = families.read(text)

    found = families.labelled([({"replica": "1"}, parsed), ({"replica": "2"}, parsed)], "vllm:")

    seen = shown(found)
    assert seen.values("vllm:num_requests_running", replica="1", model_name="m") == [2]
    assert seen.values("vllm:x_total", replica="2") == [3]
    assert "python" not in seen.text
    assert "created" not in seen.text


def test_names_are_those_that_prometheus_wants() -> None:
    for metric in names.ALL:
        assert metric.name.startswith(("jan_", "gen_ai_"))
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(metric.bounds)
    assert len(names.BY_NAME) == len(names.ALL)
