"""Measures this project's server beside others: the same archive, handler, cores and load, in one run.

    python -m benchmarks.serving [--workload NAME ... | --archive FILE.mar] [--rounds 3] [--seconds 2]
                                 [--only WORD ...] [--output docs/serving-benchmark.md]

Every server runs in an environment of its own below --cache. Rounds interleave the servers, and medians are
reported. Before it is loaded, each server's answers are held against the model's own. Needs wrk; TorchServe
needs Java. A server that cannot be installed or does not answer is named with its reason.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from continuous_training.artifacts.archive_writer import Archive, unpack
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError
from continuous_training.serving.models.model import Model, load_model

from .bodies import Bodies, Body
from .contenders import CONTENDERS, REFERENCE, Contender, Place
from .environments import NotInstalledError, python_of
from .limit import limits
from .measuring import FailedError, Measured, free_ports, measure, new_folder
from .report import Results, write
from .trained import trained

PORTS = 6
WORKLOADS = ("mnist", "nsmc")
_TROUBLE = (
    FailedError,
    NotInstalledError,
    PipelineError,
    OSError,
    requests.RequestException,
    subprocess.SubprocessError,
    KeyError,
    ValueError,
)


def main(argv: list[str] | None = None) -> int:
    """Measure and write the page and its figure; exit code 1 when there is nothing to compare with."""
    args = _arguments(argv)
    if shutil.which("wrk") is None:
        print("error: wrk makes the load and is not installed: apt-get install wrk", file=sys.stderr)
        return 2
    cache = args.cache.resolve()
    # All of them first: what cannot be trained is known before anything is measured.
    if args.archive:
        paths = [args.archive.resolve()]
    else:
        paths = [trained(name, cache / "archives") for name in args.workload]
    found = [_all_rounds(path, cache, args) for path in paths]
    compared = [results for results in found if REFERENCE in results.rounds]
    for results in found:
        if results not in compared:
            print(f"error: {results.archive.name}: {REFERENCE} was not measured", file=sys.stderr)
    if compared:
        write(compared, args.output)
        print(f"wrote {args.output}")
    return int(compared != found)


def _all_rounds(path: Path, cache: Path, args: argparse.Namespace) -> Results:
    """Measure every server with one archive, round by round."""
    folder = cache / "model"
    shutil.rmtree(folder, ignore_errors=True)
    manifest = unpack(path, folder)
    archive = Archive(path, manifest.name, digest_file(path))
    model = load_model(folder)
    results = Results(archive, args.rounds, args.seconds)
    chosen = [c for c in CONTENDERS if not args.only or any(w in c.name for w in args.only)]
    say = _progress(archive.name, args.rounds * len(chosen))
    for number in range(1, args.rounds + 1):
        results.limits.append(limits(folder, args.seconds / 2))
        for contender in chosen:
            if contender.name in results.missing:
                say(number, contender.name, "left out")
                continue
            try:
                measured = _measure(contender, model, archive, cache, args.seconds)
            except _TROUBLE as error:
                results.missing[contender.name] = str(error) or type(error).__name__
                say(number, contender.name, f"not measured: {error}")
                continue
            results.rounds.setdefault(contender.name, []).append(measured)
            rates = "  ".join(f"{load} {made['rate']:,.0f}/s" for load, made in measured.loads.items())
            say(number, contender.name, rates)
    return results


def _progress(name: str, total: int) -> Callable[[int, str, str], None]:
    """Return what says how one measurement went, and how many minutes the others may take."""
    began, done = time.monotonic(), 0

    def say(number: int, server: str, words: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - began) / done * (total - done) / 60
        print(f"{name}, round {number}, {done}/{total} ({left:.0f} min left)  {server}: {words}", flush=True)

    return say


def _measure(contender: Contender, model: Model, archive: Archive, cache: Path, seconds: float) -> Measured:
    python = python_of(cache, contender.name.split(",")[0].split()[0].lower(), contender.requirements)
    folder = new_folder(cache / "running")
    place = Place(folder, python, free_ports(PORTS), archive.path, model.folder, archive.name)
    return measure(contender, place, _by_load(contender.bodies(model)), seconds)


def _by_load(bodies: Bodies) -> dict[str, Body]:
    single = dict.fromkeys(("c1", "c8", "c32"), bodies.single)
    return {**single, **({"b64": bodies.batch} if bodies.batch else {})}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--workload", nargs="+", default=WORKLOADS, metavar="NAME", help="train these (default: mnist nsmc)"
    )
    what.add_argument("--archive", type=Path, metavar="FILE.mar", help="or take an archive that there is")
    parser.add_argument("--rounds", type=int, default=3, help="times that each server is measured (3)")
    parser.add_argument("--seconds", type=float, default=2, help="of each load, after one to warm up (2)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="servers with one of these in their names")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-serving"), help="build/bench-serving")
    parser.add_argument("--output", type=Path, default=Path("docs/serving-benchmark.md"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
