"""How prep-data and the training of nsmc's fast model grow with the rows: time and peak memory.

    python -m benchmarks.scale [--source ../shared/data/nsmc] [--times 1 2 5 10] [--output docs/scale.svg]

The corpus is repeated with light perturbation (two neighbouring characters of each review change places),
under new ids. Each step is a process of its own; the figure shows CPU seconds, so that a busy machine does
not bend it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from workloads.nsmc.review_file import HEADER, open_review_file

from .processes import ROOT, Taken, measured

FILES = ("ratings_train.txt", "ratings_test.txt")
STEPS = ("prep-data", "train")


def repeat(source: Path, times: int, output: Path) -> None:
    """Write the corpus `times` times into `output`, all but the first time perturbed."""
    output.mkdir()
    for name in FILES:
        given = next(path for path in (source / name, source / f"{name}.gz") if path.is_file())
        with (output / name).open("wb") as file:
            file.write(HEADER + b"\n")
            for number in range(times):
                rng = random.Random(number)  # noqa: S311 - not for secrets
                with open_review_file(given) as lines:
                    next(lines)
                    file.writelines(_perturbed(line, number, rng) if number else line for line in lines)


def _perturbed(line: bytes, number: int, rng: random.Random) -> bytes:
    key, document, label = line.split(b"\t")
    text = list(document.decode())
    if len(text) > 1:
        place = rng.randrange(len(text) - 1)
        text[place : place + 2] = reversed(text[place : place + 2])
    return b"\t".join([key + b"-%d" % number, "".join(text).encode(), label])


def measure(source: Path, times: int) -> list[Taken]:
    """Return what prep-data and train took on the corpus repeated."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        repeat(source, times, folder / "source")
        on, data = ["--workload", "nsmc"], str(folder / "data")
        given = ["--set", f"source={folder / 'source'}", "--output", data]
        prepared = measured("components.prep_data", *on, *given)
        trained = measured("components.train", *on, "--data", data, "--output", str(folder / "model"))
        return [prepared, trained]


def draw(found: dict[int, list[Taken]], output: Path) -> None:
    """Draw CPU seconds and peak memory over the rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {"svg.hashsalt": "scale", "font.size": 10}
    rows = [0.2 * times for times in found]
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, attribute, title in zip(
        figure.subplots(1, 2), ("cpu", "megabytes"), ("CPU seconds", "peak memory, MB"), strict=True
    ):
        for number, step in enumerate(STEPS):
            axes.plot(rows, [getattr(taken[number], attribute) for taken in found.values()], "o-", label=step)
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
    given = parser.parse_args()
    found = {}
    print("| rows | step | seconds | CPU s | peak memory, MB |\n|---|---|---|---|---|")
    for times in given.times:
        found[times] = measure(given.source, times)
        for step, taken in zip(STEPS, found[times], strict=True):
            cells = f"{taken.seconds:.1f} | {taken.cpu:.1f} | {taken.megabytes:.0f}"
            print(f"| {200_000 * times:,} | {step} | {cells} |", flush=True)
    if given.output:
        draw(found, given.output)
        print(json.dumps({"figure": str(given.output)}), file=sys.stderr)


if __name__ == "__main__":
    main()
