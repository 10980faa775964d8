"""Drift of text by its vocabulary: power, false alarms, scipy, and the result of any order of the batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.evaluation.drift import ALPHA, column_drift
from continuous_training.evaluation.statistics_accumulator import StatisticsAccumulator
from continuous_training.evaluation.two_sample_tests import sparse_chi_square
from continuous_training.evaluation.vocabulary import BINS, Vocabulary, vocabulary_change
from workloads.contract import Column

TOPICS = 20


def words_of(seed: int, alphabet: str, size: int = 3000) -> np.ndarray:
    """Return words of two to eight characters. All domains have the same lengths."""
    rng, lengths = np.random.default_rng(seed), np.random.default_rng(0).integers(2, 9, size)
    return np.array(["".join(rng.choice(list(alphabet), length)) for length in lengths])


LATIN = "abcdefghijklmnopqrstuvwxyz"
HANGUL = "".join(map(chr, range(0xAC00, 0xAC00 + 400)))
DOMAINS = {
    "reviews": words_of(1, LATIN),
    "invoices": words_of(2, LATIN),
    "korean": words_of(3, HANGUL),
    "other korean": words_of(4, HANGUL),
}


def texts(rng: np.random.Generator, domain: str, rows: int) -> list[str]:
    """Return texts of 5 to 15 words. The words of a text depend on each other: half are of its topic."""
    words, frequencies = DOMAINS[domain], 1 / np.arange(1, 3001)
    frequencies /= frequencies.sum()
    lengths, topics = rng.integers(5, 16, rows), rng.integers(0, TOPICS, rows)
    common = rng.choice(3000, (rows, 15), p=frequencies)
    of_topic = 100 + topics[:, None] * 100 + (common % 20)
    chosen = np.where(rng.random((rows, 15)) < 0.5, common, of_topic)
    return [" ".join(words[row[:length]]) for row, length in zip(chosen, lengths, strict=True)]


def summary(values: list[str]) -> dict[str, ColumnStatistics]:
    statistics = StatisticsAccumulator([Column("text", "text")])
    statistics.add(pa.record_batch([pa.array(values)], names=["text"]))
    return statistics.result()


def words_drift(old: list[str], new: list[str]) -> ColumnDrift:
    drifts = column_drift(summary(new), summary(old))
    return next(drift for drift in drifts if drift.column == "text words")


@pytest.mark.parametrize(("old", "new"), [("reviews", "invoices"), ("korean", "other korean")])
def test_text_of_another_domain_with_the_same_lengths_is_detected(old: str, new: str) -> None:
    rng = np.random.default_rng(1)
    drifts = [words_drift(texts(rng, old, 1000), texts(rng, new, 1000)) for _ in range(20)]
    assert {drift.level for drift in drifts} == {"large"}
    others = column_drift(summary(texts(rng, new, 1000)), summary(texts(rng, old, 1000)))
    assert {drift.level for drift in others if drift.column != "text words"} == {"stable"}


def test_one_half_of_other_texts_is_detected_in_1000_rows() -> None:
    rng = np.random.default_rng(2)
    old = texts(rng, "reviews", 1000)
    p = [words_drift(old, texts(rng, "reviews", 500) + texts(rng, "invoices", 500)).p for _ in range(50)]
    assert max(p) < ALPHA


@pytest.mark.parametrize(
    ("old_rows", "new_rows", "runs"), [(100, 100, 400), (1000, 1000, 150), (3000, 300, 150)]
)
def test_false_alarms_are_at_their_rate(old_rows: int, new_rows: int, runs: int) -> None:
    rng = np.random.default_rng([old_rows, new_rows])
    drifts = [
        words_drift(texts(rng, "reviews", old_rows), texts(rng, "reviews", new_rows)) for _ in range(runs)
    ]
    alarms = sum(drift.p < ALPHA for drift in drifts)
    # The probability of more alarms at the rate of 5 % is below 0.1 %.
    assert alarms <= stats.binom.isf(0.001, runs, ALPHA)
    assert np.mean([drift.psi for drift in drifts]) < 0.1


@pytest.mark.parametrize(("new", "old"), [(200, 200), (200, 900), (50, 3000)])
def test_the_moments_are_those_of_tables_with_the_same_sums(new: int, old: int) -> None:
    rng = np.random.default_rng(3)
    frequencies = 1 / np.arange(1, 1001)
    sums = rng.multinomial(new + old, frequencies / frequencies.sum())
    tables = rng.multivariate_hypergeometric(sums, new, 3000, method="marginals")
    results = np.array([sparse_chi_square(table, sums - table) for table in tables])
    assert results[:, 1] == pytest.approx(results[:, 0].mean(), rel=0.01)
    assert (results[:, 2] < ALPHA).mean() == pytest.approx(ALPHA, abs=0.015)


def test_frequent_categories_have_the_p_value_of_scipy() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        counts = rng.multinomial(5000, np.full(30, 1 / 30), 2)
        expected = stats.chi2_contingency(counts, correction=False)
        statistic, _, p = sparse_chi_square(*counts)
        assert statistic == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue, abs=0.01)


def counts_of(*values: str) -> np.ndarray:
    vocabulary = Vocabulary()
    vocabulary.add(pa.array(values, pa.string()))
    return vocabulary.counts


def test_case_and_punctuation_do_not_matter_and_a_text_may_have_no_word() -> None:
    assert (counts_of("Great!", "GREAT", " great...") == 3 * counts_of("great")).all()
    assert np.flatnonzero(counts_of("great"))[0] < BINS
    assert np.flatnonzero(counts_of("", "?! ")).tolist() == [BINS]


def test_korean_words_are_pairs_of_characters() -> None:
    """An ending, as in "movie" and "movie + topic marker", does not make another word of each pair."""
    pairs = {tuple(np.flatnonzero(counts_of(pair))) for pair in ("영화", "화는")}
    assert tuple(np.flatnonzero(counts_of("영화는"))) in pairs
    assert tuple(np.flatnonzero(counts_of("영화"))) in pairs


@pytest.mark.parametrize(("new_rows", "old_rows"), [(300, 300), (300, 3000), (3000, 300), (3000, 3000)])
def test_the_change_of_a_vocabulary_does_not_depend_on_the_number_of_texts(
    new_rows: int, old_rows: int
) -> None:
    rng = np.random.default_rng(11)

    def change(new: str, old: str, share: float = 1.0) -> float:
        """Return the mean change if a share of the new texts is of the domain `new`, the others of `old`."""
        count = round(share * new_rows)
        changes = [
            vocabulary_change(
                counts_of(*texts(rng, new, count), *texts(rng, old, new_rows - count)),
                counts_of(*texts(rng, old, old_rows)),
            )
            for _ in range(10)
        ]
        return float(np.mean(changes))

    assert change("reviews", "reviews") < 0.1
    assert change("invoices", "reviews") > 0.9
    # Half of the words are the old ones: 1 - 0.5 / sqrt(0.5).
    assert change("invoices", "reviews", 0.5) == pytest.approx(0.29, abs=0.06)


def test_the_change_of_a_vocabulary_without_two_texts_is_zero() -> None:
    one, many = counts_of("great"), counts_of("great", "bad", "bad", "good")
    assert vocabulary_change(one, many) == vocabulary_change(many, one) == 0
    assert vocabulary_change(counts_of("a", "b", "c"), many) == 0, "no word occurs twice"
    assert vocabulary_change(many, many) == 0
    assert vocabulary_change(counts_of("x", "x"), counts_of("y", "y")) == 1


def test_the_hash_is_stable() -> None:
    """The counts are stored with the champion and compared by later versions of the program."""
    assert [int(np.flatnonzero(counts_of(text))[0]) for text in ("hello", "영화")] == [2659, 2864]


def test_batches_slices_and_merges_give_the_same_counts() -> None:
    values = [*texts(np.random.default_rng(5), "korean", 300), "", "one more"]
    whole, parts = counts_of(*values), Vocabulary()
    for start in range(0, len(values), 100):
        part = Vocabulary()
        part.add(pa.array(values).slice(start, 100))
        parts.merge(part)
    assert (parts.counts == whole).all()
    parts.add(pa.array([], pa.string()))
    assert parts.texts == len(values)


def test_a_champion_without_vocabulary_is_not_compared() -> None:
    rng = np.random.default_rng(6)
    old = summary(texts(rng, "reviews", 100))
    del old["text words"]
    drifts = column_drift(summary(texts(rng, "invoices", 100)), old)
    assert {drift.column for drift in drifts} == {"text", "text characters"}
