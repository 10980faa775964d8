"""Values of `Accept` in requests for the metrics, with the content types of the responses."""

from __future__ import annotations

TEXT_0, TEXT_1 = (f"text/plain; version={version}; charset=utf-8" for version in ("0.0.4", "1.0.0"))
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1"
)
ACCEPT = [
    (None, TEXT_0),
    ("", TEXT_0),
    ("*/*", TEXT_0),
    ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", TEXT_0),
    ("text/plain", TEXT_0),
    ("text/plain;version=0.0.4", TEXT_0),
    ("text/plain; version=1.0.0", TEXT_1),
    ("TEXT/PLAIN ; VERSION=1.0.0", TEXT_1),
    ("text/plain;version=9", TEXT_0),
    ("application/openmetrics-text", OPENMETRICS),
    ("application/openmetrics-text; version=0.0.1", TEXT_0),
    ('application/openmetrics-text; version="1.0.0"', OPENMETRICS),
    ("application/openmetrics-text; version=99", TEXT_0),
    ("application/openmetrics-text;q=0, text/plain;version=1.0.0;q=0.1", TEXT_1),
    ("application/openmetrics-text;q=0.1, text/plain;version=0.0.4;q=0.2", TEXT_0),
    ("application/openmetrics-text;q=x, text/plain;version=1.0.0", TEXT_1),
    (";;,=;q=", TEXT_0),
    (PROMETHEUS_2, OPENMETRICS),
    (PROMETHEUS_3, OPENMETRICS),
]
