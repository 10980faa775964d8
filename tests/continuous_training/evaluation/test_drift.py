"""Drift: classical tests against scipy's, indices over the bins of any column, and what prep-data counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from continuous_training.evaluation.column_statistics import Statistics
from continuous_training.evaluation.drift import Drift, drift
from continuous_training.evaluation.two_sample_tests import chi_square, chi_square_tail, kolmogorov_smirnov
from continuous_training.evaluation.unicode_profile import kind_of
from workloads.contract import Column, Workload

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 99, 100])
@pytest.mark.parametrize("statistic", [1e-6, 0.5, 1, 4, 30, 120, 900])
def test_the_tail_of_chi_squared_is_scipys(statistic: float, degrees: int) -> None:
    expected = stats.chi2.sf(statistic, degrees)
    assert chi_square_tail(statistic, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_no_freedom_and_no_distance_are_no_evidence() -> None:
    assert chi_square_tail(5.0, 0) == chi_square_tail(0.0, 3) == 1.0
    assert chi_square(np.array([4.0, 0]), np.array([7.0, 0])) == (0.0, 1.0)


@pytest.mark.parametrize("new", [(50, 50, 0), (40, 60, 0), (34, 66, 3), (5, 5, 90)])
def test_chi_square_is_scipys(new: tuple[int, ...]) -> None:
    table = np.array([new, (100, 120, 30)], dtype=float)
    expected = stats.chi2_contingency(table, correction=False)
    assert chi_square(*table) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2, 1.0])
def test_kolmogorov_smirnov_is_scipys_where_bins_are_fine(shift: float) -> None:
    one, other = RNG.normal(shift, 1, 900), RNG.normal(0, 1, 700)
    edges = np.unique(np.concatenate([one, other]))
    new, old = (np.histogram(side, np.append(edges, edges[-1] + 1))[0].astype(float) for side in (one, other))
    distance, p = kolmogorov_smirnov(new, old, (900, 700))
    expected = stats.ks_2samp(one, other, method="asymp")
    assert distance == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue, abs=0.03)


def test_kolmogorov_smirnov_in_coarse_bins_never_claims_more() -> None:
    for shift in (0.0, 0.1, 0.3):
        one, other = RNG.normal(shift, 1, 400), RNG.normal(0, 1, 400)
        edges = np.linspace(-6, 6, 13)
        new, old = (np.histogram(side, edges)[0].astype(float) for side in (one, other))
        distance, p = kolmogorov_smirnov(new, old, (400, 400))
        exact = stats.ks_2samp(one, other, method="asymp")
        assert distance <= exact.statistic + 1e-12
        assert p >= exact.pvalue - 0.03


def statistics(*columns: Column, **values: Any) -> dict[str, Any]:
    class Toy(Workload):
        key = "none"

    Toy.columns = columns
    # Only the names of the columns matter here.
    counted = Statistics(Toy)  # type: ignore[type-abstract, arg-type]
    arrays = [pa.array(values[column.name], column.arrow) for column in columns]
    counted.add(pa.record_batch(arrays, names=[column.name for column in columns]))
    return counted.to_json()


def moved(column: Column, old: Any, new: Any) -> Drift:
    found = drift(*(statistics(column, **{column.name: side}) for side in (new, old)))
    return next(one for one in found if one.column == column.name)


RANGED = Column("x", "number", 0, 1000)
FREE = Column("x", "number")


@pytest.mark.parametrize("column", [RANGED, FREE], ids=["ranged", "free"])
def test_numbers_that_stay_are_stable_and_those_that_move_are_not(column: Column) -> None:
    old = RNG.normal(150, 20, 2000)
    still = moved(column, old, RNG.normal(150, 20, 2000))
    assert (still.word, still.test) == ("stable", "KS")
    some, far = (moved(column, old, RNG.normal(150 + shift, 20, 2000)) for shift in (9, 40))
    assert (some.word, far.word) == ("moderate", "large")
    assert far.p < 1e-6
    assert far.statistic > some.statistic > still.statistic


def test_numbers_of_any_size_and_sign_are_compared() -> None:
    old = RNG.normal(0, 1, 3000)
    for factor in (1e-5, 1e-2, 1e3, 1e9):
        assert moved(FREE, factor * old, factor * RNG.normal(0, 1, 3000)).word == "stable"
        assert moved(FREE, factor * old, -factor * np.abs(old)).word == "large"
    beyond = moved(FREE, np.full(500, 1e30), np.full(500, -1e30))
    assert (beyond.word, beyond.statistic) == ("large", 1.0)


def test_texts_are_compared_by_their_lengths() -> None:
    column = Column("x", "text")
    old = ["a" * int(n) for n in RNG.poisson(30, 1000)]
    assert moved(column, old, ["b" * int(n) for n in RNG.poisson(30, 1000)]).word == "stable"
    assert moved(column, old, ["b" * int(n) for n in RNG.poisson(90, 1000)]).word == "large"
    assert moved(column, old, [""] * 1000).word == "large"


def test_texts_are_compared_by_the_kinds_of_their_characters() -> None:
    """As long as before, and in other letters; a long text tells no more than a short one."""
    column = Column("x", "text")
    korean = [f"재미 {'있' * int(n)}!" for n in RNG.poisson(30, 1000)]
    mixed = [text if RNG.random() < 0.7 else "x" * len(text) for text in korean]

    def kinds(old: list[str], new: list[str]) -> Drift:
        found = drift(*(statistics(column, x=side) for side in (new, old)))
        return next(one for one in found if one.column == "x characters")

    still, far = kinds(korean[:500], korean[500:]), kinds(korean, mixed)
    assert (still.word, far.word, far.test) == ("stable", "large", "χ²")
    assert moved(column, korean, mixed).word == "stable", "by length alone nothing has moved"
    told = statistics(column, x=["가나다라", "ab", "", "1 漢🙂" * 500])["x characters"]
    assert told["rows"] == 4
    assert told["counts"] == {
        **{"hangul": 1, "han": 0.25, "latin": 1, "digits": 0.25, "symbols": 0.25, "spaces": 0.25},
        "no character": 1,
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *[("한", "hangul"), ("ㅋ", "hangul"), ("漢", "han"), ("か", "kana"), ("カ", "kana"), ("é", "latin")],
        *[("ж", "cyrillic"), ("ω", "greek"), ("ع", "arabic"), ("ส", "other letters"), ("٣", "digits")],
        *[("…", "punctuation"), ("♥", "symbols"), ("🙂", "symbols"), ("\t", "spaces"), ("\xa0", "spaces")],
        *[("\0", "others"), ("\U000e0001", "others")],
    ],
)
def test_every_character_has_a_kind(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_values_are_compared_by_their_counts() -> None:
    column = Column("x", "text", values=("cat", "dog"))
    old = ["cat", "dog"] * 300
    assert moved(column, old, ["dog", "cat"] * 300).word == "stable"
    found = moved(column, old, ["dog", "dog", "dog", "cat"] * 150)
    assert (found.word, found.test) == ("large", "χ²")


def test_what_chance_explains_is_stable_whatever_its_index() -> None:
    """Thirty rows a side: the index of two samples of one population is often beyond its limits."""
    found = [moved(RANGED, RNG.normal(500, 90, 30), RNG.normal(500, 90, 30)) for _ in range(40)]
    assert sum(one.psi > 0.25 for one in found) > 20
    assert sum(one.word != "stable" for one in found) <= 6


def test_an_index_is_not_blown_up_by_empty_bins() -> None:
    """A hundred bins would each add to it; tenths of the old rows do not."""
    one, other = RNG.uniform(0, 1000, 300), RNG.uniform(0, 1000, 300)
    assert moved(RANGED, one, other).psi < 0.1
