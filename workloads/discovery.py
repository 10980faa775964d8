"""Finds workloads: a folder `workloads/NAME` whose `workload.py` says `WORKLOAD = ItsClass`."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

import workloads
from continuous_training.core.errors import PipelineError, UserError

from .contract import Workload
from .validation import check_workload


def names() -> list[str]:
    """Return the names of all registered workloads, sorted."""
    folders = (Path(root) for root in workloads.__path__)
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/workload.py")})


def get(name: str) -> Workload:
    """Return the workload of that name; UserError that lists the registered ones when there is none."""
    if name not in names():
        raise UserError(f"there is no workload {name!r}; registered are: {', '.join(names())}")
    module = _import(name)
    found = getattr(module, "WORKLOAD", None)
    if not (isinstance(found, type) and issubclass(found, Workload)):
        raise UserError(f"{module.__file__}: add the line `WORKLOAD = YourClass` (a subclass of Workload)")
    check_workload(found, str(module.__file__), name)
    return found()


def folder_of(workload: Workload) -> Path:
    """Return the folder that contains the workload's code."""
    return Path(str(sys.modules[type(workload).__module__].__file__)).parent


def find_folder(name: str) -> Path | None:
    """Return the folder of the workload of that name, or None if there is none."""
    return folder_of(get(name)) if name in names() else None


def sound(asked: list[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the names of the workloads that can be used, and why the others cannot.

    UserError when one that was asked for cannot; among all of them, a broken one does not keep the others.
    """
    good, broken = [], {}
    for name in asked or names():
        try:
            get(name)
        except UserError as error:
            if asked:
                raise
            broken[name] = str(error)
        else:
            good.append(name)
    return good, broken


def _import(name: str) -> ModuleType:
    """Import the workload's module; UserError with the place of what fails in it."""
    try:
        return importlib.import_module(f"workloads.{name}.workload")
    except PipelineError:
        raise
    except Exception as error:
        if isinstance(error, SyntaxError):
            place = f"{error.filename}:{error.lineno}"
        else:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
            place = f"{frames[-1].filename}:{frames[-1].lineno}"
        raise UserError(
            f"workload {name} cannot be imported: {place}: {type(error).__name__}: {error}"
        ) from error
