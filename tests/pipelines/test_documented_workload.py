"""The complete workload in docs/workloads.md runs without a change."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import requests

from continuous_training.serving.process import daemon

ROOT = Path(__file__).parents[2]


def test_the_documented_workload_runs_through_the_whole_pipeline(tmp_path):
    page = (ROOT / "docs/workloads.md").read_text(encoding="utf-8")
    files = re.findall(r"```python\n# (workloads/wine/\w+\.py)\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["workloads/wine/handler.py", "workloads/wine/workload.py"]
    for name, text in [("workloads/__init__.py", ""), ("workloads/wine/__init__.py", ""), *files]:
        path = tmp_path / "path" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    state = tmp_path / "state"
    process = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "--workload", "wine", "--state", str(state), "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "path")},
    )
    try:
        assert process.returncode == 0, process.stderr
        result = json.loads(process.stdout)
        assert result["verdict"] == "promoted"
        answer = requests.post(result["endpoint"], json={"wines": [[13.0] * 13]}, timeout=10)
        assert answer.json()["growers"][0] in (0, 1, 2)
        refused = requests.post(result["endpoint"], json={"wines": [[13.0]]}, timeout=10)
        assert (refused.status_code, refused.json()["error"]) == (400, 'send {"wines": [[13 numbers], ...]}')
    finally:
        daemon.stop(state)
