"""The nearest neighbours of mnist's handler: the same as by comparing with every point."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from workloads.mnist import neighbours
from workloads.mnist.handler import NEIGHBOURS
from workloads.mnist.neighbours import FEW, Neighbours

DIMENSIONS = 64


def sphere(points: np.ndarray) -> np.ndarray:
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def kinds(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Points around ten centres, spread along a few axes, as an angular margin leaves them."""
    fixed = np.random.default_rng(1)
    centres, axes = fixed.normal(size=(10, DIMENSIONS)), fixed.normal(size=(12, DIMENSIONS))
    around = rng.normal(size=(count, 12)) @ axes + 0.1 * rng.normal(size=(count, DIMENSIONS))
    return sphere(centres[rng.integers(10, size=count)] + spread * around)


def flat(points: np.ndarray) -> faiss.Index:
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index


def holds(points: np.ndarray, asked: np.ndarray) -> None:
    """Compare with a comparison with every point, in double precision."""
    distances, found = Neighbours(flat(points)).search(asked, NEIGHBOURS)
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
    asked = np.concatenate([kinds(rng, 40, spread), sphere(rng.normal(size=(10, DIMENSIONS)))])
    holds(kinds(rng, count, spread), asked)


def test_points_that_are_there_many_times_are_all_found() -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(kinds(rng, FEW // 40, 0.1), 40, axis=0)
    holds(points, points[::500])


def test_few_points_are_compared_with_at_once() -> None:
    rng = np.random.default_rng(0)
    holds(kinds(rng, 50, 0.1), kinds(rng, 5, 0.1))


def test_one_answers_as_many_do() -> None:
    rng = np.random.default_rng(0)
    searched = Neighbours(flat(kinds(rng, 10_000, 0.05)))
    asked = kinds(rng, 64, 0.05)
    distances, found = searched.search(asked, NEIGHBOURS)
    for row, one in enumerate(asked):
        alone, nearest = searched.search(one[None], NEIGHBOURS)
        assert np.abs(alone - distances[row]).max() < 1e-6
        assert set(nearest[0]) == set(found[row])


def test_most_points_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it worth its while: neither is every group read, nor is the whole index asked."""
    rng = np.random.default_rng(0)
    searched = Neighbours(flat(kinds(rng, 20_000, 0.05)))
    asked = kinds(rng, 100, 0.05)
    read = []
    scan = searched._scan

    def watched(parts: np.ndarray, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        read.append((lists >= 0).sum())
        return scan(parts, lists)

    def never(*_: object) -> None:
        raise AssertionError("the whole index was asked")

    monkeypatch.setattr(searched, "_scan", watched)
    monkeypatch.setattr(searched._index, "search", never)
    searched.search(asked, NEIGHBOURS)
    assert sum(read) < 0.3 * len(asked) * neighbours.GROUPS
