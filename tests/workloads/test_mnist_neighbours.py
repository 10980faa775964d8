"""The nearest neighbours of mnist's handler: the same as by comparing with every point."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from workloads.mnist.handler import NEIGHBOURS
from workloads.mnist.neighbours import FEW, SHORTLIST, TOGETHER, Neighbours

DIMENSIONS = 64


def sphere(points: np.ndarray) -> np.ndarray:
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def around_centres(rng: np.random.Generator, count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of ten kinds, spread along a few axes, as an angular margin leaves them; and their kinds."""
    fixed = np.random.default_rng(1)
    centres, axes = fixed.normal(size=(10, DIMENSIONS)), fixed.normal(size=(12, DIMENSIONS))
    around = rng.normal(size=(count, 12)) @ axes + 0.1 * rng.normal(size=(count, DIMENSIONS))
    kinds = rng.integers(10, size=count)
    return sphere(centres[kinds] + spread * around), kinds


def flat(points: np.ndarray) -> faiss.Index:
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index


def holds(points: np.ndarray, kinds: np.ndarray, asked: np.ndarray) -> None:
    """Compare with a comparison with every point, in double precision."""
    distances, found = Neighbours(flat(points), kinds).search(asked, NEIGHBOURS)
    every = np.stack([((points.astype(np.float64) - one) ** 2).sum(axis=1) for one in asked])
    expected = np.sort(every, axis=1)[:, :NEIGHBOURS]
    assert np.abs(distances - expected).max() < 1e-5
    # Whichever of two that are equally far stands first, it is as far as is said.
    assert np.abs(np.take_along_axis(every, found, axis=1) - expected).max() < 1e-5
    assert all(len(set(row)) == NEIGHBOURS for row in found.tolist())


@pytest.mark.parametrize("spread", [0.02, 0.1, 1.0], ids=["close", "loose", "everywhere"])
@pytest.mark.parametrize("count", [FEW, 20_000])
def test_neighbours_are_those_of_a_comparison_with_every_point(spread: float, count: int) -> None:
    rng = np.random.default_rng(0)
    asked = np.concatenate([around_centres(rng, 40, spread)[0], sphere(rng.normal(size=(10, DIMENSIONS)))])
    holds(*around_centres(rng, count, spread), asked)


def test_points_under_a_wrong_label_are_found_like_any_other() -> None:
    rng = np.random.default_rng(0)
    points, kinds = around_centres(rng, FEW, 0.1)
    wrong = rng.random(FEW) < 0.1
    kinds[wrong] = rng.integers(10, size=wrong.sum())
    holds(points, kinds, points[wrong][:50])
    holds(points, rng.integers(10, size=FEW), points[:50])


def test_kinds_of_few_points_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    points, kinds = around_centres(rng, FEW, 0.1)
    kinds[:20], points[:20] = 77, sphere(points[:20] - 5)
    holds(points, kinds, points[:50])
    holds(points, np.zeros(FEW, dtype=np.int64), points[:50])


def test_points_that_are_there_many_times_are_all_found() -> None:
    rng = np.random.default_rng(0)
    points, kinds = (np.repeat(part, 40, axis=0) for part in around_centres(rng, FEW // 40, 0.1))
    holds(points, kinds, points[::500])


def test_few_points_are_compared_with_at_once() -> None:
    rng = np.random.default_rng(0)
    holds(*around_centres(rng, 50, 0.1), around_centres(rng, 5, 0.1)[0])


def test_one_answers_as_many_do() -> None:
    rng = np.random.default_rng(0)
    points, kinds = around_centres(rng, 10_000, 0.05)
    searched = Neighbours(flat(points), kinds)
    asked, _ = around_centres(rng, TOGETHER + 10, 0.05)
    distances, found = searched.search(asked, NEIGHBOURS)
    for row, one in enumerate(asked):
        alone, nearest = searched.search(one[None], NEIGHBOURS)
        assert np.abs(alone - distances[row]).max() < 1e-6
        assert set(nearest[0]) == set(found[row])


def test_most_points_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it worth its while: few points are measured, and the whole index is hardly ever asked."""
    rng = np.random.default_rng(0)
    points, kinds = around_centres(rng, 20_000, 0.05)
    searched = Neighbours(flat(points), kinds)
    asked, _ = around_centres(rng, 100, 0.05)
    measured, compared = [], []
    measure, index = searched._measure, searched._index

    def measuring(*given: Any) -> tuple[np.ndarray, np.ndarray]:
        measured.append(len(given[2]))
        return measure(*given)

    class Index:
        def search(self, few: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            compared.append(len(few))
            distances, found = index.search(few, count)
            return distances, found

    monkeypatch.setattr(searched, "_measure", measuring)
    monkeypatch.setattr(searched, "_index", Index())
    searched.search(asked, NEIGHBOURS)
    assert sum(measured) < 2 * SHORTLIST * len(asked)
    assert sum(compared) < 0.05 * len(asked)
