"""Finds workloads: a folder `workloads/NAME` whose `workload.py` says `WORKLOAD = ItsClass`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import workloads
from adapters.errors import UserError

from .contract import Workload


def names() -> list[str]:
    """Return the names of all registered workloads, sorted."""
    folders = (Path(root) for root in workloads.__path__)
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/workload.py")})


def get(name: str) -> Workload:
    """Return the workload of that name; UserError that lists the registered ones when there is none."""
    if name not in names():
        raise UserError(f"there is no workload {name!r}; registered are: {', '.join(names())}")
    module = importlib.import_module(f"workloads.{name}.workload")
    found = getattr(module, "WORKLOAD", None)
    if not (isinstance(found, type) and issubclass(found, Workload)):
        raise UserError(f"{module.__file__}: add the line `WORKLOAD = YourClass` (a subclass of Workload)")
    if found.name != name or not re.fullmatch(r"[a-z][a-z0-9]{0,40}", name):
        raise UserError(
            f"{module.__file__}: the workload's name is {found.name!r} and its folder {name!r}; they must be "
            "the same, small letters and digits"
        )
    return found()
