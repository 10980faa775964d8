"""evaluate, alone: judge a bundle against the champion on the same holdout rows.

In:   --data, the output of prep-data; --model, the output of train
Out:  OUTPUT/evaluation.json (the verdict and why), OUTPUT/report.html, OUTPUT/card.md, OUTPUT/golden.json
Next: python -m components.archive --model MODEL --evaluation OUTPUT --output out/archive

Ends with 0 when the model is promoted and with 3 when it is rejected.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from components import step_cli
from components.evaluate.tracking import CARD, REPORT
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.core.exit_codes import REJECTED
from continuous_training.core.settings import Settings
from workloads import discovery
from workloads.contract import Workload

from .step import Evaluation, run


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
    """Run the step inside a pipeline, and show its result to the Kubeflow UI."""
    with step_cli.reported():
        chosen = discovery.get(workload)
        output = Path(evaluation.path)
        judged = judge(chosen, Path(data.path), Path(model.path), output, run_id, step_cli.in_pipeline())
        step_cli.tell(outcome(judged))
        shutil.copyfile(output / REPORT, report.path)
        shutil.copyfile(output / CARD, card.path)
        for name, interval in judged.description["metrics"].items():
            for part, value in interval.items():
                if value is not None:
                    metrics.log_metric(name if part == "value" else f"{name} {part}", value)
        if chosen.task == "classification":
            classes.log_confusion_matrix(*confusion(chosen, judged))
        evaluation.metadata["verdict"] = judged.description["verdict"]
        return judged.promoted


def judge(
    workload: Workload, data: Path, model: Path, output: Path, run_id: str, settings: Settings
) -> Evaluation:
    """Run the step with the registry and the store of `settings`."""
    with open_registry(*settings.registry_access) as registry:
        return run(workload, data, model, output, run_id, registry, open_store(settings.store), step_cli.tell)


def outcome(judged: Evaluation) -> str:
    """Return the verdict and its reasons as one line."""
    return f"{judged.description['verdict']}: " + "; ".join(judged.description["reasons"])


def confusion(workload: Workload, judged: Evaluation) -> tuple[list[str], list[list[int]]]:
    """Return the labels, and how often each was taken for each: rows are actual, columns predicted."""
    labels = np.array(workload.column(workload.target).values)
    actual, predicted = judged.judgement.actual, judged.judgement.predicted
    counts = [[int(((actual == a) & (predicted == p)).sum()) for p in labels] for a in labels]
    return [str(label) for label in labels], counts


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell; returns the exit code."""
    parser = step_cli.command("evaluate", __doc__, state=True)
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the output of prep-data")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the output of train")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the verdict goes")
    parser.add_argument("--run-id", help="name of the run that the registry shows; default: a new one")
    arguments = parser.parse_args(argv)

    def work() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        workload = discovery.get(arguments.workload)
        run_id = arguments.run_id or step_cli.new_run_id("hand")
        judged = judge(workload, arguments.data, arguments.model, arguments.output, run_id, settings)
        print(outcome(judged))
        print(f"report: {arguments.output / REPORT}")
        return 0 if judged.promoted else REJECTED

    return step_cli.finish(work)


if __name__ == "__main__":
    sys.exit(main())
