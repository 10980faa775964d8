"""Read, validate and split the rows of a data source.

Input:   the rows of --set source=... (default: the workload's own)
Output:  OUTPUT/train.parquet, OUTPUT/holdout.parquet, OUTPUT/dataset.json
Next:    python -m components.train --workload NAME --data OUTPUT --output out/model
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from components import locked_packages, step_cli
from components.train_image import check_train_image
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.run_record import DataRecord, RunRecord
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.core.settings import Settings
from workloads import discovery

from .step import run


def in_pipeline(
    workload: str,
    parameters: str,
    run_id: str,
    scheduled: str,
    data: Any,
    packages: str = "",
    train_image: str = "",
) -> bool:
    """Run the step inside a pipeline. Record the run if its inputs were processed before.

    `packages` is the text of the locked packages, and `train_image` the name of the train step's image.
    Pipelines that an older version compiled have neither.
    """

    def execute(settings: Settings) -> bool:
        records = RunHistory(open_store(settings.store), workload, step_cli.tell)
        definition, arguments = discovery.get(workload), step_cli.arguments_of(parameters)
        check_train_image(definition, definition.parse(arguments), train_image)
        result = run(
            definition,
            arguments,
            Path(data.path),
            records,
            scheduled,
            step_cli.tell,
            settings.cache,
            locked_packages.from_text(packages),
            settings.addresses,
        )
        records.write_data(
            data_record(run_id, Dataset.open(Path(data.path)), result.baseline, definition.target)
        )
        data.metadata["recipe"] = result.input_digest
        data.metadata |= {f"{split}_rows": count for split, count in result.rows.items()}
        if result.earlier:
            record = unchanged_record(run_id, result.earlier)
            records.write_run(record)
            step_cli.tell(record.reasons[0])
        return result.changed

    return step_cli.run_in_pipeline("prep-data", execute)


def data_record(run_id: str, dataset: Dataset, baseline: str | None = None, label: str = "") -> DataRecord:
    """Return the record of the latest data, with the statistics that drift is computed from.

    `label` is the label column.
    """
    manifest = dataset.manifest
    return DataRecord(
        run=run_id,
        as_of=manifest.as_of,
        source=manifest.source,
        fingerprint=manifest.fingerprint,
        rows={name: split.rows for name, split in manifest.splits.items()},
        statistics=manifest.train.statistics,
        inputs=manifest.inputs,
        baseline=baseline,
        checks=DataChecks.of(manifest, label),
    )


def unchanged_record(run_id: str, earlier: RunRecord) -> RunRecord:
    """Return the record of a run whose inputs were processed by an earlier run."""
    result = f"{earlier.verdict} by run {earlier.run}"
    return RunRecord(
        run=run_id,
        verdict="unchanged",
        reasons=(f"data unchanged: these rows and parameters were evaluated before ({result})",),
        metrics=earlier.metrics,
        input_digest=earlier.input_digest,
        version=earlier.version,
        digest=earlier.digest,
        endpoint=earlier.endpoint,
        evaluated_by=earlier.run,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell; returns the exit code."""
    parser = step_cli.command("prep_data", __doc__)
    step_cli.workload_arguments(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the folder for the dataset"
    )
    arguments = parser.parse_args(argv)

    def prepare() -> int:
        workload = discovery.get(arguments.workload)
        settings = Settings.from_environment(os.environ)
        run(
            workload,
            parse_assignments(arguments.set),
            arguments.output,
            progress=step_cli.tell,
            cache=settings.cache,
            packages=locked_packages.locked_packages(workload),
            addresses=settings.addresses,
        )
        print(f"dataset: {arguments.output}")
        return 0

    return step_cli.finish(prepare)


if __name__ == "__main__":
    sys.exit(main())
