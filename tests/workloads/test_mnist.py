"""The workload mnist on its sample: rows, files, responses, invalid input."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components.prep_data import step as prep_data
from components.train import step as train
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model
from tests.load_context import LOCAL_FILES
from workloads import discovery
from workloads.contract import Rows, Workload
from workloads.mnist.handler import MnistHandler

torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = {"epochs": "3"}


@pytest.fixture(scope="module")
def mnist() -> Workload:
    return discovery.get("mnist")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist: Workload) -> tuple[Path, Path]:
    """The dataset of the sample, and a bundle."""
    folder = tmp_path_factory.mktemp("mnist")
    prep_data.run(mnist, QUICK, folder / "data")
    train.run(mnist, {}, folder / "data", folder / "model")
    return folder / "data", folder / "model"


@pytest.fixture(scope="module")
def holdout(trained: tuple[Path, Path]) -> pa.Table:
    return Dataset.open(trained[0]).read("holdout")


@pytest.fixture(scope="module")
def handler(trained: tuple[Path, Path]) -> MnistHandler:
    loaded = MnistHandler()
    loaded.load(trained[1])
    return loaded


def load(mnist: Workload, source: Path) -> list[Rows]:
    return list(mnist.load(str(source), mnist.parse({}), LOCAL_FILES))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The unpacked files of the sample, in a temporary directory."""
    for path in (Path(__file__).parents[2] / "workloads/mnist/sample").glob("*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return tmp_path


class TestRows:
    def test_the_sample_has_its_own_split_and_every_digit(self, trained: tuple[Path, Path]) -> None:
        dataset = Dataset.open(trained[0])
        assert dataset.manifest.split_rule == "the source's own"
        for split, count in (("train", 100), ("holdout", 50)):
            rows = dataset.read(split)
            assert np.bincount(rows["label"].to_numpy()).tolist() == [count] * 10
            assert {len(image) for image in rows["image"].to_pylist()} == {784}
            assert 25 < np.mean(rows["ink"].to_numpy()) < 45
        assert dataset.read("holdout")["id"][0].as_py() == "t10k-00000"

    def test_rows_are_the_same_for_compressed_and_unpacked_files(self, mnist: Workload, files: Path) -> None:
        expected = [rows.batch for rows in mnist.load("mnist:sample", mnist.parse({}), LOCAL_FILES)]
        assert [rows.batch for rows in load(mnist, files)] == expected
        for path in list(files.iterdir()):
            path.rename(files / path.name.replace("-idx", ".idx"))
        assert [rows.batch for rows in load(mnist, files)] == expected

    def test_a_missing_file_is_an_error_with_its_name(self, mnist: Workload, files: Path) -> None:
        (files / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(UserError, match=r"contains none of t10k-labels-idx1-ubyte\.gz, t10k-labels"):
            load(mnist, files)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("train-labels-idx1-ubyte", b"", "train-labels-idx1-ubyte: this is not an idx file"),
            (
                "train-labels-idx1-ubyte",
                b"<!DOCTYPE html>",
                "is not an idx file of bytes; it starts with 3c 21",
            ),
            (
                "train-labels-idx1-ubyte",
                b"\0\0\x08\x01\0\0\0\x02\1",
                "2 bytes follow (2), but the file has 1; is it complete?",
            ),
            (
                "train-labels-idx1-ubyte",
                b"\0\0\x08\x01\0\0\0\x02\1\2",
                "has 1,000 images, but train-labels-",
            ),
            ("train-labels-idx1-ubyte", b"\x1f\x8b\x08\0", "cannot be read"),
            ("train-images-idx3-ubyte", b"\0\0\x08\x01\0\0\0\x02\1\2", "is not an idx file of bytes"),
            (
                "train-images-idx3-ubyte",
                b"\0\0\x08\x01\0\0\0\x0c" + bytes(12),
                "has 1 dimensions; 3 are",
            ),
            (
                "train-images-idx3-ubyte",
                b"\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x02\1\2\3\4",
                "the images have (2, 2) pixels, not 28 x 28",
            ),
        ],
    )
    def test_an_invalid_file_is_an_error_with_its_name(
        self, mnist: Workload, files: Path, name: str, content: bytes, message: str
    ) -> None:
        (files / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(message)):
            load(mnist, files)

    def test_an_invalid_label_is_an_error_with_its_row(
        self, mnist: Workload, files: Path, tmp_path: Path
    ) -> None:
        path = files / "t10k-labels-idx1-ubyte"
        content = bytearray(path.read_bytes())
        content[8 + 41] = 10
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"t10k-labels-idx1-ubyte, row 42, column label: 10 is not one of"
        ):
            prep_data.run(mnist, {"source": str(files)}, tmp_path / "data")


