"""The server's responses conform to its OpenAPI document, as schemathesis verifies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAX_EXAMPLES = "25"
"""The number of generated requests per operation, in addition to the boundary values of each schema."""

_EXCLUDED_CHECK = "positive_data_acceptance"
"""No schema can express that a tensor has as many values as its shape, or that an image is not blank."""


def test_every_response_conforms_to_the_document(gallery: str, tmp_path: Path) -> None:
    """No response is a 500 or undocumented, and no request that violates its schema is accepted.

    The toy model is excluded, because it declares no schema and does not check its requests.
    """
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("run", f"{gallery}/openapi.json", "--phases", "examples,coverage,fuzzing", "--mode", "all"),
        *("--max-examples", MAX_EXAMPLES, "--generation-deterministic", "--continue-on-failure"),
        *("--exclude-checks", _EXCLUDED_CHECK, "--exclude-path-regex", "/toy", "--request-timeout", "30"),
        "--no-color",
    ]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert process.returncode == 0, process.stdout[-8000:] + process.stderr[-2000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", process.stdout)
    assert counts, process.stdout[-3000:]
    assert counts[1] == counts[2], process.stdout[-3000:]
