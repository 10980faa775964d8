"""The canary rule, for every outcome."""

from __future__ import annotations

import pytest

from continuous_training.rollout.canary_analysis import (
    Traffic,
    TrafficCounter,
    decide_canary,
    p_value,
    parse_traffic,
)
from continuous_training.rollout.kubernetes.canary_watch import canary_replicas

PLANNED = 60
NO_ERRORS = Traffic(1000, 0)


@pytest.mark.parametrize(
    ("canary", "previous", "elapsed", "promoted", "reason"),
    [
        # Without errors: promoted at the end, continued before it or with too few requests.
        (Traffic(200, 0), NO_ERRORS, 60, True, "0 server errors in 200 requests"),
        (Traffic(200, 0), NO_ERRORS, 59, None, ""),
        (Traffic(99, 0), NO_ERRORS, 60, None, ""),
        (Traffic(99, 0), NO_ERRORS, 179, None, ""),
        # Too few requests after three times the planned duration.
        (Traffic(99, 0), NO_ERRORS, 180, True, "too little traffic, so the golden requests decide"),
        (Traffic(), Traffic(), 180, True, "too little traffic"),
        (Traffic(40, 4), Traffic(160, 0), 180, False, "p = "),
        # Much worse: reverted before the end. Slightly worse: reverted at the end only.
        (Traffic(50, 10), NO_ERRORS, 5, False, "10 server errors in 50 requests"),
        (Traffic(200, 2), Traffic(600, 0), 30, None, ""),
        (Traffic(200, 3), Traffic(600, 0), 60, False, "p = 0.015"),
        # A single error is not significant, and neither are errors that the previous version has as often.
        (Traffic(200, 1), Traffic(600, 0), 60, True, "1 server errors in 200"),
        (Traffic(200, 20), Traffic(600, 60), 60, True, "20 server errors in 200"),
        (Traffic(200, 0), Traffic(600, 60), 60, True, "0 server errors"),
        (Traffic(200, 200), Traffic(), 60, True, ""),
    ],
)
def test_decision(
    canary: Traffic, previous: Traffic, elapsed: float, promoted: bool | None, reason: str
) -> None:
    decision = decide_canary(canary, previous, elapsed, PLANNED)
    assert (decision and decision.promoted) == promoted
    assert decision is None or reason in decision.reason


@pytest.mark.parametrize(
    ("canary", "previous", "expected"),
    [
        # scipy.stats.fisher_exact(alternative="greater") of the same tables
        (Traffic(10, 3), Traffic(15, 1), 0.15889328063241104),
        (Traffic(50, 10), Traffic(1000, 0), 2.3889431900017542e-14),
        (Traffic(5, 5), Traffic(5, 0), 1 / 252),
        (Traffic(5, 0), Traffic(5, 5), 1.0),
        (Traffic(0, 0), Traffic(0, 0), 1.0),
        # At the boundaries: one request, only errors, no other traffic.
        (Traffic(1, 1), Traffic(), 1.0),
        (Traffic(1, 1), Traffic(1, 0), 0.5),
        (Traffic(1, 1), Traffic(1, 1), 1.0),
        (Traffic(), Traffic(5, 5), 1.0),
        (Traffic(5, 5), Traffic(5, 5), 1.0),
        (Traffic(3, 3), Traffic(3, 1), 0.2),
        (Traffic(3, 1), Traffic(3, 3), 1.0),
    ],
)
def test_p_value(canary: Traffic, previous: Traffic, expected: float) -> None:
    assert p_value(canary, previous) == pytest.approx(expected, rel=1e-6)


def test_p_value_of_millions_of_requests() -> None:
    assert p_value(Traffic(1_000_000, 100), Traffic(9_000_000, 900)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("percent", "previous_replicas", "replicas"),
    [(1, 2, 1), (20, 4, 1), (20, 8, 2), (33, 4, 2), (50, 3, 3), (10, 40, 4)],
)
def test_canary_replicas_approximate_the_share(percent: int, previous_replicas: int, replicas: int) -> None:
    assert canary_replicas(percent, previous_replicas) == replicas


