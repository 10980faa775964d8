"""The train step: the bundle, checkpoints and the inputs that it rejects."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data import step as prep_data
from components.train.__main__ import main
from components.train.step import run
from continuous_training.adapters.object_store import FolderStore
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import TransientError, UserError
from continuous_training.serving.models.model import load_model
from workloads import discovery
from workloads.contract import Resumable, StoredRows, Training, Workload

from .conftest import Line

Make = Callable[..., Workload]


@pytest.fixture
def data(make: Make, tmp_path: Path) -> Path:
    prep_data.run(make(), {"fence": "47", "source": "made:500"}, tmp_path / "data")
    return tmp_path / "data"


def test_the_bundle_contains_model_handler_and_metadata(make: Make, data: Path, tmp_path: Path) -> None:
    workload = make()
    metadata = run(workload, {}, data, tmp_path / "model").to_json()
    files = sorted(
        str(p.relative_to(tmp_path / "model")) for p in (tmp_path / "model").rglob("*") if p.is_file()
    )
    assert files == [
        "SHA256SUMS", "fence.json", "model.json", "workloads/__init__.py", "workloads/fence/__init__.py",
        "workloads/fence/handler.py", "workloads/handler.py",
    ]  # fmt: skip
    assert json.loads((tmp_path / "model/model.json").read_text()) == metadata
    dataset = json.loads((data / "dataset.json").read_text())
    assert metadata["name"] == workload.name
    assert metadata["handler"] == "workloads.fence.handler:FenceHandler"
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1]}]
    assert metadata["outputs"] == [{"name": "label", "datatype": "INT64", "shape": [-1]}]
    assert metadata["recipe"] == metadata["prepared"] == dataset["recipe"]
    assert metadata["data"] == {
        "fingerprint": dataset["fingerprint"],
        "rows": dataset["splits"]["train"]["rows"],
        "sample": False,
        "split_rule": dataset["split_rule"],
        "holdout": {key: dataset["splits"]["holdout"][key] for key in ("rows", "fingerprint")},
        "statistics": dataset["splits"]["train"]["statistics"],
    }
    assert (metadata["curve"], metadata["notes"]) == ([{"step": 1, "error": 0.5}], {"fence": 47.0})


def test_the_bundle_can_be_loaded_and_predicts(make: Make, data: Path, tmp_path: Path) -> None:
    run(make(), {}, data, tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.predict({"x": [46, 47]}) == {"label": [0, 1]}


def test_training_again_writes_the_same_bundle(make: Make, data: Path, tmp_path: Path) -> None:
    digests = set()
    for _ in range(2):
        run(make(), {}, data, tmp_path / "model")
        digests.add(digest_of_folder(tmp_path / "model"))
    assert len(digests) == 1


@pytest.mark.parametrize("parameters", [{}, {"fence": "47"}, {"fence": 47.0, "seed": "0", "force": "no"}])
def test_the_model_has_the_parameters_of_the_dataset(
    make: Make, data: Path, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """The parameters of the dataset are used, whether they are passed or not."""
    metadata = run(make(), parameters, data, tmp_path / "model").to_json()
    assert metadata["parameters"] == {"fence": 47.0, "seed": 0}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fence": "50"}, "was prepared with fence=47.0, not 50.0; prepare it again: "),
        ({"test_size": "0.3"}, "was prepared with test_size=0.2, not 0.3"),
        ({"source": "made:400"}, "was prepared with source=made:500, not made:400"),
        ({"fense": "47"}, "there is no run parameter 'fense'; did you mean fence?"),
        ({"fence": "101"}, "101 is greater than 100. Pass a number from 0 to 100"),
    ],
)
def test_parameters_that_contradict_the_dataset_are_rejected(
    make: Make, data: Path, tmp_path: Path, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError) as error:
        run(make(), parameters, data, tmp_path / "model")
    assert message in str(error.value)
    assert not (tmp_path / "model").exists()


def test_a_dataset_of_another_workload_is_rejected(make: Make, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains data of the workload model\d+, not of other"):
        run(make(name="other"), {}, data, tmp_path / "model")


@pytest.mark.parametrize("folder", ["missing", "."])
def test_a_folder_without_a_dataset_is_rejected(make: Make, tmp_path: Path, folder: str) -> None:
    with pytest.raises(
        UserError, match=r"contains no dataset \(dataset\.json is missing\); create it with python"
    ):
        run(make(), {}, tmp_path / folder, tmp_path / "model")


def test_a_failed_training_keeps_the_previous_bundle(make: Make, data: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        run(make(fails="out of memory"), {}, data, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    run(make(), {}, data, tmp_path / "model")
    before = digest_of_folder(tmp_path / "model")
    with pytest.raises(RuntimeError, match="out of memory"):
        run(make(fails="out of memory"), {}, data, tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model"]
    assert digest_of_folder(tmp_path / "model") == before


def test_the_metadata_contains_null_for_values_of_a_diverged_training(
    make: Make, data: Path, tmp_path: Path
) -> None:
    def diverge(self: Any, rows: Any, values: Any, output: Path, progress: Any) -> Training:
        (output / "fence.json").write_text("50")
        return Training([{"step": 1, "error": float("nan")}], {"loss": float("inf")})

    metadata = run(make(train=diverge), {}, data, tmp_path / "model").to_json()
    assert (metadata["curve"], metadata["notes"]) == ([{"step": 1, "error": None}], {"loss": None})
    assert json.loads((tmp_path / "model/model.json").read_text()) == metadata


def test_the_command_writes_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from components.prep_data.__main__ import main as prepare

    data, model = str(tmp_path / "data"), str(tmp_path / "model")
    assert prepare(["--workload", "fence", "--output", data]) == 0
    assert main(["--workload", "fence", "--data", data, "--output", model]) == 0
    printed = capsys.readouterr()
    assert "· training on " in printed.err
    assert printed.out.endswith(f"bundle: {model}\n")
    assert main(["--workload", "fence", "--data", data, "--output", model, "--set", "fence=1"]) == 2
    assert "was prepared with fence=50.0, not 1.0" in capsys.readouterr().err
    assert main(["--workload", "line", "--data", data, "--output", model]) == 2
    assert "contains data of the workload fence, not of line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.pkl", b"content"), ("deep/model.joblib", b"x"), ("model.bin", b"\x80\x05\x95rest")],
)
def test_a_pickle_is_rejected(make: Make, data: Path, tmp_path: Path, name: str, content: bytes) -> None:
    def write_pickle(self: Any, rows: Any, values: Any, output: Path, progress: Any) -> Training:
        (output / "fence.json").write_text("50")
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).write_bytes(content)
        return Training()

    with pytest.raises(UserError, match=rf"wrote {name}, which is a pickle.* as ONNX, numpy arrays or JSON"):
        run(make(train=write_pickle), {}, data, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("name", "content"), [("dataset.json", "{"), ("train.parquet", "PAR1, and no more")])
def test_a_damaged_dataset_is_rejected(
    make: Make, data: Path, tmp_path: Path, name: str, content: str
) -> None:
    (data / name).write_text(content)
    with pytest.raises(
        UserError, match=rf"{name} is damaged.*; (prepare the data|run the prep-data step) again"
    ):
        run(make(), {}, data, tmp_path / "model")


class TestCheckpoints:
    """An interrupted training and its retry."""

    def resumable(self, make: Make) -> Workload:
        fence = type(make())

        def train(
            self: Any, rows: Any, values: Any, output: Path, progress: Any, checkpoints: Any = None
        ) -> Training:
            completed = int(checkpoints.latest() or 0) if checkpoints else 0
            for epoch in range(completed + 1, 4):
                if checkpoints:
                    checkpoints.save(str(epoch).encode())
                progress(f"epoch {epoch}")
                if self.fails and epoch == 2:
                    raise RuntimeError(self.fails)
            return fence.train(self, rows, values, output, progress)

        bases = (Resumable, fence)
        return type("Slow", bases, {"train": train, "__module__": fence.__module__})()

    def test_a_retry_resumes_and_deletes_the_checkpoint(
        self, make: Make, data: Path, tmp_path: Path, store: FolderStore
    ) -> None:
        slow = self.resumable(make)
        input_digest = json.loads((data / "dataset.json").read_text())["recipe"]
        slow.fails = "out of memory"  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="out of memory"):
            run(slow, {}, data, tmp_path / "model", store=store)
        assert store.keys("checkpoints") == [f"checkpoints/{slow.name}/{input_digest}"]
        slow.fails = ""  # type: ignore[attr-defined]
        messages: list[str] = []
        run(slow, {}, data, tmp_path / "model", messages.append, store)
        assert [line for line in messages if line.startswith("epoch")] == ["epoch 3"]
        assert store.keys("checkpoints") == []

    @pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "without checksum"])
    def test_a_damaged_checkpoint_is_reported_and_ignored(
        self, make: Make, data: Path, tmp_path: Path, store: FolderStore, damage: str
    ) -> None:
        slow = self.resumable(make)
        slow.fails = "out of memory"  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="out of memory"):
            run(slow, {}, data, tmp_path / "model", store=store)
        slow.fails = ""  # type: ignore[attr-defined]
        (key,) = store.keys("checkpoints")
        stored = store.read(key)
        assert stored is not None
        damaged = {
            # The state "2" of an interrupted training becomes "3".
            "flip": bytes([stored[0] ^ 1]) + stored[1:],
            "truncate": stored[:-1],
            "empty": b"",
            "without checksum": b"2",
        }[damage]
        store.write(key, damaged)
        messages: list[str] = []
        run(slow, {}, data, tmp_path / "model", messages.append, store)
        assert [line for line in messages if line.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]
        (message,) = [line for line in messages if "checkpoint" in line]
        assert message.startswith(f"the checkpoint {key} is damaged, or an earlier version wrote it")
        assert message.endswith("training starts from the beginning")
        assert store.keys("checkpoints") == []

    def test_without_a_store_it_trains_from_the_start(self, make: Make, data: Path, tmp_path: Path) -> None:
        messages: list[str] = []
        run(self.resumable(make), {}, data, tmp_path / "model", messages.append)
        assert [line for line in messages if line.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]

    def test_training_continues_when_the_store_is_temporarily_unavailable(
        self, make: Make, data: Path, tmp_path: Path
    ) -> None:
        class UnavailableStore(FolderStore):
            def write(self, key: str, data: bytes) -> None:
                raise TransientError("no route")

        messages: list[str] = []
        run(
            self.resumable(make),
            {},
            data,
            tmp_path / "model",
            messages.append,
            UnavailableStore(tmp_path / "store"),
        )
        assert "the checkpoint could not be saved; training continues: no route" in messages
        assert (tmp_path / "model").is_dir()


def test_a_workload_can_read_its_rows_in_batches_several_times(
    make: Make, data: Path, tmp_path: Path
) -> None:
    def train_stored(self: Any, rows: StoredRows, values: Any, output: Path, progress: Any) -> Training:
        (output / "fence.json").write_text("47")
        passes = [[batch["x"].to_pylist() for batch in rows.batches(["x"], size=100)] for _ in range(2)]
        assert passes[0] == passes[1]
        assert [x for xs in passes[0] for x in xs] == rows.table()["x"].to_pylist()
        return Training(notes={"rows": rows.num_rows, "sizes": [len(xs) for xs in passes[0]]})

    workload = make(train_stored=train_stored)
    metadata = run(workload, {}, data, tmp_path / "model").to_json()
    count = metadata["data"]["rows"]
    assert metadata["notes"]["rows"] == count
    assert metadata["notes"]["sizes"] == [100] * (count // 100) + [count % 100]


def test_a_hyperparameter_can_differ_from_that_of_the_dataset(make: Make, line: Line, tmp_path: Path) -> None:
    """The model then has the input digest of a run with that value, so that such a run is unchanged."""
    tuned = tuple(replace(p, shapes_data=False) for p in make().own_parameters)
    workload = line.workload = make(own_parameters=tuned)
    line.train("run-1", fence="70")
    data, model = line.folder / "run-1/data", line.folder / "run-1/model"
    metadata = run(workload, {"fence": "50", "seed": "3"}, data, model).to_json()
    assert metadata["recipe"] != metadata["prepared"]
    evaluation = line.evaluate("run-1").evaluation.to_json()
    assert (evaluation["parameters"]["fence"], evaluation["parameters"]["seed"]) == (50.0, 3)
    assert evaluation["metrics"]["accuracy"]["value"] == 1.0
    manifest = prep_data.run(workload, {"fence": "50", "seed": "3"}, tmp_path / "later")
    assert metadata["recipe"] == evaluation["recipe"] == manifest.input_digest
    with pytest.raises(UserError, match=r"was prepared with test_size=0\.2, not 0\.3"):
        run(workload, {"fence": "50", "test_size": "0.3"}, data, model)
    with pytest.raises(UserError, match=r"was prepared with gate_floor=.*, not 0\.1"):
        run(workload, {"gate_floor": "0.1"}, data, model)


@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("digits", {"components", "max_iter"}),
        ("diabetes", {"features"}),
        ("iris", {"C"}),
        ("mnist", {"epochs", "learning_rate", "angle", "precision"}),
        ("nsmc", {"model", "passes", "deep_passes", "checkpoint"}),
    ],
)
def test_the_hyperparameters_do_not_shape_the_data(name: str, hyperparameters: set[str]) -> None:
    hyperparameter_names = {
        parameter.name for parameter in discovery.get(name).parameters() if not parameter.shapes_data
    }
    assert hyperparameter_names == hyperparameters | {"seed"}


def wrong_name(_: Workload, rows: pa.Table) -> dict[str, np.ndarray]:
    return {"wrong": rows["x"].to_numpy()}


def wrong_shape(_: Workload, rows: pa.Table) -> dict[str, np.ndarray]:
    return {"x": rows["x"].to_numpy()[:, None]}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (wrong_name, r"declares the inputs x, fails on 8 training rows .*KeyError: 'x' \(workloads/line/h"),
        (wrong_shape, r"declares the output y as FP64 \[n\], but for 8 rows it returns shape \[8, 1\]"),
    ],
)
def test_a_handler_that_cannot_use_the_model_is_rejected(
    make: Make,
    tmp_path: Path,
    tensors: Callable[[Workload, pa.Table], dict[str, np.ndarray]],
    message: str,
) -> None:
    workload = make("line", tensors=tensors)
    prep_data.run(workload, {}, tmp_path / "data")
    with pytest.raises(UserError, match=message):
        run(workload, {}, tmp_path / "data", tmp_path / "model")
    assert not (tmp_path / "model").exists()