class TestModel:
    def test_the_holdout_accuracy_is_high(
        self, mnist: Workload, handler: MnistHandler, holdout: pa.Table
    ) -> None:
        answers = handler.inference(mnist.tensors(holdout))
        right = answers["label"] == holdout["label"].to_numpy()
        assert right.mean() >= 0.93, "of a thousand pictures, three times; the full set is another test"
        assert answers["confidence"][right].mean() > answers["confidence"][~right].mean()
        assert ((answers["confidence"] > 0) & (answers["confidence"] <= 1)).all()

    def test_onnx_torchscript_and_the_index_contain_the_same_network(
        self, mnist: Workload, trained: tuple[Path, Path], handler: MnistHandler, holdout: pa.Table
    ) -> None:
        images = mnist.tensors(holdout)["image"]
        (by_onnx,) = handler.session.run(None, {"image": images})
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            by_torch = torch.jit.load(trained[1] / "embedding.pt")(torch.tensor(images)).numpy()
        assert by_onnx.shape == (500, 64)
        assert np.abs(by_onnx - by_torch).max() <= 1e-4
        assert np.abs(np.linalg.norm(by_onnx, axis=1) - 1).max() <= 1e-5
        learned = mnist.tensors(Dataset.open(trained[0]).read("train").slice(0, 50))
        output = handler.inference(learned)
        assert output["neighbours"][:, 0].tolist() == list(range(50)), "each is its own neighbour"
        assert output["distances"][:, 0].max() <= 1e-6

    def test_training_is_reproducible_and_depends_on_the_seed(
        self, mnist: Workload, trained: tuple[Path, Path], tmp_path: Path
    ) -> None:
        train.run(mnist, {}, trained[0], tmp_path / "again")
        assert digest_of_folder(tmp_path / "again") == digest_of_folder(trained[1])
        prep_data.run(mnist, QUICK | {"seed": "1"}, tmp_path / "data")
        train.run(mnist, {}, tmp_path / "data", tmp_path / "other")
        assert digest_of_folder(tmp_path / "other") != digest_of_folder(trained[1])

    def test_the_learning_curve_falls(self, trained: tuple[Path, Path]) -> None:
        curve = json.loads((trained[1] / "model.json").read_text())["curve"]
        assert [row["step"] for row in curve] == [1, 2, 3]
        assert curve[-1]["error"] < curve[0]["error"]
        assert curve[-1]["loss"] < curve[0]["loss"]

    def test_float32_on_request(self, mnist: Workload, tmp_path: Path) -> None:
        prep_data.run(mnist, {"epochs": "1", "precision": "float32"}, tmp_path / "data")
        described = train.run(mnist, {}, tmp_path / "data", tmp_path / "model")
        assert described.training.notes == {"indexed": 1000, "precision": "float32"}

    def test_each_digit_is_a_slice_with_examples(self, mnist: Workload, holdout: pa.Table) -> None:
        assert sum(mask.sum() for mask in mnist.slices(holdout).values()) == holdout.num_rows
        pictures = mnist.pictures(holdout)
        assert pictures is not None
        assert pictures.dtype == np.uint8
        assert pictures.shape == (500, 28, 28)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


