"""The workload iris: reading from PostgreSQL, agreement with scikit-learn, invalid requests."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from components.prep_data import step as prep_data
from components.train import step as train
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import TransientError, UserError
from tests.fakes import free_port
from workloads import discovery
from workloads.iris.graph import svc_graph
from workloads.iris.handler import MEASUREMENTS, SPECIES, IrisHandler
from workloads.iris.seed import flower, main, seed
from workloads.iris.workload import scikit_learn_rows

Database = tuple[str, Any]
Trained = tuple[Dataset, IrisHandler]


def train_model(folder: Path, **parameters: str) -> Trained:
    iris = discovery.get("iris")
    prep_data.run(iris, parameters, folder / "data")
    train.run(iris, parameters, folder / "data", folder / "model")
    handler = IrisHandler()
    handler.load(folder / "model")
    return Dataset.open(folder / "data"), handler


def prepare(folder: Path, source: str, **parameters: str) -> Dataset:
    prep_data.run(discovery.get("iris"), {"source": source, **parameters}, folder)
    return Dataset.open(folder)


def reference(rows: Any, C: float = 1.0) -> Any:  # noqa: N803
    """Return scikit-learn's own model, trained on the rows."""
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(C=C), cv=5, ensemble=False))
    return model.fit(discovery.get("iris").tensors(rows)["measurements"], rows["species"].to_numpy())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_model(tmp_path_factory.mktemp("iris"))


# The model --------------------------------------------------------------------------------------


def test_the_rows_equal_scikit_learns_copy() -> None:
    dataset = load_iris()
    rows = scikit_learn_rows()
    assert [list(row[1:5]) for row in rows] == dataset.data.tolist()
    assert [row[5] for row in rows] == [str(dataset.target_names[label]) for label in dataset.target]
    assert [row[0] for row in rows] == list(range(1, 151))


def test_the_holdout_accuracy_is_at_least_95_percent(trained: Trained) -> None:
    data, handler = trained
    holdout = data.read("holdout")
    answers = handler.inference(discovery.get("iris").tensors(holdout))["species"]
    assert (answers == holdout["species"].to_numpy()).mean() >= 0.95


def test_the_graph_and_scikit_learn_predict_the_same(trained: Trained) -> None:
    """Compare on the holdout, and on random measurements, some of them far from all training rows."""
    data, handler = trained
    model = reference(data.read("train").sort_by("id"))
    held_out = discovery.get("iris").tensors(data.read("holdout"))["measurements"]
    random = np.random.default_rng(0).uniform(-5, 30, (2000, 4))
    for measurements in (held_out, random, np.zeros((1, 4)), np.full((1, 4), 1e6)):
        answers = handler.inference({"measurements": measurements})
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(measurements), atol=1e-9)
        assert answers["species"].tolist() == model.predict(measurements).tolist()


def test_the_graph_works_for_another_number_of_classes() -> None:
    import onnxruntime

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 3)), rng.integers(0, 5, 300)
    scaler = StandardScaler().fit(x)
    model = CalibratedClassifierCV(SVC(), cv=3, ensemble=False).fit(scaler.transform(x), y)
    session = onnxruntime.InferenceSession(svc_graph(scaler, model), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"measurements": x})
    np.testing.assert_allclose(answers, model.predict_proba(scaler.transform(x)), atol=1e-9)


def test_probabilities_sum_to_one_and_the_species_has_the_maximum(trained: Trained) -> None:
    answers = trained[1].inference({"measurements": np.random.default_rng(2).uniform(0, 8, (500, 4))})
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-12)
    assert [SPECIES[i] for i in answers["probabilities"].argmax(axis=1)] == answers["species"].tolist()


def test_training_is_reproducible_and_depends_on_the_penalty(trained: Trained, tmp_path: Path) -> None:
    train_model(tmp_path / "again")
    train_model(tmp_path / "other", C="3")
    first = (trained[0].folder.parent / "model/model.onnx").read_bytes()
    assert (tmp_path / "again/model/model.onnx").read_bytes() == first
    assert (tmp_path / "other/model/model.onnx").read_bytes() != first


# The table --------------------------------------------------------------------------------------


