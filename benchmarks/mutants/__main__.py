"""Run the tests of a group on each mutant of its modules: `python -m benchmarks.mutants`.

The tests run in a copy of the checkout. A mutant that no test notices is printed as a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import requests  # noqa: F401

from benchmarks.mutants.groups import GROUPS, Group
from benchmarks.mutants.mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
_COPIED = ("benchmarks", "components", "continuous_training", "pipelines", "serving", "tests", "workloads")
_LINKED = ("Makefile", "constraints.txt", "docs", "locks", "manifests", "pyproject.toml", "setup.cfg")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the survivors and a row of the table for each group. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=list(GROUPS), help="default: all")
    parser.add_argument("--sample", type=int, metavar="N", help="mutants per group, drawn with seed 0")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        _copy(tree)
        for name in arguments.group:
            _run_group(name, GROUPS[name], tree, arguments.sample)
    return 0


def _copy(tree: Path) -> None:
    for name in _COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _LINKED:
        (tree / name).symlink_to(ROOT / name)


def _run_group(name: str, group: Group, tree: Path, sample: int | None) -> None:
    started = time.monotonic()
    if _run_tests(group, tree, 600) != 0:
        raise SystemExit(f"{name}: the tests fail without a mutant: {' '.join(group.tests)}")
    limit = 30 + 5 * (time.monotonic() - started)
    mutants = [(module, m) for module in group.modules for m in mutants_of((tree / module).read_text())]
    selected = mutants
    if sample is not None:
        selected = random.Random(0).sample(mutants, min(sample, len(mutants)))  # noqa: S311
    survivors = sum(_survives(module, mutant, group, tree, limit) for module, mutant in selected)
    print(
        f"| {name} | {len(mutants)} | {len(selected)} | {len(selected) - survivors} | {survivors} |",
        flush=True,
    )


def _survives(module: str, mutant: Mutant, group: Group, tree: Path, limit: float) -> bool:
    file = tree / module
    original = file.read_text()
    file.write_text(mutant.source)
    try:
        survived = _run_tests(group, tree, limit) == 0
    finally:
        file.write_text(original)
    if survived:
        location = f"{module}:{mutant.line}"
        print(json.dumps({"survivor": location, "before": mutant.before, "after": mutant.after}), flush=True)
    return survived


def _run_tests(group: Group, tree: Path, limit: float) -> int:
    """Return the exit code of pytest; a mutant that exceeds the limit is killed and counts as noticed."""
    child = os.fork()
    if not child:
        _become_pytest(group, tree)
    end = time.monotonic() + limit
    while True:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)


def _become_pytest(group: Group, tree: Path) -> NoReturn:
    """Run the tests in this process, which has imported the large libraries, but no module of the project."""
    os.setsid()
    os.chdir(tree)
    os.environ["PYTHONPATH"] = sys.path[0] = str(tree)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    code: int = 1
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
            del sys.modules[name]
        options = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not full and not cluster")
        code = int(pytest.main([*options, *group.tests]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
