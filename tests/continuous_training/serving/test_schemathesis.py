"""The server holds what its own OpenAPI document promises, whatever schemathesis makes of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = "25"
"""How many requests are made up for each operation, beside all the corner cases of each schema."""

_UNSAYABLE = "positive_data_acceptance"
"""No schema says that a tensor has as many values as its shape, or that a picture is not blank."""


def test_every_answer_is_as_documented(gallery: str, tmp_path: Path) -> None:
    """Never a 500, every answer documented and of its schema, and nothing accepted that violates one.

    The toy is left out: it does not check what it is given, and says nothing of what that should be.
    """
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("run", f"{gallery}/openapi.json", "--phases", "examples,coverage,fuzzing", "--mode", "all"),
        *("--max-examples", EXAMPLES, "--generation-deterministic", "--continue-on-failure"),
        *("--exclude-checks", _UNSAYABLE, "--exclude-path-regex", "/toy", "--request-timeout", "30"),
        "--no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts, done.stdout[-3000:]
    assert counts[1] == counts[2], done.stdout[-3000:]
