"""A workload with checkpoints, whose training ends in its second epoch as an environment variable states."""

import os
import signal
import time

from continuous_training.core.errors import DiskFullError, UserError
from workloads.contract import Resumable

from ..fence.handler import FenceHandler
from ..fence.workload import Fence


class Unpicklable(Exception):
    """An error that cannot be restored in another process."""

    def __init__(self, text, required):
        super().__init__(text)


class Epochs(Resumable, Fence):
    """Crashes in the second epoch the first time, or each time if EPOCHS_ALWAYS is set."""

    name = "epochs"
    summary = "a training in three epochs"
    handler = FenceHandler

    def train(self, rows, values, output, progress, checkpoints=None):
        completed = int((checkpoints and checkpoints.latest()) or 0)
        for epoch in range(completed + 1, 4):
            progress(f"epoch {epoch}")
            if checkpoints:
                checkpoints.save(str(epoch).encode())
            if epoch == 2 or os.environ.get("EPOCHS_ALWAYS"):
                self._end(os.environ.get("EPOCHS_FATE", ""), progress)
        return Fence.train(self, rows, values, output, progress)

    def _end(self, fate, progress):
        if fate.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, fate))
        elif fate == "exception":
            raise RuntimeError("the loss diverged")
        elif fate == "unpicklable":
            raise Unpicklable("cannot be restored", required=True)
        elif fate == "exit":
            os._exit(7)
        elif fate == "sleep":
            progress(f"process {os.getpid()}")
            time.sleep(600)
        elif fate:
            raise {"UserError": UserError, "DiskFullError": DiskFullError}[fate](f"a {fate}")


WORKLOAD = Epochs
