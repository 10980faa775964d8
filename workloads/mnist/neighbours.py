"""The exact nearest neighbours of a point among many on the unit sphere, without a look at most of them."""

from __future__ import annotations

from typing import Any

import numpy as np

AXES = 10
"""Along so many axes of its own the points of one kind spread, nearly; what is left over is one length."""
LANES = 64
"""Points are dealt out to so many lanes; the nearest of each lane tell how many are how near."""
SHORTLIST = 32
"""At least so many points of a shortlist are measured in full; about forty are."""
FEW = 5000
"""So many points are compared with all at once."""
TOGETHER = 256
"""So many points are asked about at once; for each, a number per point of its kind is in memory."""
_SLACK = 1e-5
"""Squared distances are off by less in float32."""


class Neighbours:
    """Finds the points with the least squared Euclidean distance, the same as a comparison with every one.

    Points belong to the kind whose centre is nearest. Two bounds leave out what cannot be a neighbour. A
    point that is asked about is no nearer to one of another kind than to the plane half-way between the two
    centres. And two points are no nearer to each other than their shadows are: their parts along the axes
    that a kind spreads along most, and the length of the rest. Where the bounds are not enough, all points
    are compared with.
    """

    def __init__(self, index: Any, labels: np.ndarray) -> None:
        """Arrange the points of a flat FAISS index; each label of `labels`, int64 [n], is a centre's."""
        self._index = index
        self._few = index.ntotal < FEW
        if not self._few:
            self._arrange(labels)

    def search(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances and numbers of each point's neighbours, the nearest first: [n, count]."""
        if self._few or count > SHORTLIST:
            distances, found = self._index.search(points, count)
            return distances, found
        if len(points) > TOGETHER:
            parts = [self.search(points[i : i + TOGETHER], count) for i in range(0, len(points), TOGETHER)]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        own, bounds = self._own_kinds(points)
        rows, found = [], []
        for kind in set(own.tolist()):
            asked = np.flatnonzero(own == kind)
            shortlisted, numbers, reach = self._kinds[kind].shortlist(points[asked])
            bounds[asked] = np.minimum(bounds[asked], reach)
            rows.append(asked[shortlisted])
            found.append(numbers)
        distances, nearest = self._measure(points, np.concatenate(rows), np.concatenate(found), count)
        unsure = np.flatnonzero(bounds <= distances[:, -1] + _SLACK)
        if len(unsure):
            distances[unsure], nearest[unsure] = self._index.search(points[unsure], count)
        return distances, nearest

    def _arrange(self, labels: np.ndarray) -> None:
        import faiss

        count, dimensions = self._index.ntotal, self._index.d
        # The index's own memory, not a copy of it.
        self._points = faiss.rev_swig_ptr(self._index.get_xb(), count * dimensions).reshape(count, dimensions)
        self._centres = np.stack([self._points[labels == one].mean(axis=0) for one in np.unique(labels)])
        own = self._centres_of_enough()
        self._between = np.linalg.norm(self._centres[:, None] - self._centres, axis=2)
        np.fill_diagonal(self._between, np.inf)
        self._kinds = [
            _Kind(self._points, np.flatnonzero(own == kind), centre)
            for kind, centre in enumerate(self._centres)
        ]

    def _centres_of_enough(self) -> np.ndarray:
        """Leave out the centres of few points, which go to the next one; returns each point's centre."""
        while True:
            own = _squares(self._points, self._centres).argmin(axis=1)
            sizes = np.bincount(own, minlength=len(self._centres))
            enough = sizes >= min(SHORTLIST, sizes.max())
            if enough.all():
                return own
            self._centres = self._centres[enough]

    def _own_kinds(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each point's kind, and how near a point of another kind may be, squared."""
        squares = _squares(points, self._centres)
        own = squares.argmin(axis=1)
        nearer = squares - np.take_along_axis(squares, own[:, None], axis=1)
        planes = nearer / (2 * self._between[own])
        planes[np.arange(len(own)), own] = np.inf
        return own, planes.min(axis=1) ** 2

    def _measure(
        self, points: np.ndarray, rows: np.ndarray, found: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest of what was found for each row, by all dimensions: at least `count` a row."""
        apart = self._points[found] - points[rows]
        distances = np.einsum("ij,ij->i", apart, apart)
        order = np.lexsort((found, distances, rows))
        begins = np.searchsorted(rows[order], np.arange(len(points)))
        chosen = order[begins[:, None] + np.arange(count)]
        return distances[chosen], found[chosen]


class _Kind:
    """The points of one kind, by their shadows."""

    def __init__(self, points: np.ndarray, numbers: np.ndarray, centre: np.ndarray) -> None:
        self._numbers, self._centre = numbers, centre
        around = points[numbers] - centre
        self._axes = np.ascontiguousarray(np.linalg.eigh(around.T @ around)[1][:, ::-1][:, :AXES])
        shadows = self._shadows(around)
        # A shadow's squared distance from b is |a|^2 - 2 ab + |b|^2: all but the last is one product of two
        # tables. What fills the last row of lanes up is infinitely far away.
        width = -(-len(numbers) // LANES) * LANES
        self._table = np.zeros((AXES + 2, width), dtype=np.float32)
        self._table[:-1, : len(numbers)] = -2 * shadows.T
        self._table[-1] = np.inf
        self._table[-1, : len(numbers)] = np.einsum("ij,ij->i", shadows, shadows)

    def shortlist(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs of a row of `points` and the number of a point that may be near to it.

        And how near a point of the kind may be that is not in the shortlist: squared, [n].
        """
        shadows = self._shadows(points - self._centre)
        ones = np.ones((len(points), 1), dtype=np.float32)
        far = np.concatenate([shadows, ones], axis=1) @ self._table
        # As many points as lanes are no further than the furthest of their lanes' nearest.
        lanes = far.reshape(len(points), -1, LANES).min(axis=1)
        reach = np.partition(lanes, SHORTLIST - 1, axis=1)[:, SHORTLIST - 1]
        rows, columns = np.divmod(np.flatnonzero(far <= reach[:, None]), far.shape[1])
        return rows, self._numbers[columns], reach + np.einsum("ij,ij->i", shadows, shadows)

    def _shadows(self, around: np.ndarray) -> np.ndarray:
        along = around @ self._axes
        rest = np.einsum("ij,ij->i", around, around) - np.einsum("ij,ij->i", along, along)
        return np.concatenate([along, np.sqrt(np.maximum(rest, 0))[:, None]], axis=1)


def _squares(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distances of points on the unit sphere to each of the others: [n, m]."""
    return 1 - 2 * points @ others.T + np.einsum("ij,ij->i", others, others)
