"""A training step that was killed resumes from its checkpoint and produces the same model."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.prep_data import step as prep_data
from continuous_training.adapters.object_store import FolderStore
from continuous_training.core.digest import digest_of_folder
from workloads import discovery

torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")

from workloads.mnist.training import Hyperparameters, Trainer  # noqa: E402

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist") / "data"
    prep_data.run(discovery.get("mnist"), {"epochs": "3"}, folder)
    return folder


def step(data: Path, model: Path, state: Path) -> subprocess.Popen[str]:
    """Start the real step."""
    command = [sys.executable, "-m", "components.train", "--workload", "mnist", "--data", str(data)]
    return subprocess.Popen(
        [*command, "--output", str(model), "--state", str(state)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    messages, _ = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    return messages


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a training that was not interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    messages = finish(step(data, folder / "model", folder / "state"))
    assert "epoch 1 of 3" in messages
    assert checkpoints(folder / "state") == [], "a training that succeeded needs none"
    return folder / "model"


def checkpoints(state: Path) -> list[str]:
    store = FolderStore(state / "store")
    return store.keys("checkpoints")


def test_a_killed_step_resumes_and_produces_the_same_model(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    process = step(data, tmp_path / "model", state)
    assert process.stdout
    for line in process.stdout:
        if "epoch 1 of 3" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    (key,) = checkpoints(state)
    assert key.startswith("checkpoints/mnist/")

    messages = finish(step(data, tmp_path / "model", state))
    assert "resuming after epoch" in messages
    assert "epoch 1 of 3" not in messages
    assert "epoch 3 of 3" in messages
    assert digest_of_folder(tmp_path / "model") == digest_of_folder(undisturbed)
    assert checkpoints(state) == []


IN_PIPELINE = """
import sys
from types import SimpleNamespace
from components.train.__main__ import in_pipeline
data, model = sys.argv[1:]
in_pipeline("mnist", "", {}, SimpleNamespace(path=data), SimpleNamespace(path=model, metadata={}))
"""


def test_a_step_whose_training_process_is_killed_resumes_inside_the_step(
    data: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", IN_PIPELINE, str(data), str(tmp_path / "model")],
        cwd=ROOT,
        env={**ENVIRONMENT, "CT_STATE": str(tmp_path), "CT_RETRIES": "1", "CT_RETRY_BACKOFF": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "epoch 1 of 3" in line:
            for child in psutil.Process(process.pid).children():
                child.kill()
            break
    messages = finish(process)
    assert "was ended by SIGKILL (signal 9); " in messages
    assert "retry 1 of 1 in 0 s" in messages
    assert "resuming after epoch" in messages
    assert digest_of_folder(tmp_path / "model") == digest_of_folder(undisturbed)
    assert checkpoints(tmp_path) == []


def test_a_checkpoint_of_another_torch_version_is_ignored() -> None:
    class MemoryCheckpoints:
        state = b""

        def latest(self) -> bytes:
            return self.state

        def save(self, state: bytes) -> None:
            self.state = state

    images, labels = np.zeros((128, 28, 28), np.uint8), np.zeros(128, np.int64)
    hyperparameters = Hyperparameters(epochs=1, learning_rate=0.001, margin=0.3, seed=0, bfloat16=False)
    checkpoints_in_memory, old = MemoryCheckpoints(), io.BytesIO()
    messages: list[str] = []
    torch.save({"torch": "1.0"}, old)
    checkpoints_in_memory.state = old.getvalue()
    Trainer(images, labels, 10, hyperparameters).run(messages.append, checkpoints_in_memory)
    assert "was written by torch 1.0" in messages[0]
    assert "epoch 1 of 1" in messages[1]
    messages.clear()
    Trainer(images, labels, 10, hyperparameters).run(messages.append, checkpoints_in_memory)
    assert messages == ["resuming after epoch 1 from the checkpoint of an interrupted training"], (
        "all epochs are complete"
    )
