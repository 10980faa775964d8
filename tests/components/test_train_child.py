"""The train step of a pipeline whose training process crashes, fails or is cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.prep_data import step as prep_data
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from workloads import discovery

ROOT = Path(__file__).parents[2]

# multiprocessing imports this file again in the child process, which therefore finds the workload, too.
SCRIPT = f"""
import sys
from types import SimpleNamespace
import workloads
workloads.__path__.append({str(Path(__file__).parent / "workloads")!r})
from components.train.__main__ import in_pipeline
if __name__ == "__main__":
    data, model = sys.argv[1:]
    model = SimpleNamespace(path=model, metadata={{}})
    in_pipeline("epochs", "", {{}}, SimpleNamespace(path=data), model)
    print("digest", model.metadata["recipe"])
"""


class TrainStep:
    """The train step of the workload `epochs`, as the pipeline starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.model = folder, folder / "data", folder / "model"
        prep_data.run(discovery.get("epochs"), {}, self.data)
        (folder / "step.py").write_text(SCRIPT)
        self.store = FolderStore(folder / "store")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        names = {"CT_STORE": str(self.folder / "store"), "CT_RUN": "run-1", "CT_WORKLOAD": "epochs"}
        retries = {"CT_RETRIES": "2", "CT_RETRY_BACKOFF": "0.1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, str(self.folder / "step.py"), str(self.data), str(self.model)],
            cwd=ROOT,
            env={**os.environ, **names, **retries, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **environment: str) -> tuple[int, str]:
        """Run the step to its end. Return its exit code and its output."""
        process = self.start(**environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def failure(self) -> tuple[int, str]:
        """Return the exit code and the error of the recorded failure."""
        failure = RunHistory(self.store, "epochs").failure("run-1")
        assert failure
        return failure.exit_code, failure.error


@pytest.fixture
def step(tmp_path: Path) -> TrainStep:
    return TrainStep(tmp_path)


def test_a_crashed_training_resumes_from_its_checkpoint(step: TrainStep) -> None:
    code, output = step.run(EPOCHS_FATE="SIGKILL")
    assert code == 0, output
    assert [line for line in output.splitlines() if "epoch" in line] == [f"· epoch {n}" for n in (1, 2, 3)]
    assert "the process was ended by SIGKILL (signal 9)" in output
    assert "retry 1 of 2 in 0.1 s" in output
    assert f"digest {Dataset.open(step.data).manifest.input_digest}" in output
    assert (step.model / "model.json").is_file()
    assert step.store.keys("checkpoints") == []


def test_a_training_that_always_crashes_fails_after_its_retries(step: TrainStep) -> None:
    code, output = step.run(EPOCHS_FATE="SIGSEGV", EPOCHS_ALWAYS="1")
    assert code == 75, output
    assert "retry 2 of 2" in output
    assert step.failure() == (75, "the process was ended by SIGSEGV (signal 11)")
    assert not step.model.exists()


def test_an_exception_of_the_workload_is_not_retried(step: TrainStep) -> None:
    code, output = step.run(EPOCHS_FATE="exception")
    assert code == 1, output
    assert output.count("· epoch 1") == 1
    assert "retry 1 of 2" not in output
    assert "in train" in output, "the traceback of the child is printed"
    assert step.failure() == (1, "unexpected error: RuntimeError: the loss diverged")


@pytest.mark.parametrize(("fate", "code"), [("UserError", 2), ("DiskFullError", 75)])
def test_an_expected_error_keeps_its_exit_code(step: TrainStep, fate: str, code: int) -> None:
    exit_code, output = step.run(EPOCHS_FATE=fate)
    assert exit_code == code, output
    assert "retry 1 of 2" not in output
    assert step.failure() == (code, f"a {fate}")


def test_an_error_that_another_process_cannot_restore_keeps_its_message(step: TrainStep) -> None:
    code, output = step.run(EPOCHS_FATE="unpicklable")
    assert code == 1, output
    assert step.failure() == (1, "unexpected error: Unpicklable: cannot be restored")


def test_a_training_that_exits_without_a_result_is_not_retried(step: TrainStep) -> None:
    code, output = step.run(EPOCHS_FATE="exit")
    assert code == 1, output
    assert "the process ended with exit code 7 before it had a result" in output
    assert "retry 1 of 2" not in output


def test_a_step_without_retries_trains_in_its_own_process(step: TrainStep) -> None:
    code, _ = step.run(EPOCHS_FATE="SIGKILL", CT_RETRIES="0")
    assert code == -signal.SIGKILL


def test_a_cancelled_step_ends_its_training(step: TrainStep) -> None:
    process = step.start(EPOCHS_FATE="sleep")
    assert process.stdout
    child = next(line.split()[-1] for line in process.stdout if "process" in line)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)
    process.stdout.close()
    assert json.loads((step.data / "dataset.json").read_text())["workload"] == "epochs"
