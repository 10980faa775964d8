"""The nearest neighbours of mnist's handler equal the result of a brute-force search."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest

from workloads.mnist.handler import NEIGHBOURS
from workloads.mnist.neighbours import BATCH, BRUTE_FORCE_LIMIT, SHORTLIST, Neighbours

DIMENSIONS = 64


def sphere(points: np.ndarray) -> np.ndarray:
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def around_centres(rng: np.random.Generator, count: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points of ten clusters, spread along a few axes as after training, and their clusters."""
    fixed = np.random.default_rng(1)
    centres, axes = fixed.normal(size=(10, DIMENSIONS)), fixed.normal(size=(12, DIMENSIONS))
    around = rng.normal(size=(count, 12)) @ axes + 0.1 * rng.normal(size=(count, DIMENSIONS))
    clusters = rng.integers(10, size=count)
    return sphere(centres[clusters] + spread * around), clusters


def flat(points: np.ndarray) -> faiss.Index:
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index


def assert_exact(points: np.ndarray, clusters: np.ndarray, queries: np.ndarray) -> None:
    """Compare with a brute-force search in double precision."""
    distances, neighbours = Neighbours(flat(points), clusters).search(queries, NEIGHBOURS)
    every = np.stack([((points.astype(np.float64) - query) ** 2).sum(axis=1) for query in queries])
    expected = np.sort(every, axis=1)[:, :NEIGHBOURS]
    assert np.abs(distances - expected).max() < 1e-5
    # Neighbours with equal distances may be in any order.
    assert np.abs(np.take_along_axis(every, neighbours, axis=1) - expected).max() < 1e-5
    assert all(len(set(row)) == NEIGHBOURS for row in neighbours.tolist())


@pytest.mark.parametrize("spread", [0.02, 0.1, 1.0], ids=["close", "loose", "everywhere"])
@pytest.mark.parametrize("count", [BRUTE_FORCE_LIMIT, 20_000])
def test_neighbours_equal_a_brute_force_search(spread: float, count: int) -> None:
    rng = np.random.default_rng(0)
    queries = np.concatenate([around_centres(rng, 40, spread)[0], sphere(rng.normal(size=(10, DIMENSIONS)))])
    assert_exact(*around_centres(rng, count, spread), queries)


def test_points_under_a_wrong_label_are_neighbours_like_any_other() -> None:
    rng = np.random.default_rng(0)
    points, clusters = around_centres(rng, BRUTE_FORCE_LIMIT, 0.1)
    mislabelled = rng.random(BRUTE_FORCE_LIMIT) < 0.1
    clusters[mislabelled] = rng.integers(10, size=mislabelled.sum())
    assert_exact(points, clusters, points[mislabelled][:50])
    assert_exact(points, rng.integers(10, size=BRUTE_FORCE_LIMIT), points[:50])


def test_small_clusters_do_not_change_the_neighbours() -> None:
    rng = np.random.default_rng(0)
    points, clusters = around_centres(rng, BRUTE_FORCE_LIMIT, 0.1)
    clusters[:20], points[:20] = 77, sphere(points[:20] - 5)
    assert_exact(points, clusters, points[:50])
    assert_exact(points, np.zeros(BRUTE_FORCE_LIMIT, dtype=np.int64), points[:50])


def test_duplicate_points_are_all_neighbours() -> None:
    rng = np.random.default_rng(0)
    points, clusters = (
        np.repeat(part, 40, axis=0) for part in around_centres(rng, BRUTE_FORCE_LIMIT // 40, 0.1)
    )
    assert_exact(points, clusters, points[::500])


def test_a_small_index_is_searched_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    assert_exact(*around_centres(rng, 50, 0.1), around_centres(rng, 5, 0.1)[0])


def test_a_single_query_gets_the_same_neighbours_as_in_a_batch() -> None:
    rng = np.random.default_rng(0)
    points, clusters = around_centres(rng, 10_000, 0.05)
    searched = Neighbours(flat(points), clusters)
    queries, _ = around_centres(rng, BATCH + 10, 0.05)
    distances, neighbours = searched.search(queries, NEIGHBOURS)
    for row, query in enumerate(queries):
        alone, nearest = searched.search(query[None], NEIGHBOURS)
        assert np.abs(alone - distances[row]).max() < 1e-6
        assert set(nearest[0]) == set(neighbours[row])


def test_exact_distances_are_computed_for_few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact distances are computed for few points, and a brute-force search is rare."""
    rng = np.random.default_rng(0)
    points, clusters = around_centres(rng, 20_000, 0.05)
    searched = Neighbours(flat(points), clusters)
    queries, _ = around_centres(rng, 100, 0.05)
    measured, compared = [], []
    measure, index = searched._nearest, searched._index

    def measuring(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
        measured.append(len(arguments[2]))
        return measure(*arguments)

    class Index:
        def search(self, few: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            compared.append(len(few))
            distances, neighbours = index.search(few, count)
            return distances, neighbours

    monkeypatch.setattr(searched, "_nearest", measuring)
    monkeypatch.setattr(searched, "_index", Index())
    searched.search(queries, NEIGHBOURS)
    assert sum(measured) < 2 * SHORTLIST * len(queries)
    assert sum(compared) < 0.05 * len(queries)
