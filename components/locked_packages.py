"""The locked versions of the packages that the train step installs.

They are known where a pipeline is compiled. prep-data gets them as an argument, because its image has neither
the lock files nor the packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from workloads.contract import Workload

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked_packages(
    workload: Workload, root: Path = ROOT, extras: tuple[str, ...] | None = None
) -> dict[str, str]:
    """Return the locked versions by package; empty if a lock file is missing, as in an image.

    The lock files of `train` and of the extras (default: the extras of the workload) name the packages. Local
    runs install the versions in the lock files, and images those in constraints.txt. A package may have
    several versions, for different versions of Python.
    """
    included = workload.extras if extras is None else extras
    locks = [root / "locks" / f"{extra}.txt" for extra in ("train", *included)]
    constraints = root / "constraints.txt"
    if not all(file.is_file() for file in (*locks, constraints)):
        return {}
    pins = [pin for lock in locks for pin in _read_pins(lock)]
    names = {name for name, _ in pins}
    pins += [pin for pin in _read_pins(constraints) if pin[0] in names]
    return {name: ",".join(sorted({v for n, v in pins if n == name})) for name in sorted(names)}


def to_text(packages: Mapping[str, str]) -> str:
    """Return the packages as one line, for the argument of a step."""
    return " ".join(f"{name}=={versions}" for name, versions in packages.items())


def from_text(text: str) -> dict[str, str]:
    """Read the packages from the argument of a step."""
    pairs = (pin.partition("==") for pin in text.split())
    return {name: versions for name, _, versions in pairs}


def _read_pins(file: Path) -> list[tuple[str, str]]:
    return _PIN.findall(file.read_text(encoding="utf-8"))
