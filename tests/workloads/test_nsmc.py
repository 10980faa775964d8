"""The workload nsmc on its sample: reading, training, responses, invalid input."""

from __future__ import annotations

import gzip
import json
import shutil
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
from continuous_training.serving.models.model import Model, load_model
from tests.load_context import LOCAL_FILES
from workloads import discovery
from workloads.contract import Workload
from workloads.nsmc.workload import SAMPLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "workloads" / "nsmc" / "sample"


@pytest.fixture(scope="module")
def nsmc() -> Workload:
    return discovery.get("nsmc")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, nsmc: Workload) -> Path:
    """A folder with the sample's dataset and the fast model's bundle."""
    folder = tmp_path_factory.mktemp("nsmc")
    prep_data.run(nsmc, {}, folder / "data")
    train.run(nsmc, {}, folder / "data", folder / "model")
    return folder


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return load_model(trained / "model")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the sample that a test may damage."""
    return shutil.copytree(FOLDER, tmp_path / "source")


def accuracy(nsmc: Workload, model: Model, holdout: pa.Table, **changes: Any) -> float:
    answers = model.infer(nsmc.tensors(holdout) | changes)
    return float((answers["label"] == holdout["label"].to_numpy()).mean())


def test_the_sample_is_marked_and_keeps_the_split_of_its_source(trained: Path) -> None:
    data = Dataset.open(trained / "data")
    assert data.sample
    assert (data.read("train").num_rows, data.read("holdout").num_rows) == (800, 200)
    assert data.manifest.split_rule == "the source's own"
    first = data.read("train").slice(0, 1).to_pylist()[0]
    assert first == {"id": "9976970", "document": "아 더빙.. 진짜 짜증나네요 목소리", "label": 0}


def test_the_accuracy_after_training_on_800_reviews(nsmc: Workload, trained: Path, model: Model) -> None:
    assert accuracy(nsmc, model, Dataset.open(trained / "data").read("holdout")) >= 0.72
    curve = json.loads((trained / "model" / "model.json").read_text())["curve"]
    assert [point["step"] for point in curve] == [1, 2, 3]
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_training_is_reproducible(nsmc: Workload, trained: Path, tmp_path: Path) -> None:
    train.run(nsmc, {}, trained / "data", tmp_path / "again")
    assert digest_of_folder(tmp_path / "again") == digest_of_folder(trained / "model")
    files = {path.name for path in (tmp_path / "again").iterdir()}
    assert files == {"SHA256SUMS", "weights.npy", "plan.json", "model.json", "workloads"}


def test_a_table_and_rows_on_disk_train_the_same_model(nsmc: Workload, trained: Path, tmp_path: Path) -> None:
    rows = Dataset.open(trained / "data").read("train")
    nsmc.train(rows, nsmc.parse({}), tmp_path, lambda _: None)
    assert (tmp_path / "weights.npy").read_bytes() == (trained / "model" / "weights.npy").read_bytes()


def test_gzipped_files_are_the_same_data(nsmc: Workload, trained: Path, source: Path) -> None:
    for path in list(source.glob("*.txt")):
        (source / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    values = nsmc.parse({})
    zipped, plain = (
        [r.batch for r in nsmc.load(location, values, LOCAL_FILES)] for location in (str(source), SAMPLE)
    )
    assert pa.Table.from_batches(zipped) == pa.Table.from_batches(plain)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda text: text.replace(b"id\t", b"key\t", 1),
            "row 1: expected is the header id, document",
        ),
        (lambda _: b"", "row 1: expected is the header"),
        (lambda text: text + b"1\tgood\n", "row 202: 2 cells; expected are id, document and label"),
        (lambda text: text + b"1\tgood\t5\n", "row 202, column label: 5 is not one of 0, 1"),
        (lambda text: text + b"1\tgood\tgood\n", "row 202, column label: 'good' is neither 0 nor 1"),
        (lambda text: text + b"1\tg\xff\t1\n", "row 202, column document: not UTF-8"),
        (lambda text: text + text.splitlines()[5] + b"\n", "row 202, column id: the same key as in"),
        (lambda text: gzip.compress(text)[:-20], "cannot be read"),
    ],
)
def test_a_damaged_file_is_an_error_with_the_row(
    nsmc: Workload, source: Path, tmp_path: Path, damage: Any, message: str
) -> None:
    path = source / "ratings_test.txt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as error:
        prep_data.run(nsmc, {"source": str(source)}, tmp_path / "data")
    assert "ratings_test.txt" in str(error.value)
    assert message in str(error.value)


def test_a_folder_without_the_files_is_an_error(nsmc: Workload, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains none of ratings_train\.txt, ratings_train\.txt\.gz"):
        list(nsmc.load(str(tmp_path), nsmc.parse({}), LOCAL_FILES))


def test_only_the_deep_model_needs_torch(nsmc: Workload) -> None:
    expected = {model: nsmc.needs(nsmc.parse({"model": model})) for model in ("fast", "deep", "both")}
    assert expected == {"fast": (), "deep": ("torch",), "both": ("torch",)}


def test_slices_are_lengths(nsmc: Workload, trained: Path) -> None:
    holdout = Dataset.open(trained / "data").read("holdout")
    slices = nsmc.slices(holdout)
    assert (sum(mask.astype(int) for mask in slices.values()) == 1).all()
    lengths = np.array([len(text) for text in holdout["document"].to_pylist()])
    assert lengths[slices["over 40 characters"]].min() > 40 > lengths[slices["to 15 characters"]].max()


UNUSUAL_TEXTS = {
    "empty": "",
    "long": "가나다 " * 2500,
    "emoji": "😀👩‍👩‍👧❤️",
    "mixed": "정말 good עברית 日本語 ไทย",
    "half a surrogate": "좋\ud83d아\ude00요",
    "NUL": "\0재미\0",
    "line breaks": "\r\n\n가\u2028나\n",
    "noncharacters": "\uffff\ufffe\U0010ffff",
}


@pytest.mark.parametrize("text", UNUSUAL_TEXTS.values(), ids=UNUSUAL_TEXTS.keys())
def test_an_unusual_text_does_not_change_other_predictions(model: Model, text: str) -> None:
    answer = model.predict({"text": ["재미있다", text, "쓰레기"]})["predictions"]
    texts = ("재미있다", text, "쓰레기")
    alone = [model.predict({"text": single})["predictions"][0] for single in texts]
    assert [prediction["label"] for prediction in answer] == [prediction["label"] for prediction in alone]
    for prediction, single_prediction in zip(answer, alone, strict=True):
        assert prediction["probability"] == pytest.approx(single_prediction["probability"], abs=1e-5)
        assert 0.5 <= prediction["probability"] <= 1


def test_texts_are_answered_in_order(model: Model) -> None:
    answer = model.predict({"text": ["정말 재미있어요 최고", "쓰레기 최악"], "do_fast": True})
    assert [prediction["label"] for prediction in answer["predictions"]] == ["positive", "negative"]
    assert answer["model"] == "fast"
    reversed_answer = model.predict({"text": ["쓰레기 최악", "정말 재미있어요 최고"], "use_fast": True})
    assert reversed_answer["predictions"] == answer["predictions"][::-1]


def test_requests_of_several_clients_are_processed_in_one_batch(model: Model) -> None:
    bodies = [
        {"text": ["정말 재미있어요"]},
        b'{"text": ["\xec\x93\xb0", ""]}',
        {"text": "최악", "do_fast": None},
    ]
    answers = model.handler.handle([{"body": body} for body in bodies])
    assert [len(answer["predictions"]) for answer in answers] == [1, 2, 1]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, 'send {"text"'),
        ([], 'send {"text"'),
        ({}, 'send {"text"'),
        ({"text": []}, "at least one string"),
        ({"text": [1]}, "at least one string"),
        ({"text": [None]}, "at least one string"),
        ({"text": {"0": "a"}}, "at least one string"),
        ({"text": [["a"]]}, "at least one string"),
        ({"text": ["a"], "fast": True}, "unknown: fast"),
        ({"text": ["a"], "do_fast": 1}, "do_fast (or use_fast) must be true or false"),
        ({"text": ["a"], "do_fast": "true"}, "do_fast (or use_fast) must be true or false"),
        ({"text": ["a"], "do_fast": True, "use_fast": False}, "do_fast (or use_fast) must be true or false"),
        ({"text": ["a"], "do_fast": False}, "this version has no deep model"),
        ({"text": ["a"] * 1025}, "has 1025 rows; send at most 1024"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_invalid_request_is_an_error(model: Model, request_: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the contract's own error
        model.handler.preprocess(request_)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, nsmc: Workload) -> Model:
    torch = pytest.importorskip("torch", reason="needs torch: make install EXTRAS=torch")
    # On a busy machine, two threads that synchronise take ten times as long as one thread.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("both")
    parameters = {"model": "both", "deep_passes": "2"}
    prep_data.run(nsmc, parameters, folder / "data")
    train.run(nsmc, parameters, folder / "data", folder / "model")
    torch.set_num_threads(threads)
    return load_model(folder / "model")


def test_a_request_selects_the_model_and_the_deep_model_is_the_default(both: Model, model: Model) -> None:
    text = ["정말 재미있어요 최고", "", "쓰레기 최악", "가" * 10_000]
    fast, deep, default = (
        both.predict({"text": text, **flags}) for flags in ({"do_fast": True}, {"do_fast": False}, {})
    )
    assert (fast["model"], deep["model"]) == ("fast", "deep")
    assert default == deep != fast
    assert fast == model.predict({"text": text}), (
        "the fast model must equal the fast model that is trained without the deep one"
    )


def test_the_deep_model_predicts_the_same_for_single_texts_and_batches(both: Model) -> None:
    texts = [*UNUSUAL_TEXTS.values(), "재미있다"]
    together = both.predict({"text": texts})["predictions"]
    for text, answer in zip(texts, together, strict=True):
        alone = both.predict({"text": [text]})["predictions"][0]
        assert alone["probability"] == pytest.approx(answer["probability"], abs=1e-4)
    rows = {"text": np.array(texts, dtype=object), "fast": np.arange(len(texts)) % 2 == 0}
    both.check_inputs(rows)
    mixed = both.infer(rows)
    assert mixed["fast"].tolist() == rows["fast"].tolist()
    for index, text in enumerate(texts):
        alone = both.predict({"text": [text], "do_fast": bool(rows["fast"][index])})["predictions"][0]
        assert alone["probability"] == pytest.approx(float(mixed["probability"][index]), abs=1e-4)


def test_the_graph_and_the_network_compute_the_same_scores() -> None:
    torch = pytest.importorskip("torch", reason="needs torch: make install EXTRAS=torch")
    import onnxruntime

    from workloads.nsmc.deep_model import _onnx
    from workloads.nsmc.network import Network
    from workloads.nsmc.ngrams import ngrams
    from workloads.nsmc.tokens import tokens

    torch.manual_seed(0)
    network = Network().eval()
    pairs = tokens(*ngrams(["재미있다", "", "가나다라마바사" * 9]))
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, pairs)).numpy()
    session = onnxruntime.InferenceSession(_onnx(network), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, dict(zip(("characters", "bigrams"), pairs, strict=True)))
    np.testing.assert_allclose(scores, expected, atol=1e-4)
