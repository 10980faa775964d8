"""The whole pipeline with remote sources: reviews in a bucket, images at an https:// address."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import workloads.mnist.workload as mnist
import workloads.nsmc.workload as nsmc
from continuous_training.serving.process import daemon
from tests import files_server
from tests.s3 import ACCESS, Bucket

ROOT = Path(__file__).parents[2]
ENGLISH = "Not bad at all, and the end is a surprise"


def run(workload: str, state: Path, *sets: str, env: dict[str, str], code: int = 0) -> dict[str, Any]:
    """Run the pipeline as a process. Return its result."""
    options = [part for assignment in sets for part in ("--set", assignment)]
    process = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "--workload", workload, "--state", state, "--json", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "CT_CACHE": str(state / "cache"), **env},
        cwd=ROOT,
    )
    assert process.returncode == code, process.stderr[-3000:]
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def test_reviews_from_a_bucket_and_the_drift_of_new_reviews(bucket: Bucket, tmp_path: Path) -> None:
    state, sample = tmp_path / "state", Path(nsmc.__file__).parent / "sample"
    prefix = bucket.folder / "some/prefix"
    prefix.mkdir(parents=True)
    for name in nsmc.FILES.values():
        (prefix / name).write_bytes((sample / name).read_bytes())
    keys = {"AWS_ACCESS_KEY_ID": ACCESS[0], "AWS_SECRET_ACCESS_KEY": ACCESS[1]}
    try:
        first = run("nsmc", state, f"source={bucket.uri}", env=keys)
        assert first["verdict"] == "promoted"
        assert not any("a sample that comes with the code" in reason for reason in first["reasons"])
        repeated = run("nsmc", state, f"source={bucket.uri}", env=keys)
        assert (repeated["verdict"], repeated["digest"]) == ("unchanged", first["digest"])
        rows = (prefix / "ratings_train.txt").read_text().splitlines()
        head, half = rows[0], len(rows) // 2
        replaced = [f"{row.split(chr(9))[0]}\t{ENGLISH}\t{row.split(chr(9))[2]}" for row in rows[1:half]]
        (prefix / "ratings_train.txt").write_text("\n".join([head, *replaced, *rows[half:]]) + "\n")
        second_run = run("nsmc", state, f"source={bucket.uri}", env=keys, code=3)
        (evaluation,) = (state / "runs" / second_run["run"]).glob(
            "artifacts/*/evaluate/evaluation/evaluation.json"
        )
        drift = {column["column"]: column for column in json.loads(evaluation.read_text())["drift"]}
        assert drift["document characters"]["word"] == "large"
        assert drift["label"]["word"] == "stable"
        report = Path(second_run["report"]).read_text()
        assert "document characters" in report
        assert re.search(r"each text has the same weight: (latin|hangul) [\d.]+ %, (hangul|latin) ", report)
    finally:
        daemon.stop(state)


@pytest.mark.full
@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="mnist trains with torch: make install EXTRAS=torch"
)
def test_images_from_an_https_address_are_downloaded_once(tmp_path: Path) -> None:
    state, sample = tmp_path / "state", Path(mnist.__file__).parent / "sample"
    settings = ("epochs=1", "gate_floor=0.2", "gate_slice_rows=0")
    with files_server.serve(b"", files_server.server_context(tmp_path)) as files:
        files.other_files = {f"/data/{path.name}": path.read_bytes() for path in sample.glob("*.gz")}
        ca_bundle = {"REQUESTS_CA_BUNDLE": str(tmp_path / "cert.pem")}
        try:
            first = run("mnist", state, f"source={files.url}", *settings, env=ca_bundle)
            assert first["verdict"] == "promoted"
            assert len(files.other_files) == 4
            downloads = [
                r for r in files.requests if r["path"] in files.other_files and "if-none-match" not in r
            ]
            assert sorted(r["path"] for r in downloads) == sorted(files.other_files)
            files.requests.clear()
            repeated = run("mnist", state, f"source={files.url}", *settings, env=ca_bundle)
            assert repeated["verdict"] == "unchanged"
            conditional = [request for request in files.requests if request["path"] in files.other_files]
            assert len(conditional) == 4
            assert all("if-none-match" in request for request in conditional), "only conditional requests"
            untrusted = run("mnist", state, f"source={files.url}", *settings, env={}, code=2)
            assert "is not valid" in untrusted["reasons"][0]
        finally:
            daemon.stop(state)
