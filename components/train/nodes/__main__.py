"""Run one process of a training on several nodes. torchrun starts it:

    torchrun --nnodes N ... -m components.train.nodes --workload NAME --key KEY

In:   KEY/data in the object store (CT_STORE), which the step uploads
Out:  KEY/bundle.json and KEY/files in the object store, which the process of rank 0 writes
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from components import step_cli
from components.train.nodes.object_store_exchange import Exchange
from components.train.step import run
from continuous_training.adapters.object_store import open_store
from continuous_training.core.errors import PipelineError
from workloads import discovery

from .heartbeat import Heartbeat


def main(argv: list[str] | None = None) -> int:
    """Train together with the other processes. Return 0, or exit with the exit code of an error."""
    parser = step_cli.command("train.nodes", __doc__)
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument("--key", required=True, help="the prefix of the training's objects in the store")
    arguments = parser.parse_args(argv)
    is_first = int(os.environ.get("RANK") or 0) == 0
    with step_cli.reported(), tempfile.TemporaryDirectory() as folder:
        store = open_store(step_cli.in_pipeline().store)
        exchange = Exchange(store, arguments.key)
        heartbeat = Heartbeat(store, arguments.key)
        if heartbeat.is_expired():
            raise PipelineError("the train step no longer runs: the training is cancelled")
        if is_first:
            heartbeat.watch(_exit)
        data, bundle = exchange.fetch_data(Path(folder) / "data"), Path(folder) / "model"
        progress = step_cli.tell if is_first else _silent
        # The step deletes the checkpoint after it has fetched the bundle. Until then, a retry may need it.
        workload = discovery.get(arguments.workload)
        run(workload, {}, data, bundle, progress, store, keep_checkpoint=True, complete=is_first)
        if is_first:
            exchange.put_bundle(bundle)
            step_cli.tell("the model is stored in the object store")
    return 0


def _exit() -> None:
    """End this process at once. torchrun then ends the other processes."""
    step_cli.tell("the train step no longer runs: the training ends")
    os._exit(PipelineError.exit_code)


def _silent(_: str) -> None:
    """Discard a progress message. Rank 0 reports the progress of all processes."""


if __name__ == "__main__":
    sys.exit(main())
