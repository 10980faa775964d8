"""The settings of model servers on a cluster.

| variable | meaning | default |
|---|---|---|
| KUBECONFIG, CT_CONTEXT | the cluster, for a command outside it | the pod's own |
| CT_SERVING_NAMESPACE | the model servers' namespace | the pod's own |
| CT_SERVING_IMAGE | the model server's image, by digest | none: it must be set |
| CT_TORCHSERVE_IMAGE | TorchServe's image, for that target | none |
| CT_SERVING_STORE | the object store as seen from model servers | CT_STORE |
| CT_SERVING_REPLICAS, CT_SERVING_MAX_REPLICAS | the minimum and maximum number of servers of a model | 2, 4 |
| CT_SERVING_CPU, CT_SERVING_MEMORY | the requests of a server; memory is also its limit | 250m, 512Mi |
| CT_CANARY | percent of the traffic for a canary, 0 to 50 | 0: no canary |
| CT_CANARY_SECONDS | duration of the canary in seconds | 60 |
| CT_ROLLOUT_DEADLINE | timeout of a rollout in seconds | 600 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from continuous_training.core.errors import UserError


@dataclass(frozen=True)
class ServingSettings:
    """The settings of model servers; see the module's table. Raises UserError for invalid values.

    `canary` is a percentage of the traffic; `canary_seconds` and `deadline` are in seconds.
    """

    namespace: str = ""
    image: str = ""
    torchserve_image: str = ""
    store: str = ""
    replicas: int = 2
    max_replicas: int = 4
    cpu: str = "250m"
    memory: str = "512Mi"
    canary: int = 0
    canary_seconds: int = 60
    deadline: int = 600
    kubeconfig: str = ""
    context: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.canary <= 50:
            raise UserError(f"CT_CANARY is {self.canary}: give a percentage from 0 (no canary) to 50")
        if not 1 <= self.replicas <= self.max_replicas:
            raise UserError(
                f"CT_SERVING_REPLICAS is {self.replicas} and CT_SERVING_MAX_REPLICAS {self.max_replicas}: "
                "the minimum must be at least 1, and the maximum at least the minimum"
            )
        if min(self.canary_seconds, self.deadline) < 1:
            raise UserError("CT_CANARY_SECONDS and CT_ROLLOUT_DEADLINE must be 1 or more")
        for name, value in (("CT_SERVING_CPU", self.cpu), ("CT_SERVING_MEMORY", self.memory)):
            if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(m|k|[KMGT]i?)?", value):
                raise UserError(f"{name} is {value!r}: write a Kubernetes quantity, such as 250m or 512Mi")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServingSettings:
        """Read the settings from environment variables. Raises UserError for an invalid number."""
        texts = {
            "namespace": "CT_SERVING_NAMESPACE",
            "image": "CT_SERVING_IMAGE",
            "torchserve_image": "CT_TORCHSERVE_IMAGE",
            "cpu": "CT_SERVING_CPU",
            "memory": "CT_SERVING_MEMORY",
            "kubeconfig": "KUBECONFIG",
            "context": "CT_CONTEXT",
        }
        numbers = {
            "replicas": "CT_SERVING_REPLICAS",
            "max_replicas": "CT_SERVING_MAX_REPLICAS",
            "canary": "CT_CANARY",
            "canary_seconds": "CT_CANARY_SECONDS",
            "deadline": "CT_ROLLOUT_DEADLINE",
        }
        values: dict[str, Any] = {
            field: environment[name] for field, name in texts.items() if environment.get(name)
        }
        for field, name in numbers.items():
            if environment.get(name):
                values[field] = _number(name, environment[name])
        if "max_replicas" not in values:
            values["max_replicas"] = max(cls.max_replicas, values.get("replicas", 0))
        return cls(store=environment.get("CT_SERVING_STORE") or environment.get("CT_STORE", ""), **values)


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"{name} is {text!r}: give a whole number")
    return int(text)
