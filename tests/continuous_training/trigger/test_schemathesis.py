"""The responses of the trigger service conform to its OpenAPI document, as schemathesis verifies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from .running_service import running_service

_EXCLUDED_CHECKS = "positive_data_acceptance,unsupported_method"
"""The document cannot express which names, keys and parameters are valid."""


def test_every_response_conforms_to_the_document(tmp_path: Path) -> None:
    """No response is a 500 or undocumented, and no request that violates its schema is accepted."""
    with running_service(tmp_path, requests_per_minute=10**6) as service:
        command = [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", f"{service.url}/openapi.json", "--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--max-examples", "20", "--generation-deterministic", "--continue-on-failure"),
            *("-H", f"Authorization: Bearer {service.tokens['ci']}", "--no-color"),
            *("--exclude-checks", _EXCLUDED_CHECKS, "--request-timeout", "30"),
        ]
        process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert process.returncode == 0, process.stdout[-8000:] + process.stderr[-2000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", process.stdout)
    assert counts, process.stdout[-3000:]
    assert counts[1] == counts[2], process.stdout[-3000:]
