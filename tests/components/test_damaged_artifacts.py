"""A flipped bit in an artifact is detected by the next step that reads the artifact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from components.archive.__main__ import main as archive
from components.deploy_serving import step as deploy_serving
from components.train import step as train
from continuous_training.adapters.model_registry import Registry
from continuous_training.artifacts.checksums import CHECKSUMS
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import USER_ERROR
from continuous_training.rollout.local import LocalTarget

from .conftest import Line

FLIPS = 10
RUN = "run-1"


def train_again(line: Line) -> None:
    train.run(line.workload, {}, line.folder / RUN / "data", line.folder / "model-2")


def deploy(line: Line) -> None:
    folder, target = line.folder / RUN, LocalTarget(line.folder / "state")
    deploy_serving.run(folder / "archive", folder / "deployed.json", line.registry, line.store, target)


STEPS: dict[str, Callable[[Line], object]] = {
    "train": train_again,
    "evaluate": lambda line: line.evaluate(RUN),
    "archive": lambda line: line.archive(RUN),
    "deploy-serving": deploy,
}
UNREAD = {"train": "holdout.parquet", "evaluate": "train.parquet"}
"""By step: the file of the dataset that the step does not read."""


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


@pytest.mark.parametrize(
    ("artifact", "writer", "reader"),
    [
        ("data", "prep(-data|are the data)", "train"),
        ("data", "prep(-data|are the data)", "evaluate"),
        ("model", "train", "evaluate"),
        ("model", "train", "archive"),
        ("evaluation", "evaluate", "archive"),
        ("archive", "archive", "deploy-serving"),
    ],
)
def test_a_flipped_bit_in_any_file_is_rejected(line: Line, artifact: str, writer: str, reader: str) -> None:
    line.up_to_archive(RUN)
    folder, rng = line.folder / RUN / artifact, np.random.default_rng(0)
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert folder / CHECKSUMS in files
    for path in files:
        # The package files of a handler are empty.
        if path.stat().st_size == 0 or path.name == UNREAD.get(reader):
            continue
        content = path.read_bytes()
        for _ in range(FLIPS):
            path.write_bytes(flip_bit(content, rng))
            with pytest.raises(UserError, match=f"{path.name}.*{writer}.*again") as raised:
                STEPS[reader](line)
            assert raised.value.exit_code == USER_ERROR
        path.write_bytes(content)


@pytest.mark.parametrize("reader", ["train", "evaluate", "archive"])
def test_an_artifact_without_checksums_is_accepted(line: Line, reader: str) -> None:
    line.up_to_archive(RUN)
    for path in line.folder.rglob(CHECKSUMS):
        path.unlink()
    STEPS[reader](line)


def test_checksums_are_no_part_of_the_archive(line: Line) -> None:
    first = line.up_to_archive(RUN)
    (line.folder / RUN / "model" / CHECKSUMS).unlink()
    assert line.archive(RUN).digest == first.digest


def test_the_command_names_the_damaged_file(
    line: Line, registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("CT_STORE", str(line.store.root))
    line.up_to_archive(RUN)
    golden = line.folder / RUN / "evaluation/golden.json"
    golden.write_bytes(flip_bit(golden.read_bytes(), np.random.default_rng(0)))
    folders = {part: str(line.folder / RUN / part) for part in ("model", "evaluation", "archive")}
    arguments = [f"--{part}={folders[part]}" for part in ("model", "evaluation")]
    assert archive([*arguments, f"--output={folders['archive']}"]) == USER_ERROR
    assert f"{golden} is damaged: its sha256 differs from SHA256SUMS; run the evaluate step again" in (
        capsys.readouterr().err
    )


def test_a_file_with_the_name_of_the_checksums_is_an_error(line: Line) -> None:
    original = type(line.workload).train

    def train_with_file(self, rows, values, output, progress):  # type: ignore[no-untyped-def]
        (output / CHECKSUMS).write_text("of the workload")
        return original(self, rows, values, output, progress)

    type(line.workload).train = train_with_file
    with pytest.raises(FileExistsError):
        line.train(RUN)
