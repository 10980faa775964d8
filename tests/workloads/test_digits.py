"""The workload digits: rows, accuracy, responses, invalid requests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.prep_data import step as prep_data
from components.train import step as train
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import UserError
from tests.load_context import LOCAL_FILES
from workloads import discovery
from workloads.contract import Workload
from workloads.digits.handler import DigitsHandler


@pytest.fixture(scope="module")
def digits() -> Workload:
    return discovery.get("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Workload) -> tuple[Path, Path]:
    """A dataset with the default split, and a bundle."""
    folder = tmp_path_factory.mktemp("digits")
    prep_data.run(digits, {}, folder / "data")
    train.run(digits, {}, folder / "data", folder / "model")
    return folder / "data", folder / "model"


@pytest.fixture(scope="module")
def handler(trained: tuple[Path, Path]) -> DigitsHandler:
    loaded = DigitsHandler()
    loaded.load(trained[1])
    return loaded


def test_scikit_learns_copy_has_1797_pictures(digits: Workload) -> None:
    batches = list(digits.load("sklearn:digits", digits.parse({}), LOCAL_FILES))
    table = pa.Table.from_batches([rows.batch for rows in batches])
    assert (table.num_rows, table.schema) == (1797, digits.schema())
    # The counts are in scikit-learn's description of the data set.
    assert np.bincount(table["label"].to_numpy()).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert len(set(table["id"].to_pylist())) == 1797


def test_csv_files_are_read_and_an_invalid_label_is_an_error(digits: Workload, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{'0,' * 64}3\n")
    (tmp_path / "b.csv").write_text(f"{'16,' * 64}7\n")
    values = digits.parse({})
    table = pa.Table.from_batches([rows.batch for rows in digits.load(str(tmp_path), values, LOCAL_FILES)])
    assert table["label"].to_pylist() == [3, 7]
    assert table["image"][1].as_py() == [16] * 64
    (tmp_path / "b.csv").write_text(f"{'16,' * 64}7\n{'16,' * 64}7.5\n")
    with pytest.raises(UserError, match=r"b\.csv, row 2, column label: 7\.5 is not an integer"):
        list(digits.load(str(tmp_path), values, LOCAL_FILES))


def test_the_holdout_accuracy_is_at_least_99_percent(
    digits: Workload, trained: tuple[Path, Path], handler: DigitsHandler
) -> None:
    holdout = Dataset.open(trained[0]).read("holdout")
    assert 300 < holdout.num_rows < 420
    answers = handler.inference(digits.tensors(holdout))
    assert (answers["label"] == holdout["label"].to_numpy()).mean() >= 0.99


def test_training_is_reproducible_and_depends_on_the_parameters(
    digits: Workload, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    train.run(digits, {}, trained[0], tmp_path / "again")
    assert digest_of_folder(tmp_path / "again") == digest_of_folder(trained[1])
    small = {"components": "8", "max_iter": "1"}
    prep_data.run(digits, small, tmp_path / "data")
    train.run(digits, small, tmp_path / "data", tmp_path / "small")
    assert digest_of_folder(tmp_path / "small") != digest_of_folder(trained[1])


def test_the_learning_curve_falls(digits: Workload, trained: tuple[Path, Path]) -> None:
    curve = train.run(digits, {}, trained[0], trained[1].parent / "curve").training.curve
    assert [row["step"] for row in curve] == sorted({row["step"] for row in curve})
    assert curve[-1]["error"] <= curve[0]["error"] < 0.2


def test_a_request_from_a_row_gets_the_prediction_for_the_row(
    digits: Workload, trained: tuple[Path, Path], handler: DigitsHandler
) -> None:
    row = Dataset.open(trained[0]).read("train").slice(5, 1)
    (answer,) = handler.handle([{"body": digits.request(row)}])
    (prediction,) = answer["predictions"]
    # A training picture is its own nearest neighbour.
    assert prediction["neighbours"][0] == 5
    assert prediction["distances"][0] == pytest.approx(0, abs=1e-3)
    assert prediction["distances"] == sorted(prediction["distances"])
    assert prediction["label"] == row["label"][0].as_py()


def test_a_batch_of_requests_is_answered_in_order(
    digits: Workload, trained: tuple[Path, Path], handler: DigitsHandler
) -> None:
    rows = Dataset.open(trained[0]).read("holdout")
    pictures = [digits.request(rows.slice(i, 1))["image"] for i in range(4)]
    requests = [{"image": pictures[0]}, {"images": pictures[1:3]}, {"image": pictures[3]}]
    singles = [handler.handle([{"body": {"image": picture}}])[0]["predictions"][0] for picture in pictures]
    bodies = [
        {"body": requests[0]},
        {"data": requests[1]},
        {"body": repr(requests[2]).replace("'", '"').encode()},
    ]
    answers = handler.handle(bodies)
    assert [len(answer["predictions"]) for answer in answers] == [1, 2, 1]
    together = [prediction for answer in answers for prediction in answer["predictions"]]
    for batched, single in zip(together, singles, strict=True):
        assert (batched["label"], batched["neighbours"]) == (single["label"], single["neighbours"])


BLANK = [[0] * 8] * 8


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, 'send {"image": [[...]]} or {"images": [...]}'),
        ([BLANK], 'send {"image"'),
        ({}, 'send {"image"'),
        ({"image": BLANK, "images": [BLANK]}, 'send {"image"'),
        ({"images": []}, "images must be a list with at least one image"),
        ({"image": BLANK[:7]}, "not of shape [7, 8]"),
        ({"image": [[0] * 7] * 8}, "not of shape [8, 7]"),
        ({"image": [[0] * 8] * 7 + [[0] * 9]}, "an image is 8 rows of 8 numbers"),
        ({"image": 5}, "an image is 8 rows of 8 numbers"),
        ({"images": 5}, "images must be a list with at least one image"),
        ({"image": [[list(range(10))] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"images": {"0": BLANK}}, "images must be a list with at least one image"),
        ({"image": "five"}, "an image is 8 rows of 8 numbers"),
        ({"image": [["a"] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"image": [[None] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"image": [[17] * 8] * 8}, "a pixel is a number from 0 (paper) to 16 (ink)"),
        ({"image": [[-1] * 8] * 8}, "a pixel is a number from 0"),
        ({"image": [[float("nan")] * 8] * 8}, "a pixel is a number from 0"),
        ({"image": [[10**400] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"image": [["1"] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"image": [[True] * 8] * 8}, "an image is 8 rows of 8 numbers"),
        ({"images": [BLANK] * 1025}, "has 1025 rows; send at most 1024"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_request_is_an_error(handler: DigitsHandler, request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        handler.preprocess(request_)


def test_each_digit_is_a_slice(digits: Workload, trained: tuple[Path, Path]) -> None:
    holdout = Dataset.open(trained[0]).read("holdout")
    masks = digits.slices(holdout)
    assert sorted(masks) == [f"digit {digit}" for digit in range(10)]
    assert sum(mask.sum() for mask in masks.values()) == holdout.num_rows