METRICS = """# HELP serving_requests_total Answers by their status.
# TYPE serving_requests_total counter
serving_requests_total{model="m",route="predict",status="200"} 10.0
serving_requests_total{model="m",route="infer",status="500"} 2.0
serving_requests_total{model="m",route="predict",status="400"} 3.0
serving_requests_total{model="m",route="other",status="200"} 100.0
serving_requests_total{model="n",route="predict",status="500"} 100.0
# TYPE serving_requests_created gauge
serving_requests_created{model="m",route="predict",status="200"} 1.7e+09
"""


def test_parse_traffic_counts_one_model() -> None:
    assert parse_traffic(METRICS, "m") == Traffic(15, 2)
    assert parse_traffic("", "m") == Traffic()


def test_counter_counts_from_the_first_reading_of_each_pod() -> None:
    texts: dict[str, str | None] = {"a": METRICS, "b": None}
    counter = TrafficCounter("m", lambda pod: texts[pod["metadata"]["uid"]])
    pods = [{"metadata": {"uid": uid}} for uid in texts]
    assert counter.read(pods) == Traffic()
    texts["a"] = METRICS.replace(" 10.0", " 17.0").replace('status="500"} 2.0', 'status="500"} 3.0')
    assert counter.read(pods) == Traffic(8, 1)
    texts["a"] = None
    assert counter.read(pods) == Traffic(8, 1), "a pod that does not respond counts with its last reading"
    texts["a"] = "<html>no metrics</html>"
    assert counter.read(pods) == Traffic(8, 1), "a pod without metrics counts with its last reading"
    assert counter.read(pods[1:]) == Traffic(8, 1), "the traffic of a removed pod remains counted"
    texts["b"] = METRICS
    assert counter.read(pods[1:]) == Traffic(8, 1), "the first reading of a pod that did not respond"
    texts["c"] = METRICS
    assert counter.read([{"metadata": {"uid": "c"}}]) == Traffic(23, 3), "a new pod counts from its start"


def metrics(requests: int, errors: int) -> str:
    line = 'serving_requests_total{{model="m",route="predict",status="{}"}} {}\n'
    return line.format(200, requests - errors) + line.format(503, errors)


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([(100, 0), (50, 10)], Traffic(50, 10)),
        ([(100, 20), (30, 5)], Traffic(30, 5)),
        ([(100, 20), (90, 30)], Traffic(90, 30)),
        ([(100, 20), (140, 10)], Traffic(140, 10)),
        ([(100, 0), (100, 0), (0, 0), (3, 3)], Traffic(3, 3)),
        ([(100, 0), (150, 50)], Traffic(50, 50)),
    ],
)
def test_counts_of_a_restarted_server_stay_valid(readings: list[tuple[int, int]], expected: Traffic) -> None:
    texts = iter(readings)
    counter = TrafficCounter("m", lambda _: metrics(*next(texts)))
    for _ in readings:
        total = counter.read([{"metadata": {"uid": "a"}}])
    assert total == expected


@pytest.mark.parametrize("value", ["-1", "NaN", "+Inf"])
def test_a_reading_with_an_invalid_count_is_ignored(value: str) -> None:
    texts = iter([METRICS, METRICS.replace(" 10.0", f" {value}"), METRICS.replace(" 10.0", " 17.0")])
    counter = TrafficCounter("m", lambda _: next(texts))
    totals = [counter.read([{"metadata": {"uid": "a"}}]) for _ in range(3)]
    assert totals == [Traffic(), Traffic(), Traffic(7, 0)]


@pytest.mark.parametrize(("requests", "errors"), [(0, 1), (5, 6), (5, -1), (-1, -1)])
def test_traffic_with_invalid_counts_is_an_error(requests: int, errors: int) -> None:
    with pytest.raises(ValueError, match="no valid counts"):
        Traffic(requests, errors)


@pytest.mark.parametrize(
    ("golden", "expected"),
    [(0, Traffic(10, 4)), (6, Traffic(4, 4)), (7, Traffic(4, 4)), (100, Traffic(4, 4)), (1, Traffic(9, 4))],
)
def test_golden_requests_are_successes_that_do_not_count(golden: int, expected: Traffic) -> None:
    """More golden requests than requests were a probability of 0, and reverted the canary."""
    assert Traffic(10, 4).without_successes(golden) == expected