class TestAnswers:
    def test_every_format_of_a_picture_gets_the_same_prediction(
        self, mnist: Workload, handler: MnistHandler, holdout: pa.Table
    ) -> None:
        image = mnist.pictures(holdout)[7]  # type: ignore[index]
        text = base64.b64encode(png(image)).decode()
        forms: list[Any] = [
            {"image": image.tolist()},
            {"image": text},
            {"image": f"data:image/png;base64,{text}"},
            {"image": png(image)},
            png(image),
            bytearray(png(255 - image)),
            {"images": [text]},
        ]
        answers = [handler.handle([{"body": form}])[0]["predictions"] for form in forms]
        assert all(answer == answers[0] for answer in answers)
        (prediction,) = answers[0]
        assert list(prediction) == ["label", "confidence", "neighbours", "distances"]
        assert prediction["label"] == holdout["label"][7].as_py()
        assert len(prediction["neighbours"]) == len(prediction["distances"]) == 10
        assert prediction["distances"] == sorted(prediction["distances"])

    def test_a_batch_of_several_formats_is_answered_in_order(
        self, mnist: Workload, handler: MnistHandler, holdout: pa.Table
    ) -> None:
        pictures = mnist.pictures(holdout)[:4]  # type: ignore[index]
        mixed = [pictures[0].tolist(), base64.b64encode(png(pictures[1])).decode(), pictures[2].tolist()]
        bodies = [{"body": {"images": mixed}}, {"body": json.dumps({"image": pictures[3].tolist()}).encode()}]
        answers = [p for answer in handler.handle(bodies) for p in answer["predictions"]]
        alone = [handler.handle([{"body": {"image": p.tolist()}}])[0]["predictions"][0] for p in pictures]
        assert [a["neighbours"][0] for a in answers] == [a["neighbours"][0] for a in alone]
        assert [a["label"] for a in answers] == [a["label"] for a in alone]

    def test_an_illustration_contains_the_neighbours_of_the_prediction(
        self, trained: tuple[Path, Path], handler: MnistHandler, holdout: pa.Table, mnist: Workload
    ) -> None:
        rows = Dataset.open(trained[0]).read("train")
        learned, labels = mnist.pictures(rows), rows["label"].to_numpy()
        assert learned is not None
        answer = handler.handle([{"body": mnist.request(holdout.slice(0, 1))}])[0]
        (output,) = handler.illustrate(answer)["predictions"]
        assert {key: output[key] for key in answer["predictions"][0]} == answer["predictions"][0]
        assert (np.array(output["pictures"]) == learned[output["neighbours"]]).all()
        assert output["labels"] == labels[output["neighbours"]].tolist()
        assert (handler.gallery.read(range(len(learned))) == learned).all()

    def test_the_nearest_decides_a_tie(self, trained: tuple[Path, Path], handler: MnistHandler) -> None:
        class Index:
            def search(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
                return np.zeros((1, 10), np.float32), np.arange(10)[None]

        tied = MnistHandler()
        tied.session, tied.index = handler.session, Index()
        tied.labels = np.array([3, 5, 5, 5, 5, 5, 3, 3, 3, 3])
        answer = tied.inference({"image": np.zeros((1, 28, 28), np.float32)})
        assert (answer["label"][0], answer["confidence"][0]) == (3, 0.5)

    def test_the_bundle_predicts_without_the_repository(
        self, mnist: Workload, trained: tuple[Path, Path], tmp_path: Path, holdout: pa.Table
    ) -> None:
        """The code of the archive is in the bundle, including pictures.py."""
        shutil.copytree(trained[1], tmp_path / "model")
        model = load_model(tmp_path / "model")
        image = mnist.pictures(holdout)[0]  # type: ignore[index]
        text = base64.b64encode(png(image)).decode()
        assert model.predict({"image": text}) == model.predict(mnist.request(holdout.slice(0, 1)))
        model.unload()


BLANK = [[0] * 28] * 28


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, 'send {"image": IMAGE}'),
        ([BLANK], 'send {"image": IMAGE}'),
        ({}, 'send {"image": IMAGE}'),
        ({"image": BLANK, "images": [BLANK]}, 'send {"image": IMAGE}'),
        ({"images": []}, "images must be a list with at least one image"),
        ({"images": 5}, "images must be a list with at least one image"),
        ({"images": {"0": BLANK}}, "images must be a list with at least one image"),
        ({"images": "five"}, "images must be a list with at least one image"),
        ({"images": [BLANK] * 1025}, "has 1025 rows; send at most 1024"),
        ({"image": BLANK[:27]}, "not of shape [27, 28]"),
        ({"image": [[0] * 27] * 28}, "not of shape [28, 27]"),
        ({"image": [[0] * 28] * 27 + [[0] * 29]}, "an image is 28 rows of 28 numbers"),
        ({"image": 5}, "an image is 28 rows of 28 numbers"),
        ({"image": None}, "an image is 28 rows of 28 numbers"),
        ({"image": {}}, "an image is 28 rows of 28 numbers"),
        ({"image": [["a"] * 28] * 28}, "an image is 28 rows of 28 numbers"),
        ({"image": [[None] * 28] * 28}, "an image is 28 rows of 28 numbers"),
        ({"image": [[True] * 28] * 28}, "an image is 28 rows of 28 numbers"),
        ({"image": [[256] * 28] * 28}, "a pixel is a number from 0 (paper) to 255 (ink)"),
        ({"image": [[-1] * 28] * 28}, "a pixel is a number from 0"),
        ({"image": [[float("nan")] * 28] * 28}, "a pixel is a number from 0"),
        ({"image": [[10**400] * 28] * 28}, "an image is 28 rows of 28 numbers"),
        ({"image": "a five"}, "must be an image file in base64"),
        ({"image": "ZmluZQ=="}, "cannot be read as PNG, JPEG"),
        ({"image": ""}, "cannot be read as PNG, JPEG"),
        ({"image": "é"}, "must be an image file in base64"),
        ({"images": [BLANK, "ZmluZQ=="]}, "cannot be read as PNG, JPEG"),
        (b"no picture", "cannot be read as PNG, JPEG"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_request_is_an_error(handler: MnistHandler, request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        handler.preprocess(request_)
