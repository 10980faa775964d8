"""The canary's rule, in every direction."""

from __future__ import annotations

import pytest

from continuous_training.rollout.canary_analysis import (
    Traffic,
    TrafficCounter,
    decide_canary,
    p_value,
    parse_traffic,
)
from continuous_training.rollout.canary_watch import replicas_of_canary

CLEAN = Traffic(1000, 0)


@pytest.mark.parametrize(
    ("canary", "former", "elapsed", "promoted", "words"),
    [
        # As good, over: promoted. As good, and not over or too few: watched on.
        (Traffic(200, 0), CLEAN, 60, True, "0 faults in 200 requests"),
        (Traffic(200, 0), CLEAN, 59, None, ""),
        (Traffic(99, 0), CLEAN, 60, None, ""),
        (Traffic(99, 0), CLEAN, 179, None, ""),
        # Too little traffic, and the watch has lasted three times as long as asked for.
        (Traffic(99, 0), CLEAN, 180, True, "too little traffic, so the golden requests decide"),
        (Traffic(), Traffic(), 180, True, "too little traffic"),
        (Traffic(40, 4), Traffic(160, 0), 180, False, "by chance"),
        # Clearly worse: withdrawn before the end; somewhat worse: at the end alone.
        (Traffic(50, 10), CLEAN, 5, False, "10 faults in 50 requests"),
        (Traffic(200, 2), Traffic(600, 0), 30, None, ""),
        (Traffic(200, 3), Traffic(600, 0), 60, False, "by chance that happens with a probability of 0.015"),
        # One fault is chance, and a former version that fails as often is no better.
        (Traffic(200, 1), Traffic(600, 0), 60, True, "1 faults in 200"),
        (Traffic(200, 20), Traffic(600, 60), 60, True, "20 faults in 200"),
        (Traffic(200, 0), Traffic(600, 60), 60, True, "0 faults"),
        (Traffic(200, 200), Traffic(), 60, True, ""),
    ],
)
def test_the_rule(
    canary: Traffic, former: Traffic, elapsed: float, promoted: bool | None, words: str
) -> None:
    verdict = decide_canary(canary, former, elapsed, 60)
    assert (verdict and verdict.promoted) == promoted
    assert verdict is None or words in verdict.reason


@pytest.mark.parametrize(
    ("canary", "former", "expected"),
    [
        # scipy.stats.fisher_exact(alternative="greater") of the same tables
        (Traffic(10, 3), Traffic(15, 1), 0.15889328063241104),
        (Traffic(50, 10), Traffic(1000, 0), 2.3889431900017542e-14),
        (Traffic(5, 5), Traffic(5, 0), 1 / 252),
        (Traffic(5, 0), Traffic(5, 5), 1.0),
        (Traffic(0, 0), Traffic(0, 0), 1.0),
    ],
)
def test_the_probability(canary: Traffic, former: Traffic, expected: float) -> None:
    assert p_value(canary, former) == pytest.approx(expected, rel=1e-6)


def test_a_large_number_of_requests_is_no_trouble() -> None:
    assert p_value(Traffic(1_000_000, 100), Traffic(9_000_000, 900)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("percent", "others", "replicas"),
    [(1, 2, 1), (20, 4, 1), (20, 8, 2), (33, 4, 2), (50, 3, 3), (10, 40, 4)],
)
def test_the_share_is_made_of_whole_servers(percent: int, others: int, replicas: int) -> None:
    assert replicas_of_canary(percent, others) == replicas


METRICS = """# HELP serving_requests_total Answers by their status.
serving_requests_total{model="m",route="predict",status="200"} 10.0
serving_requests_total{model="m",route="infer",status="500"} 2.0
serving_requests_total{model="m",route="predict",status="400"} 3.0
serving_requests_total{model="m",route="other",status="200"} 100.0
serving_requests_total{model="n",route="predict",status="500"} 100.0
serving_requests_created{model="m",route="predict",status="200"} 1.7e+09
"""


def test_metrics_are_read_for_one_model() -> None:
    assert parse_traffic(METRICS, "m") == Traffic(15, 2)
    assert parse_traffic("", "m") == Traffic()


def test_traffic_is_counted_from_the_first_reading_of_each_pod() -> None:
    texts: dict[str, str | None] = {"a": METRICS, "b": None}
    counter = TrafficCounter("m", lambda pod: texts[pod["metadata"]["uid"]])
    pods = [{"metadata": {"uid": uid}} for uid in texts]
    assert counter.since(pods) == Traffic()
    texts["a"] = METRICS.replace(" 10.0", " 17.0").replace('status="500"} 2.0', 'status="500"} 3.0')
    assert counter.since(pods) == Traffic(8, 1)
    texts["a"] = None
    assert counter.since(pods) == Traffic(8, 1), "what does not answer keeps what it had"
    assert counter.since(pods[1:]) == Traffic()
