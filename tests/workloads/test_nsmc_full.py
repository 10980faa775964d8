"""nsmc at full size: its figures beside the seed's in the same run, and ten times the rows."""

from __future__ import annotations

import pytest

from benchmarks import nsmc, scale
from benchmarks.processes import ROOT, measured

SOURCE = ROOT.parent / "shared" / "data" / "nsmc"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="no ../shared/data/nsmc beside the checkout"),
]


def test_the_fast_model_beats_the_seed_in_accuracy_and_time() -> None:
    seed, fast = (measured(nsmc.METHODS, method, str(SOURCE)) for method in ("seed", "fast"))
    print(f"\n{nsmc.HEAD}")
    print(nsmc.line("seed: words, naive Bayes", [seed], [1.0], float("nan")))
    print(nsmc.line("fast", [fast], [fast.seconds / seed.seconds], float("nan")))
    assert seed.told["accuracy"] == pytest.approx(0.8216, abs=0.0005)
    assert fast.told["accuracy"] >= 0.876


def test_the_deep_model_is_better_than_the_fast_one_by_more_than_chance() -> None:
    pytest.importorskip("torch", reason="needs torch: make install EXTRAS=torch")
    deep = measured(nsmc.METHODS, "both", str(SOURCE))
    gain, low, high = deep.told["gain"]
    print(f"\n{nsmc.line('deep', [deep], [float('nan')], float('nan'))}")
    print(f"better than fast by {gain:.4f} (95 % interval {low:.4f} to {high:.4f})")
    assert deep.told["accuracy"] >= 0.883
    assert low > 0


def test_memory_stays_flat_at_ten_times_the_rows() -> None:
    for step, taken in zip(scale.STEPS, scale.measure(SOURCE, 10), strict=True):
        print(f"\n{step} of 2,000,000 rows: {taken.seconds:.1f} s, {taken.megabytes:.0f} MB", end="")
        assert taken.megabytes <= 300
