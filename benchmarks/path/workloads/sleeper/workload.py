"""The workload digits with BENCHMARK_SECONDS additional seconds of training."""

import os
import time
from pathlib import Path

import pyarrow as pa

from workloads.contract import Progress, Training, Values
from workloads.digits.workload import Digits


class Sleeper(Digits):
    """The demo's workload with a configurable training time."""

    name = "sleeper"

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Wait, then train as digits does."""
        time.sleep(float(os.environ["BENCHMARK_SECONDS"]))
        return super().train(rows, values, output, progress)


WORKLOAD = Sleeper
