"""Selects the exposition format of the metrics by the header `Accept`.

https://prometheus.io/docs/instrumenting/content_negotiation/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"


@dataclass(frozen=True)
class MetricsFormat:
    """A format with its media type, its version, and the function that encodes a registry."""

    media_type: str
    version: str
    encode: Callable[[CollectorRegistry], bytes]

    @property
    def content_type(self) -> str:
        """The value of the header Content-Type."""
        return f"{self.media_type}; version={self.version}; charset=utf-8"


TEXT = MetricsFormat(_TEXT, "0.0.4", generate_latest)
"""The format for clients that request no other."""

_FORMATS = (
    TEXT,
    MetricsFormat(_TEXT, "1.0.0", generate_latest),
    MetricsFormat(_OPENMETRICS, "1.0.0", openmetrics.generate_latest),
)
_DEFAULT_VERSIONS = {_TEXT: "0.0.4", _OPENMETRICS: "1.0.0"}


def select_format(accept: str | None) -> MetricsFormat:
    """Return the supported format that a client prefers, or `TEXT`."""
    accepted = [_parse(item) for item in (accept or "").lower().split(",")]
    # The sort is stable: of equal weights, the first is preferred.
    for weight, media_type, version in sorted(accepted, key=lambda item: -item[0]):
        for candidate in _FORMATS:
            if weight > 0 and (candidate.media_type, candidate.version) == (media_type, version):
                return candidate
    return TEXT


def _parse(item: str) -> tuple[float, str, str]:
    """Return the weight, the media type and the version of one item of `Accept`."""
    media_type, *parameters = (part.strip() for part in item.split(";"))
    values = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    try:
        weight = float(values.get("q", "1"))
    except ValueError:
        weight = 0.0
    return weight, media_type, values.get("version", _DEFAULT_VERSIONS.get(media_type, "")).strip('"')
