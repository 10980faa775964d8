"""The set of digests, against Python's set."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.distinct_digests import DistinctDigests


@pytest.mark.parametrize("runs_in_memory", [0, 2, 100])
@pytest.mark.parametrize("values", [30, 3000, 2**32])
def test_digests_are_new_once(values: int, runs_in_memory: int) -> None:
    random, earlier = np.random.default_rng(0), set[bytes]()
    digests = DistinctDigests(run=64, runs_in_memory=runs_in_memory)
    for size in random.integers(0, 80, 40):
        batch = np.zeros((size, 16), dtype=np.uint8)
        # Bytes of zero at the end, and digests that differ only in one half.
        batch[:, 4:8] = random.integers(0, values, size, dtype=np.uint32)[:, None].view(np.uint8)
        batch[:, 8] = random.integers(0, 2, size)
        expected = []
        for digest in map(bytes, batch):
            expected.append(digest not in earlier)
            earlier.add(digest)
        assert digests.add(batch).tolist() == expected


def test_the_memory_is_that_of_the_digests() -> None:
    digests, random = DistinctDigests(run=1024), np.random.default_rng(0)
    for _ in range(20):
        assert digests.add(random.integers(0, 256, (1000, 16), dtype=np.uint8)).all()
    runs = digests._full + digests._partial
    assert sum(run.array.nbytes for run in runs) == 20_000 * 16
    assert max(len(run.array) for run in runs) < 2 * 1024 + 1000
    assert digests._filter._blocks.nbytes <= 2 * 20_000
