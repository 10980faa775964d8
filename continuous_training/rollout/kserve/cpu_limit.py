"""The CPU limit of a container that KServe runs."""

from __future__ import annotations

from fractions import Fraction

from continuous_training.rollout.kubernetes.serving_objects import Manifest

DEFAULT_LIMIT = 1
"""The limit in cores that KServe adds to a container without one (`resource.cpuLimit` of its ConfigMap)."""


def with_cpu_limit(container: Manifest) -> Manifest:
    """Return the container with a CPU limit if its request exceeds the limit that KServe adds.

    The API server rejects a Deployment whose request exceeds its limit.
    """
    resources = container["resources"]
    request = resources["requests"]["cpu"]
    if _cores(request) <= DEFAULT_LIMIT:
        return container
    limits = {**resources["limits"], "cpu": request}
    return {**container, "resources": {**resources, "limits": limits}}


def _cores(quantity: str) -> Fraction:
    """Return a number of cores, such as 3/2 for `1500m`."""
    if quantity.endswith("m"):
        return Fraction(quantity[:-1]) / 1000
    return Fraction(quantity.rstrip("kKMGTi")) * (1 if quantity[-1].isdigit() else 1000)
