"""Local runs as function calls, and the child process that runs KFP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import requests

from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.settings import Settings
from continuous_training.serving.process import daemon
from pipelines.local_run.local_run import run_local
from workloads import discovery


def test_two_runs_in_one_process_at_the_same_time_are_independent(tmp_path: Path) -> None:
    """The runs share a state directory. The process keeps its interpreter, environment and output."""

    def process_settings() -> tuple[object, ...]:
        return sys.executable, dict(os.environ), sys.stdout, sys.stderr

    settings = Settings.from_environment(os.environ, tmp_path)
    workloads = [discovery.get(name) for name in ("diabetes", "iris")]
    before = process_settings()
    try:
        with ThreadPoolExecutor() as pool:
            futures = [pool.submit(run_local, w, w.parse({}), settings) for w in workloads]
            while wait(futures, timeout=0.2).not_done:
                assert process_settings() == before
        for workload, result in zip(workloads, [future.result() for future in futures], strict=True):
            assert (result.workload, result.verdict) == (workload.name, "promoted")
            log = (tmp_path / "runs" / str(result.run) / "log.txt").read_text()
            assert f"{workload.name} version 1 is served at {result.endpoint}" in log
            assert sum(f"{other.name} version" in log for other in workloads) == 1
            url = str(result.endpoint).replace("/predict", "/v2/models")
            versions = requests.get(url, timeout=10).json()["versions"]
            assert versions == [str(result.digest)[:12]]
    finally:
        daemon.stop(tmp_path)


def test_the_process_of_kfp_ends_with_its_parent_process(tmp_path: Path) -> None:
    arguments = ("digits", json.dumps({"max_iter": 500}), "run-1", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.local_run.kfp_process", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == INTERRUPTED
