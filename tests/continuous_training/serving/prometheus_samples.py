"""Reading of a server's metrics."""

from __future__ import annotations

import requests
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Values by metric name and sorted labels."""


def scrape(url: str, timeout: float = 5) -> Samples:
    """Return all samples of a server's `/metrics`."""
    response = requests.get(f"{url}/metrics", timeout=timeout)
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the value of a sample, or 0 if the server did not report it."""
    return samples.get((name, tuple(sorted(labels.items()))), 0)
