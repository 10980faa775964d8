"""The benchmark of the server: what it asks, and what it makes of what it measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.bodies import many_of
from benchmarks.serving.contenders import REFERENCE
from benchmarks.serving.environments import NotInstalledError, python_of
from benchmarks.serving.measuring import Measured
from benchmarks.serving.report import Results, write
from continuous_training.artifacts.archive_writer import Archive
from workloads import discovery


@pytest.mark.parametrize(
    ("name", "one", "many"), [("digits", "image", "images"), ("diabetes", "patient", "patients")]
)
def test_a_batch_is_made_of_golden_requests(name: str, one: str, many: str) -> None:
    schema = discovery.get(name).request_schema
    made = many_of(schema, [{one: "a"}, {one: "b"}, {one: "c"}])
    assert made[many][:4] == ["a", "b", "c", "a"]
    assert (list(made), len(made[many])) == ([many], 64)


def test_a_request_that_is_a_list_is_made_longer_and_keeps_its_options() -> None:
    schema = {"properties": {"text": {"type": "array"}, "fast": {}}, "required": ["text"]}
    made = many_of(schema, [{"text": ["a", "b"], "fast": True}, {"text": ["c"], "fast": True}])
    assert made["text"][:4] == ["a", "b", "c", "a"]
    assert (made["fast"], len(made["text"])) == (True, 64)


def test_a_workload_without_lists_has_no_batch() -> None:
    assert many_of({}, [{"x": 1}]) is None


def test_an_environment_that_cannot_be_made_says_so_and_leaves_nothing_complete(tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError, match="no-such-package"):
        python_of(tmp_path, "none", [f"no-such-package @ file://{tmp_path}/none.whl"])
    assert not list(tmp_path.glob("*/complete"))


def test_the_page_tells_medians_as_multiples_of_the_reference(tmp_path: Path) -> None:
    def measured(rate: float) -> Measured:
        load: dict[str, Any] = {"rate": rate, "p50": 1.0, "p99": 2.0}
        return Measured(start=0.5, memory=70.0, loads={"c1": load, "c8": load, "c32": load})

    path = tmp_path / "model.mar"
    path.write_bytes(b"x" * 1000)
    alone = {"json": 5000.0, "batch": 64000.0, "json_batch": 50000.0}
    results = Results(Archive(path, "model", "0" * 64), 3, 4.0, [alone])
    results.rounds = {
        REFERENCE: [measured(rate) for rate in (90, 100, 400)],
        "ours, /predict": [measured(rate) for rate in (900, 1000, 1100)],
    }
    results.missing = {"other": "it does not start:\n  no Java"}
    write([results], tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert f"| {REFERENCE} | 1.0 (100/s) | 1.0 (100/s) | 1.0 (100/s) | – |" in text
    assert "| ours, /predict | 10.0 | 10.0 | 10.0 | – | 1.0 / 2.0 | 1.0 / 2.0 | – | 0.5 | 70 |" in text
    assert "10.0 times the reference at c32, 10.0 times the reference at c1, p99 2.0 ms at c32." in text
    assert "- other: it does not start: no Java" in text
    assert (tmp_path / "page.svg").read_text().startswith("<?xml")
