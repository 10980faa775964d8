"""Tests of the benchmark of the server: its requests, its environments and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.bodies import batch_request
from benchmarks.serving.contenders import REFERENCE
from benchmarks.serving.environments import NotInstalledError, environment_python
from benchmarks.serving.measuring import Measurement
from benchmarks.serving.report import Results, write
from continuous_training.artifacts.archive_writer import Archive
from workloads import discovery


@pytest.mark.parametrize(
    ("name", "item_key", "list_key"), [("digits", "image", "images"), ("diabetes", "patient", "patients")]
)
def test_a_batch_consists_of_golden_requests(name: str, item_key: str, list_key: str) -> None:
    schema = discovery.get(name).request_schema
    batch = batch_request(schema, [{item_key: "a"}, {item_key: "b"}, {item_key: "c"}])
    assert batch[list_key][:4] == ["a", "b", "c", "a"]
    assert (list(batch), len(batch[list_key])) == ([list_key], 64)


def test_a_batch_of_list_requests_keeps_their_options() -> None:
    schema = {"properties": {"text": {"type": "array"}, "fast": {}}, "required": ["text"]}
    batch = batch_request(schema, [{"text": ["a", "b"], "fast": True}, {"text": ["c"], "fast": True}])
    assert batch["text"][:4] == ["a", "b", "c", "a"]
    assert (batch["fast"], len(batch["text"])) == (True, 64)


def test_a_workload_without_lists_has_no_batch() -> None:
    assert batch_request({}, [{"x": 1}]) is None


def test_a_failed_installation_raises_and_leaves_no_completed_environment(tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError, match="no-such-package"):
        environment_python(tmp_path, "none", [f"no-such-package @ file://{tmp_path}/none.whl"])
    assert not list(tmp_path.glob("*/complete"))


def test_the_page_contains_medians_as_multiples_of_the_reference(tmp_path: Path) -> None:
    def measurement(rate: float) -> Measurement:
        load: dict[str, Any] = {"rate": rate, "p50": 1.0, "p99": 2.0}
        return Measurement(start=0.5, memory=70.0, loads={"c1": load, "c8": load, "c32": load})

    path = tmp_path / "model.mar"
    path.write_bytes(b"x" * 1000)
    limits = {"json": 5000.0, "batch": 64000.0, "json_batch": 50000.0}
    results = Results(Archive(path, "model", "0" * 64), 3, 4.0, [limits])
    results.rounds = {
        REFERENCE: [measurement(rate) for rate in (90, 100, 400)],
        "ours, /predict": [measurement(rate) for rate in (900, 1000, 1100)],
    }
    results.missing = {"other": "the server does not start:\n  no Java"}
    write([results], tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert f"| {REFERENCE} | 1.0 (100/s) | 1.0 (100/s) | 1.0 (100/s) | – |" in text
    assert "| ours, /predict | 10.0 | 10.0 | 10.0 | – | 1.0 / 2.0 | 1.0 / 2.0 | – | 0.5 | 70 |" in text
    assert "10.0 times the reference at c32, 10.0 times the reference at c1, p99 2.0 ms at c32." in text
    assert "- other: the server does not start: no Java" in text
    assert (tmp_path / "page.svg").read_text().startswith("<?xml")
