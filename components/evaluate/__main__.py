"""Evaluate a model bundle against the champion on the same holdout rows.

In:   --data, the output of prep-data; --model, the output of train
Out:  OUTPUT/evaluation.json (the decision), OUTPUT/report.html, OUTPUT/card.md, OUTPUT/golden.json
Next: python -m components.archive --model MODEL --evaluation OUTPUT --output out/archive

The exit code is 0 if the model is promoted and 3 if it is rejected.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from components import step_cli
from components.evaluate.tracking import CARD, REPORT
from components.run_context import RunContext
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings
from continuous_training.core.stored_array import parts_of
from continuous_training.evaluation.predictions import Predictions
from workloads import discovery
from workloads.contract import Workload

from .step import EvaluationResult, run


def in_pipeline(
    workload: str,
    run_id: str,
    data: Any,
    model: Any,
    evaluation: Any,
    report: Any,
    card: Any,
    metrics: Any,
    classes: Any,
) -> bool:
    """Run the step inside a pipeline, and fill the artifacts that the Kubeflow UI shows."""

    def execute(settings: Settings) -> bool:
        loaded = discovery.get(workload)
        output = Path(evaluation.path)
        result = evaluate(loaded, Path(data.path), Path(model.path), output, run_id, settings)
        step_cli.tell(outcome(result))
        shutil.copyfile(output / REPORT, report.path)
        shutil.copyfile(output / CARD, card.path)
        for name, interval in result.evaluation.metrics.items():
            values = {name: interval.value, f"{name} low": interval.low, f"{name} high": interval.high}
            for key, value in values.items():
                if math.isfinite(value):
                    metrics.log_metric(key, value)
        if loaded.task == "classification":
            classes.log_confusion_matrix(*confusion_matrix(loaded, result.predictions))
        evaluation.metadata["verdict"] = result.evaluation.verdict
        return result.promoted

    return step_cli.run_in_pipeline("evaluate", execute)


def evaluate(
    workload: Workload, data: Path, model: Path, output: Path, run_id: str, settings: Settings
) -> EvaluationResult:
    """Run the step with the registry and the object store of `settings`."""
    with open_registry(*settings.registry_access) as registry:
        context = RunContext(workload, run_id, registry, open_store(settings.store), step_cli.tell, settings)
        return run(context, data, model, output)


def outcome(result: EvaluationResult) -> str:
    """Return the verdict and its reasons as one line."""
    return f"{result.evaluation.verdict}: " + "; ".join(result.evaluation.reasons)


def confusion_matrix(workload: Workload, predictions: Predictions) -> tuple[list[str], list[list[int]]]:
    """Return the labels, and the number of holdout rows by actual (row) and predicted (column) label."""
    labels = np.array(workload.column(workload.target).values)
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for actual, predicted in parts_of(predictions.actual, predictions.challenger):
        counts += [[((actual == row) & (predicted == column)).sum() for column in labels] for row in labels]
    return [str(label) for label in labels], counts.tolist()


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell and return the exit code."""
    parser = step_cli.command("evaluate", __doc__, state=True)
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the output of prep-data")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the output of train")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the result goes")
    parser.add_argument("--run-id", help="id of the run in the registry; default: a new id")
    arguments = parser.parse_args(argv)

    def run_step() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        workload = discovery.get(arguments.workload)
        run_id = arguments.run_id or new_run_id("hand")
        result = evaluate(workload, arguments.data, arguments.model, arguments.output, run_id, settings)
        print(outcome(result))
        print(f"report: {arguments.output / REPORT}")
        return exit_code_of(result.evaluation.verdict)

    return step_cli.finish(run_step)


if __name__ == "__main__":
    sys.exit(main())
