"""mnist at full size: what docs/workloads/mnist.md promises, measured by the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "mnist"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data/mnist beside the checkout"),
]


def test_the_original_test_pictures_are_told_apart() -> None:
    pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.mnist", "--source", str(DATA)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    found = json.loads(done.stdout)
    assert (found["rows"], found["holdout"]) == (60_000, 10_000)
    assert found["vote"] >= 0.996
    assert found["nearest"] >= 0.994
    assert min(found[f"digit {digit}"] for digit in range(10)) >= 0.99
