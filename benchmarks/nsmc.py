"""Measure accuracy and speed of nsmc and of the reference implementation in the same run.

    python -m benchmarks.nsmc [--source ../shared/data/nsmc] [--rounds 5] [--deep]

The reference implementation is scikit-learn's CountVectorizer and naive Bayes. Each method is a separate
process: interpreter, imports, reading, training, prediction of the holdout. Rounds alternate. The accuracy is
measured on the corpus's own test file. `--deep` also trains the deep model once, which takes minutes.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from .processes import ROOT, ProcessResult, run_measured

METHODS = "benchmarks.nsmc_methods"
HEAD = """| whole process | accuracy | seconds | CPU s | vs reference | peak memory, MB | one review, ms |
|---|---|---|---|---|---|---|"""


def line(title: str, results: list[ProcessResult], ratios: list[float], latency: float) -> str:
    """Return a method's medians as a row of the table."""
    seconds, cpu = (
        statistics.median(getattr(result, name) for result in results) for name in ("seconds", "cpu")
    )
    memory = max(result.megabytes for result in results)
    ratio = statistics.median(ratios)
    cells = [f"{results[0].output['accuracy']:.4f}", f"{seconds:.1f}", f"{cpu:.1f}", f"{ratio:.2f}x"]
    return f"| {' | '.join([title, *cells, f'{memory:.0f}', f'{latency:.3f}'])} |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "data" / "nsmc")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deep", action="store_true")
    arguments = parser.parse_args()
    source = str(arguments.source.resolve())
    rounds = [
        [run_measured(METHODS, method, source) for method in ("reference", "fast")]
        for _ in range(arguments.rounds)
    ]
    references, fasts = zip(*rounds, strict=True)
    latency = {
        m: run_measured(METHODS, m, source, "--latency").output["one review, ms"]
        for m in ("reference", "fast")
    }
    print(HEAD)
    print(line("reference: words, naive Bayes", list(references), [1.0], latency["reference"]))
    ratios = [fast.seconds / reference.seconds for reference, fast in rounds]
    print(line("fast", list(fasts), ratios, latency["fast"]))
    if arguments.deep:
        deep = run_measured(METHODS, "both", source, "--latency")
        ratio = deep.seconds / statistics.median(result.seconds for result in references)
        print(line("deep", [deep], [ratio], deep.output["one review, ms"]))
        gain, low, high = deep.output["gain"]
        print(f"\ndeep is better than fast by {gain:.4f} (95 % interval {low:.4f} to {high:.4f}), paired")


if __name__ == "__main__":
    main()
