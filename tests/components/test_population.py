"""Data that differ from the data that the champion was promoted on, through prep-data, train and evaluate."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_diabetes, load_digits

from benchmarks.texts import texts
from components.prep_data import step as prep_data
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.evaluation.population_checks import DIFFERENT
from workloads.contract import Column, GroupSplit, Split, TimeSplit, Workload

from .conftest import Line, Make
from .split_data import COLUMNS, in_batches, rows

Change = Callable[[np.ndarray], np.ndarray]

PATIENTS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"]
BMI = np.array([name == "bmi" for name in PATIENTS])


def write_rows(path: Path, header: list[str], rows: np.ndarray) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([f"{value:.10g}" for value in row] for row in rows)
    return str(path)


def digits(folder: Path, change: Change) -> str:
    """Write the digits with 64 pixels and the label per row, after a change of the array."""
    data = load_digits()
    header = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)] + ["label"]
    return write_rows(folder / "digits.csv", header, change(np.column_stack([data.data, data.target])))


def patients(folder: Path, change: Change) -> str:
    data = load_diabetes(scaled=False)
    return write_rows(folder / "patients.csv", PATIENTS, change(np.column_stack([data.data, data.target])))


def champion(line: Line, **parameters: str) -> None:
    """Make a model the champion, with the record that deploy-serving writes."""
    archived = line.promote("first", **parameters)
    record = RunRecord(run="first", verdict="promoted", metrics=archived.metrics, digest=archived.digest)
    RunHistory(line.store, line.workload.name).write_run(record)


def evaluate(line: Line, run: str = "today", **parameters: str) -> Evaluation:
    line.train(run, **parameters)
    return line.evaluate(run).evaluation


def images(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return a change of the images alone."""

    def changed(rows: np.ndarray) -> np.ndarray:
        pictures = change(rows[:, :-1].reshape(-1, 8, 8)).reshape(len(rows), 64)
        return np.column_stack([pictures, rows[:, -1]])

    return changed


def shift_labels(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[:, :-1], (rows[:, -1] + 1) % 10])


