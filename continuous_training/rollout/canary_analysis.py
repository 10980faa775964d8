"""A canary: whether a version that has a share of the traffic may have all of it.

The rule:

1. At every look the golden requests are asked again; a wrong answer withdraws the version.
2. So does a pod of it that has ended or is not ready any more.
3. A *fault* is an answer of status 500 or more. The faults of the canary and of the former version since
   the canary began are compared by Fisher's exact test, one-sided: how often would a version that is no
   worse fail at least so many of so many requests? At a look the canary is withdrawn under 0.001 (there
   are many looks), at the end under 0.05.
4. The end is after CT_CANARY_SECONDS, once the canary has answered 100 requests. With less traffic the
   watch goes on until three times that long. Then it is judged on what has come, and the golden requests
   alone promote it when nothing has: a quiet endpoint must be able to change, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from continuous_training.adapters.kubernetes.client import Object

ENOUGH, AT_A_LOOK, AT_THE_END, LONGEST = 100, 0.001, 0.05, 3
FAULT = 500

Read = Callable[[Object], str | None]


@dataclass(frozen=True)
class Traffic:
    """Requests that were answered, and those of them that were faults."""

    requests: int = 0
    faults: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.requests + other.requests, self.faults + other.faults)

    def __str__(self) -> str:
        return f"{self.faults} faults in {self.requests} requests"


@dataclass(frozen=True)
class CanaryDecision:
    """Whether the canary is promoted or withdrawn, and why in words."""

    promoted: bool
    reason: str


def decide_canary(canary: Traffic, former: Traffic, elapsed: float, planned: float) -> CanaryDecision | None:
    """Return the verdict on the traffic of `elapsed` seconds, of which `planned` were asked for.

    None when it is to be watched for longer.
    """
    compared = f"the canary had {canary}, the former version {former}"
    over = elapsed >= planned and (canary.requests >= ENOUGH or elapsed >= LONGEST * planned)
    limit = AT_THE_END if over else AT_A_LOOK
    chance = p_value(canary, former)
    if chance < limit:
        return CanaryDecision(False, f"{compared}: by chance that happens with a probability of {chance:.2g}")
    if not over:
        return None
    if canary.requests < ENOUGH:
        return CanaryDecision(
            True, f"{compared} in {elapsed:.0f} s: too little traffic, so the golden requests decide"
        )
    return CanaryDecision(True, compared)


def p_value(canary: Traffic, former: Traffic) -> float:
    """Return the probability of so many faults of the canary, or more, if both versions are equally good.

    Fisher's exact test, one-sided; 1 when there were none.
    """
    faults, requests = canary.faults + former.faults, canary.requests + former.requests
    if not canary.faults:
        return 1.0
    most = min(faults, canary.requests)
    whole = _log_choose(requests, canary.requests)
    return min(
        1.0,
        math.fsum(
            math.exp(_log_choose(faults, hit) + _log_choose(requests - faults, canary.requests - hit) - whole)
            for hit in range(canary.faults, most + 1)
            if canary.requests - hit <= requests - faults
        ),
    )


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


class TrafficCounter:
    """The traffic that a model's pods have had since they were first read."""

    def __init__(self, model: str, read: Read) -> None:
        self._model, self._read = model, read
        self._first: dict[str, Traffic] = {}
        self._last: dict[str, Traffic] = {}

    def since(self, pods: Iterable[Object]) -> Traffic:
        """Return the traffic of these pods since their first reading; what does not answer keeps its last.

        `pods` are read; a pod that is seen for the first time begins at what it has now.
        """
        found = Traffic()
        for pod in pods:
            uid, text = pod["metadata"]["uid"], self._read(pod)
            if text is not None:
                self._last[uid] = parse_traffic(text, self._model)
                self._first.setdefault(uid, self._last[uid])
            first, last = self._first.get(uid, Traffic()), self._last.get(uid, Traffic())
            found += Traffic(max(0, last.requests - first.requests), max(0, last.faults - first.faults))
        return found


def parse_traffic(text: str, model: str) -> Traffic:
    """Return a model's traffic from the metrics of a pod, in Prometheus's text format."""
    found = Traffic()
    for line in text.splitlines():
        if not line.startswith("serving_requests_total{"):
            continue
        labels, _, value = line.partition("{")[2].rpartition("} ")
        known = dict(part.split("=", 1) for part in labels.split(","))
        if known.get("model") != f'"{model}"' or known.get("route") == '"other"':
            continue
        count = int(float(value))
        status = known.get("status", '"0"').strip('"')
        found += Traffic(count, count if status.isdecimal() and int(status) >= FAULT else 0)
    return found
