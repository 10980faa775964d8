"""The Markdown summary of a run's result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import summary
from pipelines.run_result import Interval, RunResult

RESULT = RunResult(
    workload="digits",
    run="r1",
    verdict="promoted",
    reasons=("accuracy is better",),
    metrics={"accuracy": Interval(0.99456, 0.98642, 1.0), "loss": Interval(0.2, float("nan"), float("nan"))},
    version="3",
    digest="0123456789abcdef",
    endpoint=None,
    seconds={},
).to_json()
EXPECTED = """### digits: promoted

- accuracy is better

| metric | value | 95 % interval |
|---|---|---|
| accuracy | 0.9946 | 0.9864 to 1 |
| loss | 0.2 |  |

Version 3, archive `0123456789ab`
"""


def summary_of(result: Any, path: Path) -> int:
    path.write_text(json.dumps(result), encoding="utf-8")
    return summary.main([str(path)])


def test_a_promoted_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary_of(RESULT, tmp_path / "run.json") == 0
    assert capsys.readouterr().out == EXPECTED


def test_a_failed_run_has_no_metrics_and_no_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"verdict": "failed", "reasons": ["data.csv: <img src=x>\n# @team, [link](http://a) | b"]}
    assert summary_of(failed, tmp_path / "run.json") == 0
    expected = r"- data.csv: &lt;img src=x&gt; # &#64;team, \[link](http://a) \| b"
    assert capsys.readouterr().out == f"### run: failed\n\n{expected}\n"


@pytest.mark.parametrize("result", [[], {"workload": "digits"}, {"verdict": "failed", "reasons": "text"}])
def test_another_object_is_rejected(result: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary_of(result, tmp_path / "run.json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "run.json" in captured.err


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    assert summary.main([str(tmp_path / "none.json")]) == 2