def swap(first: str, second: str) -> Change:
    def swapped(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        columns = [PATIENTS.index(first), PATIENTS.index(second)]
        rows[:, columns] = rows[:, columns[::-1]]
        return rows

    return swapped


def multiply(column: str, factor: float) -> Change:
    def multiplied(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[:, PATIENTS.index(column)] *= factor
        return rows

    return multiplied


def test_digits_on_which_the_champion_fails_are_another_population(
    line: Line, make: Make, tmp_path: Path
) -> None:
    line.workload = make("digits")
    champion(line)
    changes = {
        "ink and paper exchanged": images(lambda pictures: 16 - pictures),
        "transposed": images(lambda pictures: pictures.transpose(0, 2, 1)),
        "labels shifted by one": shift_labels,
    }
    for name, change in changes.items():
        evaluation = evaluate(line, name, source=digits(tmp_path, change))
        assert evaluation.verdict == "rejected"
        assert evaluation.difference is not None
        assert evaluation.difference.low > 0.5, "the challenger is better"
        assert evaluation.reasons[0].startswith(f"{DIFFERENT}: accuracy of champion 1 was 0.9")
        assert 'run once with the run parameter accept="reason"' in evaluation.reasons[0]
        assert evaluation.population is not None
        score = evaluation.population.score
        assert score is not None
        assert score.promoted.value > 0.95
        assert score.today.value < 0.5
        assert score.fall == pytest.approx(score.promoted.value - score.today.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(swap("bp", "s2"), "s2: the standard deviation is 0.4", id="swapped columns"),
        pytest.param(multiply("s3", 2.54), "s3: the mean moved by +", id="inches in centimetres"),
        pytest.param(multiply("s6", 1 / 18), "s6: the mean moved by -", id="mg/dl in mmol/l"),
        pytest.param(lambda rows: rows[:150], "150 rows, 442 when champion 1", id="a third of the rows"),
        pytest.param(
            lambda rows: rows[rows[:, 1] == 1], "sex: the values of 0.4", id="one group of the rows"
        ),
        pytest.param(
            lambda rows: np.vstack([rows + 0.001 * k * BMI for k in range(11)]),
            "4862 rows, 442 when champion 1",
            id="eleven times the rows",
        ),
    ],
)
def test_rows_that_moved_beyond_a_bound_are_another_population(
    line: Line, make: Make, tmp_path: Path, change: Change, text: str
) -> None:
    line.workload = make("diabetes")
    champion(line)
    evaluation = evaluate(line, source=patients(tmp_path, change))
    assert (evaluation.verdict, evaluation.reasons[0].partition(":")[0]) == ("rejected", DIFFERENT)
    assert text in evaluation.reasons[0]


def test_a_season_is_the_same_population(line: Line, make: Make, tmp_path: Path) -> None:
    """The champion was promoted in winter. In summer, bmi and label are higher by two standard deviations."""

    def season(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        shift = 2 * rows[:, 2].std()
        rows[:, 2] += shift
        rows[:, -1] += 5.6 * shift
        return rows

    line.workload = make("diabetes")
    champion(line)
    evaluation = evaluate(line, source=patients(tmp_path, season))
    population = evaluation.population
    assert population is not None
    assert population.exceeded == ()
    assert [move.column for move in population.columns] == ["bmi", "progression"]
    assert population.columns[0].mean_shift == pytest.approx(2.2, abs=0.2)
    assert not any(reason.startswith(DIFFERENT) for reason in evaluation.reasons)


def reviews(make: Make, language: int, count: int = 1000) -> Workload:
    """Return a variant of `fence` with a text, which its model does not read."""
    note = pa.array(texts(np.random.default_rng(language), count, language=language).tolist())
    batch = rows(count).append_column("note", note)
    return make(columns=(*COLUMNS, Column("note", "text")), batches=in_batches(batch))


def test_texts_in_another_language_are_another_population(line: Line, make: Make) -> None:
    """Both languages have the same letters and lengths, and the model is as good as before."""
    line.workload = reviews(make, language=0)
    champion(line, fence="65")
    type(line.workload).batches = reviews(make, language=1).batches
    evaluation = evaluate(line)
    assert (evaluation.verdict, evaluation.reasons[0].partition(":")[0]) == ("rejected", DIFFERENT)
    assert "note words: the words changed by " in evaluation.reasons[0]
    assert evaluation.population is not None
    changes = {move.column: move.vocabulary_change for move in evaluation.population.columns}
    change = changes["note words"]
    assert change is not None
    assert change > 0.95
    report = (line.folder / "today/evaluation/report.html").read_text()
    assert "changed by at most 0.9; 1: no word in common" in report
    assert evaluate(line, "no bound", gate_vocabulary_change="0").verdict == "promoted"


def test_other_texts_in_the_same_language_are_the_same_population(line: Line, make: Make) -> None:
    line.workload = reviews(make, language=0)
    champion(line, fence="65")
    later = texts(np.random.default_rng(7), 1000, offset=2.0)
    batch = rows().append_column("note", pa.array(later.tolist()))
    type(line.workload).batches = in_batches(batch)
    evaluation = evaluate(line)
    assert evaluation.verdict == "promoted"
    assert evaluation.population is not None
    assert evaluation.population.exceeded == ()


@pytest.mark.parametrize("split", [GroupSplit("shop"), TimeSplit("date", "20d", "60d")])
def test_another_split_of_the_same_data_is_the_same_population(line: Line, make: Make, split: Split) -> None:
    """The rows in the gap count, although they are in neither split."""
    batches = in_batches(rows(shops=500))
    line.workload = make(columns=COLUMNS, batches=batches, moving_columns=("seconds",))
    champion(line, fence="65")
    type(line.workload).split = split
    evaluation = evaluate(line)
    assert evaluation.verdict == "promoted", evaluation.reasons
    population = evaluation.population
    assert population is not None
    assert (population.exceeded, population.rows, population.champion_rows) == ((), 1000, 1000)
    assert population.score is not None
    assert evaluation.champion is not None
    assert evaluation.champion.seen_rows


def test_with_a_split_by_group_the_groups_are_compared(line: Line, make: Make) -> None:
    """The challenger is better in each of ten shops, which are too few for a conclusion on other shops."""
    line.workload = make(columns=COLUMNS, batches=in_batches(rows(shops=50)), split=GroupSplit("shop"))
    champion(line, fence="65")
    evaluation = evaluate(line)
    assert evaluation.verdict == "rejected"
    groups = {value.as_py() for value in Dataset.open(line.folder / "today/data").read("holdout")["shop"]}
    assert evaluation.reasons[0].startswith(f"score test of {len(groups)} groups: p = ")
    type(line.workload).batches = in_batches(rows(shops=500))
    assert evaluate(line, "many shops").verdict == "promoted"


@pytest.mark.parametrize("split", [GroupSplit("shop"), TimeSplit("date", "20d", "10d")])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label": [int(n * 37 % 1000 < 500) for n in range(1000)]}, "accuracy of champion 1 was 0.8"),
        ({"x": [n * 37 % 1000 / 100 for n in range(1000)]}, "x: the standard deviation is 0."),
        ({}, "400 rows, 1000 when champion 1 was promoted"),
    ],
    ids=["labels exchanged", "another unit", "fewer rows"],
)
def test_another_split_does_not_hide_another_population(
    line: Line, make: Make, split: Split, changes: dict[str, Any], text: str
) -> None:
    line.workload = make(columns=COLUMNS, batches=in_batches(rows()), moving_columns=("seconds",))
    champion(line, fence="65")
    batch = rows(**changes) if changes else rows(400)
    type(line.workload).split, type(line.workload).batches = split, in_batches(batch)
    evaluation = evaluate(line)
    assert (evaluation.verdict, evaluation.reasons[0].partition(":")[0]) == ("rejected", DIFFERENT)
    assert text in evaluation.reasons[0]
    assert evaluation.champion is not None
    assert evaluation.champion.seen_rows, "the verdict states that the champion may have seen rows"
    assert any(reason.startswith("rows that the champion may have seen") for reason in evaluation.reasons)


