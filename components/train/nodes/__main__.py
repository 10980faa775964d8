"""One process of a training on several nodes, as torchrun starts it there:

    torchrun --nnodes N ... -m components.train.nodes --workload NAME --key KEY

In:   KEY/data in the object store (CT_STORE), which the step has put there
Out:  KEY/bundle.json and KEY/files in it, written by the first process alone
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
    """Train together with the other processes; returns the exit code, or ends with that of the error."""
    parser = step_cli.command("train.nodes", __doc__)
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument("--key", required=True, help="what the step and its nodes share in the store")
    arguments = parser.parse_args(argv)
    first = int(os.environ.get("RANK") or 0) == 0
    with step_cli.reported(), tempfile.TemporaryDirectory() as folder:
        store = open_store(step_cli.in_pipeline().store)
        exchange = Exchange(store, arguments.key)
        heartbeat = Heartbeat(store, arguments.key)
        if heartbeat.abandoned():
            raise PipelineError("no step waits for this training any more: nothing is learned")
        if first:
            heartbeat.watch(_leave)
        data, bundle = exchange.fetch_data(Path(folder) / "data"), Path(folder) / "model"
        progress = step_cli.tell if first else _silent
        # The checkpoint goes when the step has the bundle: until then, something may still be lost.
        run(discovery.get(arguments.workload), {}, data, bundle, progress, store, keep_checkpoint=True)
        if first:
            exchange.put_bundle(bundle)
            step_cli.tell("the model is in the object store")
    return 0


def _leave() -> None:
    """End this process at once; torchrun and the others end with it."""
    step_cli.tell("the step that began this training is gone: it ends here")
    os._exit(PipelineError.exit_code)


def _silent(_: str) -> None:
    """Say nothing: one process tells what all of them do."""


if __name__ == "__main__":
    sys.exit(main())
