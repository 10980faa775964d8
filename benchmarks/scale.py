"""Measure time and peak memory of prep-data and of nsmc's fast model for increasing numbers of rows.

    python -m benchmarks.scale [--source ../shared/data/nsmc] [--times 1 2 5 10] [--output docs/scale.svg]

The corpus is repeated with new ids and a small perturbation: two neighbouring characters of each review are
swapped. Each step runs in a separate process. The figure shows CPU seconds, because they depend less on the
load of the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from workloads.nsmc.review_file import HEADER, open_review_file

from .processes import ROOT, ProcessResult, run_measured

FILES = ("ratings_train.txt", "ratings_test.txt")
STEPS = ("prep-data", "train")


def repeat(source: Path, repetitions: int, output: Path) -> None:
    """Write the corpus `times` times into `output`, all but the first time perturbed."""
    output.mkdir()
    for name in FILES:
        corpus = next(path for path in (source / name, source / f"{name}.gz") if path.is_file())
        with (output / name).open("wb") as file:
            file.write(HEADER + b"\n")
            for number in range(repetitions):
                rng = random.Random(number)  # noqa: S311 - not for secrets
                with open_review_file(corpus) as lines:
                    next(lines)
                    file.writelines(_perturbed(line, number, rng) if number else line for line in lines)


def _perturbed(line: bytes, number: int, rng: random.Random) -> bytes:
    key, document, label = line.split(b"\t")
    text = list(document.decode())
    if len(text) > 1:
        position = rng.randrange(len(text) - 1)
        text[position : position + 2] = reversed(text[position : position + 2])
    return b"\t".join([key + b"-%d" % number, "".join(text).encode(), label])


def measure(source: Path, repetitions: int) -> list[ProcessResult]:
    """Return the measurements of prep-data and train on the repeated corpus."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        repeat(source, repetitions, folder / "source")
        workload_options, data = ["--workload", "nsmc"], str(folder / "data")
        output_options = ["--set", f"source={folder / 'source'}", "--output", data]
        prep_data = run_measured("components.prep_data", *workload_options, *output_options)
        training = run_measured(
            "components.train", *workload_options, "--data", data, "--output", str(folder / "model")
        )
        return [prep_data, training]


def draw(results: dict[int, list[ProcessResult]], output: Path) -> None:
    """Draw CPU seconds and peak memory over the rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "scale", "font.size": 10}
    rows = [0.2 * repetitions for repetitions in results]
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, attribute, title in zip(
        figure.subplots(1, 2), ("cpu", "megabytes"), ("CPU seconds", "peak memory, MB"), strict=True
    ):
        for number, step in enumerate(STEPS):
            axes.plot(
                rows, [getattr(result[number], attribute) for result in results.values()], "o-", label=step
            )
        axes.set(title=title, xlabel="million rows", ylim=(0, None), xlim=(0, None))
        axes.grid(color="#e3e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(300, color="#8a94a0", lw=1, ls=":")
    axes.set_ylim(0, 320)
    axes.legend(loc="lower right")
    figure.savefig(output, metadata={"Date": None})


def main() -> None:
    """Measure, print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "data" / "nsmc")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    results = {}
    print("| rows | step | seconds | CPU s | peak memory, MB |\n|---|---|---|---|---|")
    for repetitions in arguments.times:
        results[repetitions] = measure(arguments.source, repetitions)
        for step, result in zip(STEPS, results[repetitions], strict=True):
            cells = f"{result.seconds:.1f} | {result.cpu:.1f} | {result.megabytes:.0f}"
            print(f"| {200_000 * repetitions:,} | {step} | {cells} |", flush=True)
    if arguments.output:
        draw(results, arguments.output)
        print(json.dumps({"figure": str(arguments.output)}), file=sys.stderr)


if __name__ == "__main__":
    main()