def test_the_gap_of_the_champion_counts_as_well(line: Line, make: Make) -> None:
    line.workload = make(columns=COLUMNS, batches=in_batches(rows()), moving_columns=("seconds",))
    type(line.workload).split = TimeSplit("date", "20d", "60d")
    champion(line, fence="65")
    type(line.workload).split = GroupSplit("shop")
    population = evaluate(line).population
    assert population is not None
    assert (population.rows, population.champion_rows) == (1000, 1000)


def test_a_person_accepts_the_data_for_one_run(line: Line, make: Make, tmp_path: Path) -> None:
    line.workload = make("digits")
    champion(line)
    source = digits(tmp_path, images(lambda pictures: 16 - pictures))
    evaluation = evaluate(line, source=source, accept="new scanner")
    folder = line.folder / "today"
    assert (evaluation.verdict, evaluation.accepted) == ("promoted", "new scanner")
    assert evaluation.population is not None
    assert evaluation.population.exceeded
    (reason,) = (reason for reason in evaluation.reasons if reason.startswith("accepted data: new scanner ("))
    assert "accuracy of champion 1" in reason
    assert Evaluation.read(folder / "evaluation/evaluation.json") == evaluation
    assert "new scanner" in (folder / "evaluation/report.html").read_text()
    assert "comparison with the champion:** new scanner" in (folder / "evaluation/card.md").read_text()
    archived = line.archive("today")
    assert (archived.accepted, reason in archived.reasons) == ("new scanner", True)


def test_accepted_data_do_not_replace_the_other_checks(line: Line, make: Make, tmp_path: Path) -> None:
    line.workload = make("digits")
    champion(line)
    source = digits(tmp_path, images(lambda pictures: 16 - pictures))
    evaluation = evaluate(line, source=source, accept="new scanner", gate_floor="0.9999")
    assert (evaluation.verdict, evaluation.accepted) == ("rejected", "new scanner")
    assert evaluation.reasons[0].startswith("accuracy: ")


def test_accepted_data_that_were_rejected_are_evaluated_again(line: Line) -> None:
    history = RunHistory(line.store, line.workload.name)

    def prepare(**parameters: Any) -> bool:
        return prep_data.run(line.workload, parameters, line.folder / "data", history).changed

    line.train("first")
    digest = prep_data.run(line.workload, {}, line.folder / "data").input_digest
    for verdict, accepted_again in (("rejected", True), ("promoted", False)):
        history.record_processed(digest, ProcessedInputs(RunRecord(run="first", verdict=verdict)))
        assert not prepare()
        assert prepare(accept="new fence") is accepted_again


def test_what_an_older_champion_does_not_record_is_named(line: Line) -> None:
    line.promote("first")
    evaluation = evaluate(line, source="made:900")
    assert evaluation.population is not None
    assert evaluation.population.score is None
    text = "not compared with the champion's data: the champion's score when it was promoted is not recorded"
    assert text in evaluation.reasons


def test_bounds_of_the_rule_can_be_changed_in_a_run(line: Line) -> None:
    champion(line)
    assert evaluate(line, source="made:300").reasons[0].startswith(f"{DIFFERENT}: 300 rows, 1000 when")
    evaluation = evaluate(line, "other bound", source="made:300", gate_rows_fall="0.2")
    assert not any(reason.startswith(DIFFERENT) for reason in evaluation.reasons)
    assert evaluation.rule["rows_fall"] == 0.2


def test_the_data_after_a_sample_are_not_compared(line: Line, make: Make) -> None:
    line.workload = make(sample_source="made:200")
    champion(line, source="made:200")
    assert evaluate(line, source="made:3000").population is None
