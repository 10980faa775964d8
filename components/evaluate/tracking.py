"""What remains of an evaluation: an MLflow run, and for a rejection the record of the pipeline's run."""

from __future__ import annotations

from typing import Any

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import DESCRIPTION as DATASET
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.files import to_json
from continuous_training.evaluation.promotion_rule import PREFIX

DESCRIPTION, GOLDEN, REPORT, CARD = "evaluation.json", "golden.json", "report.html", "card.md"
"""The files of an evaluation: the verdict, the golden requests with their answers, the report, the card."""


def record(
    registry: Registry,
    records: RunHistory,
    dataset: Dataset,
    description: dict[str, Any],
    report: str,
    card: str,
) -> None:
    """Log the judgement as an MLflow run; a rejection settles its recipe."""
    run = description["registry"]["run"]
    metrics = {
        f"{name}{suffix}": interval[part]
        for name, interval in description["metrics"].items()
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        if interval[part] is not None
    }
    metrics |= {f"drift_{one['column']}": one["psi"] for one in description["drift"]}
    rule = {f"{PREFIX}{name}": value for name, value in description["rule"].items() if value is not None}
    tags = {
        "verdict": description["verdict"],
        "reasons": "; ".join(description["reasons"]),
        "data_fingerprint": description["data"]["fingerprint"],
        "sample": str(description["data"]["sample"]).lower(),
        "code": description["code"],
        "recipe": description["recipe"],
        "model_digest": description["model_digest"],
    }
    registry.log(run, description["parameters"] | rule, metrics, tags)
    data = dataset.description
    profile = to_json({split: data["splits"][split] for split in data["splits"]})
    registry.log_dataset(run, description["workload"], data["fingerprint"], data["source"], profile)
    registry.log_file(run, REPORT, report.encode())
    registry.log_file(run, CARD, card.encode())
    registry.log_file(run, DATASET, to_json(data).encode())
    registry.log_file(run, DESCRIPTION, to_json(description).encode())
    registry.end(run)
    if description["verdict"] == "rejected":
        names = ("verdict", "reasons", "metrics", "champion", "recipe", "registry")
        brief = {key: description[key] for key in names}
        records.write_run(description["run"], brief)
        records.settle(description["recipe"], {"run": description["run"], **brief})