def test_the_table_and_scikit_learns_copy_are_the_same_data(database: Database, tmp_path: Path) -> None:
    url, _ = database
    assert seed(url) == (150, 150)
    from_table, from_copy = prepare(tmp_path / "one", url), prepare(tmp_path / "two", "sklearn:iris")
    assert from_table.manifest.fingerprint == from_copy.manifest.fingerprint
    assert from_table.manifest.input_digest == from_copy.manifest.input_digest


def test_seed_threads_is_idempotent_and_new_rows_are_new(database: Database, tmp_path: Path) -> None:
    url, connection = database
    assert seed(url) == (150, 150)
    assert seed(url) == (0, 150)
    assert seed(url, more=5) == (5, 155)
    assert seed(url, rows=155) == (0, 155)
    assert seed(url, rows=160) == (5, 160)
    connection.execute("DELETE FROM iris_data WHERE id IN (7, 152)")
    assert seed(url, rows=160) == (2, 160)
    drawn_rows = connection.execute("SELECT min(id), count(*) FROM iris_data WHERE drawn").fetchone()
    assert drawn_rows == (151, 10)
    expected = [flower(number, scikit_learn_rows()) for number in range(1, 161)]
    rows = connection.execute(
        "SELECT id, sepal_length, sepal_width, petal_length, petal_width, species, drawn "
        "FROM iris_data ORDER BY id"
    )
    assert rows.fetchall() == expected
    before = prepare(tmp_path / "one", url)
    seed(url, more=5)
    after = prepare(tmp_path / "two", url)
    assert before.manifest.input_digest != after.manifest.input_digest
    before_ids = {row["id"] for row in before.read("holdout").to_pylist()}
    assert before_ids <= {row["id"] for row in after.read("holdout").to_pylist()}


def test_concurrent_seed_threads_is_safe(database: Database) -> None:
    url, _ = database
    added: list[int] = []
    seed_threads = [threading.Thread(target=lambda: added.append(seed(url)[0])) for _ in range(4)]
    for thread in seed_threads:
        thread.start()
    for thread in seed_threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 150]


def test_limit_and_order_select_the_rows(database: Database, tmp_path: Path) -> None:
    url, _ = database
    seed(url, rows=200)

    def ids(**parameters: str) -> set[int]:
        data = prepare(tmp_path / "data", url, **parameters)
        return {row["id"] for split in ("train", "holdout") for row in data.read(split).to_pylist()}

    assert ids() == set(range(1, 201))
    assert ids(limit="120") == set(range(1, 121))
    assert ids(limit="120", order="id desc") == set(range(81, 201))
    longest = sorted(flower(n, scikit_learn_rows())[3::-3] for n in range(1, 201))[:150]
    assert ids(limit="150", order="petal_length") == {number for _, number in longest}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"order": "id; DROP TABLE iris_data"}, "parameter order: .* is not one of id, id desc"),
        ({"table": "iris_data; DROP TABLE iris_data"}, "parameter table: .* is not text such as"),
        ({"limit": "-1"}, "parameter limit: -1 is less than 0. Pass a whole number of at least 0"),
        ({"limit": "1 OFFSET 5"}, "parameter limit"),
    ],
)
def test_a_parameter_is_never_sql(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        discovery.get("iris").parse(parameters)


def test_a_wrong_password_is_an_error(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(UserError, match="Check PGUSER and PGPASSWORD"):
        prepare(tmp_path / "data", database[0])


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DROP TABLE iris_data", 'relation "iris_data" does not exist'),
        ("DELETE FROM iris_data", "the table iris_data has no rows"),
        (
            "ALTER TABLE iris_data RENAME petal_width TO petalwidth",
            "the table iris_data has no column petal_width; it has id, sepal_length",
        ),
        ("DELETE FROM iris_data WHERE id > 50", "50 rows, but iris needs at least 100"),
        (
            "UPDATE iris_data SET petal_width = 'NaN' WHERE id = 7",
            "table iris_data, row 7, column petal_width: nan is not a finite number",
        ),
        (
            "UPDATE iris_data SET species = 'rose' WHERE id = 8",
            "row 8, column species: 'rose' is not one of setosa, versicolor, virginica",
        ),
        (
            "ALTER TABLE iris_data ALTER species DROP NOT NULL; UPDATE iris_data SET species = NULL",
            "row 1, column species: None is missing",
        ),
        (
            "ALTER TABLE iris_data DROP CONSTRAINT iris_data_pkey; UPDATE iris_data SET id = 9 WHERE id = 10",
            "column id: the same key as in table iris_data, row 9",
        ),
    ],
    ids=["table", "rows", "column", "few", "nan", "label", "null", "twice"],
)
def test_invalid_tables_are_errors(database: Database, tmp_path: Path, sql: str, message: str) -> None:
    url, connection = database
    seed(url)
    connection.execute(sql)
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "data", url)
    assert not (tmp_path / "data").exists()


