"""Compare this project's server with other servers: same archive, handler, cores and load, in one run.

    python -m benchmarks.serving [--workload NAME ... | --archive FILE.mar] [--rounds 3] [--seconds 2]
                                 [--only TEXT ...] [--output docs/serving-benchmark.md]

Every server runs in a separate virtual environment below --cache. Each round measures every server
once, and the report contains medians. Before the load starts, the responses of each server are compared with
the model's own responses. Requires wrk; TorchServe requires Java. The report lists each server that cannot be
installed or does not respond, with the reason.
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
from .contenders import CONTENDERS, REFERENCE, Contender, LaunchContext
from .environments import NotInstalledError, environment_python
from .limit import limits
from .measuring import FailedError, Measurement, free_ports, measure, new_folder
from .report import Results, write
from .trained_archive import train_archive

PORTS = 6
WORKLOADS = ("mnist", "nsmc")
_MEASUREMENT_ERRORS = (
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
    """Measure, and write the page and its figure. Return 1 when the reference server was not measured."""
    args = _arguments(argv)
    if shutil.which("wrk") is None:
        print(
            "error: the load generator wrk is not installed. Install it with:\n  apt-get install wrk",
            file=sys.stderr,
        )
        return 2
    cache = args.cache.resolve()
    # Train all models first, so that a training error occurs before the first measurement.
    if args.archive:
        paths = [args.archive.resolve()]
    else:
        paths = [train_archive(name, cache / "archives") for name in args.workload]
    measured_archives = [_all_rounds(path, cache, args) for path in paths]
    compared = [results for results in measured_archives if REFERENCE in results.rounds]
    for results in measured_archives:
        if results not in compared:
            print(
                f"error: {results.archive.name}: {REFERENCE} was not measured, so there is no comparison",
                file=sys.stderr,
            )
    if compared:
        write(compared, args.output)
        print(f"wrote {args.output}")
    return int(compared != measured_archives)


def _all_rounds(path: Path, cache: Path, args: argparse.Namespace) -> Results:
    """Measure every server with one archive, round by round."""
    folder = cache / "model"
    shutil.rmtree(folder, ignore_errors=True)
    manifest = unpack(path, folder)
    archive = Archive(path, manifest.name, digest_file(path))
    model = load_model(folder)
    results = Results(archive, args.rounds, args.seconds)
    selected = [c for c in CONTENDERS if not args.only or any(w in c.name for w in args.only)]
    log_progress = _progress(archive.name, args.rounds * len(selected))
    for number in range(1, args.rounds + 1):
        results.limits.append(limits(folder, args.seconds / 2))
        for contender in selected:
            if contender.name in results.missing:
                log_progress(number, contender.name, "skipped")
                continue
            try:
                measured = _measure(contender, model, archive, cache, args.seconds)
            except _MEASUREMENT_ERRORS as error:
                results.missing[contender.name] = str(error) or type(error).__name__
                log_progress(number, contender.name, f"not measured: {error}")
                continue
            results.rounds.setdefault(contender.name, []).append(measured)
            rates = "  ".join(f"{load} {result['rate']:,.0f}/s" for load, result in measured.loads.items())
            log_progress(number, contender.name, rates)
    return results


def _progress(name: str, total: int) -> Callable[[int, str, str], None]:
    """Return a function that prints the result of one measurement and the estimated remaining minutes."""
    started, completed = time.monotonic(), 0

    def log_progress(number: int, server: str, message: str) -> None:
        nonlocal completed
        completed += 1
        remaining = (time.monotonic() - started) / completed * (total - completed) / 60
        print(
            f"{name}, round {number}, {completed}/{total} ({remaining:.0f} min left)  {server}: {message}",
            flush=True,
        )

    return log_progress


def _measure(
    contender: Contender, model: Model, archive: Archive, cache: Path, seconds: float
) -> Measurement:
    python = environment_python(
        cache, contender.name.split(",")[0].split()[0].lower(), contender.requirements
    )
    folder = new_folder(cache / "running")
    context = LaunchContext(folder, python, free_ports(PORTS), archive.path, model.folder, archive.name)
    return measure(contender, context, _by_load(contender.bodies(model)), seconds)


def _by_load(bodies: Bodies) -> dict[str, Body]:
    single = dict.fromkeys(("c1", "c8", "c32"), bodies.single)
    return {**single, **({"b64": bodies.batch} if bodies.batch else {})}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--workload",
        nargs="+",
        default=WORKLOADS,
        metavar="NAME",
        help="workloads to train (default: mnist nsmc)",
    )
    source.add_argument(
        "--archive", type=Path, metavar="FILE.mar", help="an existing archive, instead of --workload"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements per server (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=2,
        help="duration of each load after a warm-up of 1 s (default: %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", help="only servers whose name contains one of these"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("build/bench-serving"), help="default: %(default)s"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/serving-benchmark.md"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
