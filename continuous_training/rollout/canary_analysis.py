"""The canary rule: whether a version with a share of the traffic may receive all of it.

1. At every check the golden requests are sent again. An incorrect response reverts the version.
2. A pod of the canary that ended or restarted reverts the version.
3. A *server error* is a response with a status of 500 or more. Fisher's exact test (one-sided) compares the
   server errors of the canary and of the previous version since the canary began: how likely are at least
   that many errors of the canary if both versions fail equally often? Before the end, the canary is reverted
   below a probability of 0.001, because there are many checks. At the end it is reverted below 0.05.
4. The canary ends after CT_CANARY_SECONDS, once it has answered 100 requests. With less traffic it continues
   for up to three times as long. Then the test decides with the requests received so far. Without any
   traffic the golden requests alone decide, so that a version can also be promoted on an idle endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from continuous_training.rollout.kubernetes.serving_objects import Manifest

MIN_REQUESTS = 100
INTERIM_SIGNIFICANCE, FINAL_SIGNIFICANCE = 0.001, 0.05
MAX_EXTENSION = 3
SERVER_ERROR = 500

_METRIC = "serving_requests_total"

ReadMetrics = Callable[[Manifest], str | None]
"""Reads the metrics of a pod in Prometheus's text format; None if the pod does not respond."""


@dataclass(frozen=True)
class Traffic:
    """A number of answered requests, and how many of them were server errors.

    Raises ValueError for negative counts and for more errors than requests.
    """

    requests: int = 0
    errors: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            raise ValueError(f"{self.errors} server errors in {self.requests} requests are no valid counts")

    @property
    def successes(self) -> int:
        """The number of requests without a server error."""
        return self.requests - self.errors

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests + other.requests, self.errors + other.errors)

    def without_successes(self, count: int) -> Traffic:
        """Return the traffic without `count` successful requests, or without all of them if it has fewer."""
        return Traffic(self.errors + max(0, self.successes - count), self.errors)

    def increase_since(self, earlier: Traffic) -> Traffic:
        """Return the increase of a pod's counters since an earlier reading.

        A counter that decreased belongs to a server that restarted and counts from 0 again.
        """
        if self.errors < earlier.errors or self.successes < earlier.successes:
            return self
        return Traffic(self.requests - earlier.requests, self.errors - earlier.errors)

    def __str__(self) -> str:
        return f"{self.errors} server errors in {self.requests} requests"


@dataclass(frozen=True)
class CanaryDecision:
    """Whether the canary is promoted (otherwise it is reverted), and the reason."""

    promoted: bool
    reason: str


def decide_canary(
    canary: Traffic, previous: Traffic, elapsed: float, planned: float
) -> CanaryDecision | None:
    """Apply the rule to the traffic of `elapsed` seconds; `planned` is CT_CANARY_SECONDS.

    Returns None if the canary has to continue.
    """
    comparison = f"the canary had {canary}, the previous version had {previous}"
    ended = elapsed >= planned and (canary.requests >= MIN_REQUESTS or elapsed >= MAX_EXTENSION * planned)
    significance = FINAL_SIGNIFICANCE if ended else INTERIM_SIGNIFICANCE
    probability = p_value(canary, previous)
    if probability < significance:
        return CanaryDecision(False, f"{comparison}: Fisher's exact test, p = {probability:.2g}")
    if not ended:
        return None
    if canary.requests < MIN_REQUESTS:
        reason = f"{comparison} in {elapsed:.0f} s: too little traffic, so the golden requests decide"
        return CanaryDecision(True, reason)
    return CanaryDecision(True, comparison)


def p_value(canary: Traffic, previous: Traffic) -> float:
    """Return the probability of at least this many errors of the canary if both versions fail equally often.

    Fisher's exact test, one-sided: the upper tail of the hypergeometric distribution. 1 without errors of the
    canary.
    """
    errors, requests = canary.errors + previous.errors, canary.requests + previous.requests
    if not canary.errors:
        return 1.0
    max_errors = min(errors, canary.requests)
    log_total = _log_binomial(requests, canary.requests)
    return min(
        1.0,
        math.fsum(
            math.exp(
                _log_binomial(errors, count)
                + _log_binomial(requests - errors, canary.requests - count)
                - log_total
            )
            for count in range(canary.errors, max_errors + 1)
            if canary.requests - count <= requests - errors
        ),
    )


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class TrafficCounter:
    """Counts the traffic of a model's pods since the first reading."""

    def __init__(self, model: str, read_metrics: ReadMetrics) -> None:
        self._model, self._read_metrics = model, read_metrics
        self._total = Traffic()
        self._last: dict[str, Traffic | None] = {}
        self._first_reading = True

    def read(self, pods: Iterable[Manifest]) -> Traffic:
        """Read the metrics of the pods, and return the traffic since the first reading.

        The traffic of a removed pod remains counted. A new pod counts from its start. A pod that does not
        respond with metrics counts at its next reading; if it has no reading yet, from that one.
        """
        for pod in pods:
            uid, traffic = pod["metadata"]["uid"], self._read_pod(pod)
            last = self._last.setdefault(uid, None if self._first_reading else Traffic())
            if traffic is not None:
                self._total += traffic.increase_since(traffic if last is None else last)
                self._last[uid] = traffic
        self._first_reading = False
        return self._total

    def _read_pod(self, pod: Manifest) -> Traffic | None:
        text = self._read_metrics(pod)
        try:
            return None if text is None else parse_traffic(text, self._model)
        except (ValueError, OverflowError):
            return None


def parse_traffic(text: str, model: str) -> Traffic:
    """Return a model's traffic from a pod's metrics in Prometheus's text format.

    Requests whose route is "other" (health checks, unknown paths) do not count. Raises ValueError or
    OverflowError if the text is not in this format, or if a count is negative, NaN or infinite.
    """
    total = Traffic()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name != _METRIC or labels.get("model") != model or labels.get("route") == "other":
                continue
            count, status = int(sample.value), labels.get("status", "")
            is_error = status.isdecimal() and int(status) >= SERVER_ERROR
            total += Traffic(count, count if is_error else 0)
    return total