def test_a_table_that_is_locked_for_too_long_is_transient(database: Database, tmp_path: Path) -> None:
    import psycopg

    url, _ = database
    seed(url)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE iris_data")
        with pytest.raises(TransientError, match=r"no response within 0\.2 s"):
            prepare(tmp_path / "data", url, timeout="0.2")
    with pytest.raises(TransientError, match="refused"):
        prepare(tmp_path / "data", f"postgresql://127.0.0.1:{free_port()}/x")


@pytest.mark.parametrize("source", ["sklearn:digits", "/a/file.csv", "https://host/iris.csv"])
def test_an_unknown_source_is_an_error(source: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give postgresql://HOST:PORT/DATABASE or sklearn:iris"):
        prepare(tmp_path / "data", source)


def test_a_species_with_too_few_rows_is_an_error(database: Database, tmp_path: Path) -> None:
    url, connection = database
    seed(url, rows=300)
    connection.execute("DELETE FROM iris_data WHERE species = 'setosa' AND id > 4 AND id <> 6")
    with pytest.raises(UserError, match="each species needs at least 5 training rows; there are"):
        train_model(tmp_path, source=url)


def test_the_seed_runs_as_a_module(database: Database) -> None:
    url, _ = database
    command = [sys.executable, "-m", "workloads.iris.seed", url, "--more", "3"]
    completed = subprocess.run(command, capture_output=True, text=True)
    assert (completed.stdout, completed.returncode) == ("iris_data: 153 rows added, 153 rows in total\n", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["postgresql://me:x@host/d"], "set PGUSER and PGPASSWORD"),
        (["postgresql://host/d", "--table", "a b"], "parameter table"),
        (["postgresql://host/d", "--more", "-1"], "must not be negative"),
    ],
)
def test_invalid_arguments_of_seed_are_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


# The handler ------------------------------------------------------------------------------------


def test_one_flower_and_several_are_answered_in_order(trained: Trained) -> None:
    data, handler = trained
    iris, holdout = discovery.get("iris"), data.read("holdout")
    flowers = [iris.request(holdout.slice(i, 1))["flower"] for i in range(3)]
    first, second = handler.handle([{"body": {"flower": flowers[0]}}, {"body": {"flowers": flowers[1:]}}])
    expected = handler.inference(iris.tensors(holdout.slice(0, 3)))
    predictions = [*first["predictions"], *second["predictions"]]
    assert [answer["species"] for answer in predictions] == expected["species"].tolist()
    probabilities = [[answer["probabilities"][name] for name in SPECIES] for answer in predictions]
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-12)


GOOD = dict.fromkeys(MEASUREMENTS, 1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (None, 'send {"flower": {...}} or {"flowers": [...]} with sepal_length'),
        ({"flower": GOOD, "flowers": [GOOD]}, 'send {"flower"'),
        ({"flowers": []}, "flowers must be a list with at least one flower"),
        ({"flowers": [GOOD] * 1025}, "has 1025 rows; send at most 1024"),
        ({"flower": {**GOOD, "colour": 1}}, "unknown: colour"),
        ({"flower": {"sepal_length": 1}}, "missing: petal_length, petal_width, sepal_width"),
        ({"flower": {**GOOD, "petal_width": None}}, "petal_width: None is not a number"),
        ({"flower": {**GOOD, "petal_width": 10**400}}, "is not a number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_request_is_an_error(request_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        IrisHandler().preprocess(request_)
