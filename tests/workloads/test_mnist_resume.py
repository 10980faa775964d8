"""A training that is killed goes on where it was, in the real step, and comes to the same model."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.prep_data import step as prep_data
from continuous_training.adapters.object_store import FolderStore
from continuous_training.core.digest import digest_of_folder
from workloads import discovery

torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")

from workloads.mnist.training import Recipe, Trainer  # noqa: E402

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
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def checkpoints(state: Path) -> list[str]:
    store = FolderStore(state / "store")
    return store.keys("checkpoints")


def test_a_killed_step_goes_on_from_its_last_epoch_and_comes_to_the_same_model(
    data: Path, tmp_path: Path
) -> None:
    undisturbed = finish(step(data, tmp_path / "undisturbed", tmp_path / "other"))
    assert "epoch 1 of 3" in undisturbed
    assert checkpoints(tmp_path / "other") == [], "a training that succeeded needs none"

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

    said = finish(step(data, tmp_path / "model", state))
    assert "going on after epoch" in said
    assert "epoch 1 of 3" not in said
    assert "epoch 3 of 3" in said
    assert digest_of_folder(tmp_path / "model") == digest_of_folder(tmp_path / "undisturbed")
    assert checkpoints(state) == []


def test_a_checkpoint_of_another_torch_is_not_gone_on_from() -> None:
    class Kept:
        state = b""

        def latest(self) -> bytes:
            return self.state

        def save(self, state: bytes) -> None:
            self.state = state

    images, labels = np.zeros((128, 28, 28), np.uint8), np.zeros(128, np.int64)
    recipe = Recipe(epochs=1, rate=0.001, margin=0.3, seed=0, half=False)
    kept, old = Kept(), io.BytesIO()
    said: list[str] = []
    torch.save({"torch": "1.0"}, old)
    kept.state = old.getvalue()
    Trainer(images, labels, 10, recipe).run(said.append, kept)
    assert "is of torch 1.0" in said[0]
    assert "epoch 1 of 1" in said[1]
    said.clear()
    Trainer(images, labels, 10, recipe).run(said.append, kept)
    assert said == ["going on after epoch 1, where a former try was cut off"], "nothing is left to learn"
