"""Exact nearest neighbours on the unit sphere, without computing the distance to every point."""

from __future__ import annotations

from typing import Any

import numpy as np

AXES = 10
"""Number of principal axes of a cluster's projection. The remaining dimensions are reduced to one length."""
LANES = 64
"""Number of interleaved groups of a cluster's points. Their minima give the threshold of the shortlist."""
SHORTLIST = 32
"""Minimum number of candidates whose exact distances are computed; about forty in practice."""
BRUTE_FORCE_LIMIT = 5000
"""An index with fewer points is searched by brute force."""
BATCH = 256
"""Number of query points per batch. It limits memory: one float per query point and point of its cluster."""
_TOLERANCE = 1e-5
"""Upper bound of the rounding error of squared distances in float32."""


class Neighbours:
    """Finds the points with the smallest squared Euclidean distances. The result is exact.

    A point belongs to the cluster with the nearest centre. Two lower bounds exclude points. First, the
    distance of a query point to a point of another cluster is at least its distance to the plane half-way
    between the two centres. Second, the distance between two points is at least the distance between their
    projections: their coordinates along the principal axes of the cluster, and the length of the remainder.
    If the bounds do not prove the result, the query point is searched by brute force.
    """

    def __init__(self, index: Any, labels: np.ndarray) -> None:
        """Cluster the points of a flat FAISS index around the means of the labels, int64 [n]."""
        self._index = index
        self._brute_force = index.ntotal < BRUTE_FORCE_LIMIT
        if not self._brute_force:
            self._build_clusters(labels)

    def search(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances and numbers of each point's neighbours, the nearest first: [n, count]."""
        if self._brute_force or count > SHORTLIST:
            distances, neighbours = self._index.search(points, count)
            return distances, neighbours
        if len(points) > BATCH:
            parts = [self.search(points[i : i + BATCH], count) for i in range(0, len(points), BATCH)]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        assigned, bounds = self._assign(points)
        rows, candidates = [], []
        for cluster in set(assigned.tolist()):
            members = np.flatnonzero(assigned == cluster)
            shortlisted, numbers, bound = self._clusters[cluster].shortlist(points[members])
            bounds[members] = np.minimum(bounds[members], bound)
            rows.append(members[shortlisted])
            candidates.append(numbers)
        distances, nearest = self._nearest(points, np.concatenate(rows), np.concatenate(candidates), count)
        unproven = np.flatnonzero(bounds <= distances[:, -1] + _TOLERANCE)
        if len(unproven):
            distances[unproven], nearest[unproven] = self._index.search(points[unproven], count)
        return distances, nearest

    def _build_clusters(self, labels: np.ndarray) -> None:
        import faiss

        count, dimensions = self._index.ntotal, self._index.d
        # This array shares the memory of the index.
        self._points = faiss.rev_swig_ptr(self._index.get_xb(), count * dimensions).reshape(count, dimensions)
        self._centres = np.stack([self._points[labels == label].mean(axis=0) for label in np.unique(labels)])
        assigned = self._drop_small_clusters()
        self._centre_distances = np.linalg.norm(self._centres[:, None] - self._centres, axis=2)
        np.fill_diagonal(self._centre_distances, np.inf)
        self._clusters = [
            _Cluster(self._points, np.flatnonzero(assigned == cluster), centre)
            for cluster, centre in enumerate(self._centres)
        ]

    def _drop_small_clusters(self) -> np.ndarray:
        """Remove the centres of small clusters, and return the nearest remaining centre of each point."""
        while True:
            assigned = _squared_distances(self._points, self._centres).argmin(axis=1)
            sizes = np.bincount(assigned, minlength=len(self._centres))
            large = sizes >= min(SHORTLIST, sizes.max())
            if large.all():
                return assigned
            self._centres = self._centres[large]

    def _assign(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each point's cluster, and a lower bound of its squared distance to other points."""
        squares = _squared_distances(points, self._centres)
        assigned = squares.argmin(axis=1)
        differences = squares - np.take_along_axis(squares, assigned[:, None], axis=1)
        planes = differences / (2 * self._centre_distances[assigned])
        planes[np.arange(len(assigned)), assigned] = np.inf
        return assigned, planes.min(axis=1) ** 2

    def _nearest(
        self, points: np.ndarray, rows: np.ndarray, candidates: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return exact distances and numbers of the `count` nearest candidates of each row.

        `rows` and `candidates` are pairs of a row of `points` and a point's number, at least `count` per row.
        """
        differences = self._points[candidates] - points[rows]
        distances = np.einsum("ij,ij->i", differences, differences)
        order = np.lexsort((candidates, distances, rows))
        starts = np.searchsorted(rows[order], np.arange(len(points)))
        nearest = order[starts[:, None] + np.arange(count)]
        return distances[nearest], candidates[nearest]


class _Cluster:
    """The points of one cluster, and their projections."""

    def __init__(self, points: np.ndarray, numbers: np.ndarray, centre: np.ndarray) -> None:
        self._numbers, self._centre = numbers, centre
        offsets = points[numbers] - centre
        self._axes = np.ascontiguousarray(np.linalg.eigh(offsets.T @ offsets)[1][:, ::-1][:, :AXES])
        projections = self._project(offsets)
        # The squared distance |a|^2 - 2 ab + |b|^2 of two projections is, without |a|^2, one product of two
        # matrices. The padding of the last row of lanes has an infinite distance.
        width = -(-len(numbers) // LANES) * LANES
        self._table = np.zeros((AXES + 2, width), dtype=np.float32)
        self._table[:-1, : len(numbers)] = -2 * projections.T
        self._table[-1] = np.inf
        self._table[-1, : len(numbers)] = np.einsum("ij,ij->i", projections, projections)

    def shortlist(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return candidates as rows of `points` and numbers of points, and a bound [n].

        The bound is a lower bound of the squared distance to the cluster's points that are not candidates.
        """
        projections = self._project(points - self._centre)
        ones = np.ones((len(points), 1), dtype=np.float32)
        distances = np.concatenate([projections, ones], axis=1) @ self._table
        # At least SHORTLIST points have a distance up to the SHORTLIST-th smallest minimum of the lanes.
        lanes = distances.reshape(len(points), -1, LANES).min(axis=1)
        threshold = np.partition(lanes, SHORTLIST - 1, axis=1)[:, SHORTLIST - 1]
        rows, columns = np.divmod(np.flatnonzero(distances <= threshold[:, None]), distances.shape[1])
        bound = threshold + np.einsum("ij,ij->i", projections, projections)
        return rows, self._numbers[columns], bound

    def _project(self, offsets: np.ndarray) -> np.ndarray:
        """Return the coordinates along the principal axes, and the length of the remainder: [n, AXES + 1]."""
        coordinates = offsets @ self._axes
        squares = np.einsum("ij,ij->i", offsets, offsets)
        remainder = squares - np.einsum("ij,ij->i", coordinates, coordinates)
        return np.concatenate([coordinates, np.sqrt(np.maximum(remainder, 0))[:, None]], axis=1)


def _squared_distances(points: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the squared distances of points on the unit sphere to each of the others: [n, m]."""
    return 1 - 2 * points @ references.T + np.einsum("ij,ij->i", references, references)
