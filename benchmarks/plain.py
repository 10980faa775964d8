"""The reference of the overhead benchmark: the pipeline's steps as one plain script, without KFP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from components.archive.step import run as archive
from components.deploy_serving.step import run as deploy
from components.evaluate.step import run as evaluate
from components.notify.step import run as notify
from components.prep_data.step import run as prepare
from components.run_context import RunContext
from components.train.step import run as train
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings
from continuous_training.rollout.local import LocalTarget
from workloads import discovery


def main() -> None:
    """Run every step of one workload in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    settings = Settings.from_environment(os.environ, arguments.state)
    workload, store = discovery.get(arguments.workload), open_store(settings.store)
    records = RunHistory(store, workload.name)
    run_id = new_run_id(workload.name)
    folder = settings.state / "runs" / run_id
    prepare(workload, {}, folder / "data", records)
    train(workload, {}, folder / "data", folder / "model")
    with open_registry(*settings.registry_access) as registry:
        context = RunContext(workload, run_id, registry, store)
        evaluation = evaluate(context, folder / "data", folder / "model", folder / "evaluation")
        if evaluation.promoted:
            archive(folder / "model", folder / "evaluation", folder / "archive", registry, store)
            target = LocalTarget(settings.state)
            deploy(folder / "archive", folder / "deployed.json", registry, store, target)
    notify(run_id, records, settings)


if __name__ == "__main__":
    main()
