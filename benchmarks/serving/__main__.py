"""Measures this project's server beside others: the same archive, handler, cores and load, in one run.

    python -m benchmarks.serving [--workload digits | --archive FILE.mar] [--rounds 3] [--seconds 4]
                                 [--only NAME ...] [--output docs/serving-benchmark.md]

Every server runs in an environment of its own below --cache. Rounds interleave the servers, and medians are
reported. Before it is loaded, each server's answers are held against the model's own. Needs wrk; TorchServe
needs Java.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from serving.archive import Archive, unpack
from serving.digest import digest_file
from serving.model import Model, load_model

from .bodies import Bodies, Body
from .contenders import CONTENDERS, REFERENCE, Contender, Place
from .environments import NotInstalledError, python_of
from .limit import limits
from .measuring import FailedError, Measured, free_ports, measure, new_folder
from .report import Results, write
from .trained import trained

PORTS = 6


def main(argv: list[str] | None = None) -> int:
    """Measure and write the page and its figure."""
    args = _arguments(argv)
    if shutil.which("wrk") is None:
        print("error: wrk makes the load and is not installed: apt-get install wrk", file=sys.stderr)
        return 2
    cache = args.cache.resolve()
    path = args.archive.resolve() if args.archive else trained(args.workload, cache / "archives")
    model_folder = cache / "model"
    shutil.rmtree(model_folder, ignore_errors=True)
    manifest = unpack(path, model_folder)
    archive = Archive(path, manifest["name"], digest_file(path))
    model = load_model(model_folder)
    results = Results(archive, args.rounds, args.seconds)
    chosen = [c for c in CONTENDERS if not args.only or any(word in c.name for word in args.only)]
    for number in range(args.rounds):
        results.limits.append(limits(model_folder, args.seconds))
        for contender in [c for c in chosen if c.name not in results.missing]:
            try:
                found = _measure(contender, model, archive, cache, args.seconds)
            except (FailedError, NotInstalledError) as error:
                results.missing[contender.name] = str(error)
                print(f"{contender.name}: not measured: {error}", flush=True)
                continue
            results.rounds.setdefault(contender.name, []).append(found)
            rates = "  ".join(f"{load} {made['rate']:,.0f}/s" for load, made in found.loads.items())
            print(f"round {number + 1}  {contender.name}: {rates}", flush=True)
    if REFERENCE not in results.rounds:
        print(f"error: {REFERENCE} was not measured, and all is told in multiples of it", file=sys.stderr)
        return 1
    write(results, args.output)
    print(f"wrote {args.output}")
    return 0


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
    what.add_argument("--workload", default="digits", help="train this one (default: digits)")
    what.add_argument("--archive", type=Path, metavar="FILE.mar", help="or take an archive that there is")
    parser.add_argument("--rounds", type=int, default=3, help="times that each server is measured (3)")
    parser.add_argument("--seconds", type=float, default=4, help="of each load, after one to warm up (4)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="servers with one of these in their names")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-serving"), help="build/bench-serving")
    parser.add_argument("--output", type=Path, default=Path("docs/serving-benchmark.md"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
