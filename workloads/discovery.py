"""Find workloads: folders `workloads/NAME` whose `workload.py` contains `WORKLOAD = ItsClass`."""

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
    """Return the workload of that name. Raises UserError with the list of workloads if there is none."""
    if name not in names():
        raise UserError(f"there is no workload {name!r}; registered are: {', '.join(names())}")
    module = _import(name)
    workload = getattr(module, "WORKLOAD", None)
    if not (isinstance(workload, type) and issubclass(workload, Workload)):
        raise UserError(f"{module.__file__}: add the line `WORKLOAD = YourClass` (a subclass of Workload)")
    check_workload(workload, str(module.__file__), name)
    return workload()


def folder_of(workload: Workload) -> Path:
    """Return the folder that contains the workload's code."""
    return Path(str(sys.modules[type(workload).__module__].__file__)).parent


def find_folder(name: str) -> Path | None:
    """Return the folder of the workload of that name, or None if there is none."""
    return folder_of(get(name)) if name in names() else None


def usable(requested: list[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the names of the usable workloads, and the errors of the broken ones by name.

    Without `requested`, all workloads are considered. Raises UserError if a requested workload is broken.
    """
    valid, load_errors = [], {}
    for name in requested or names():
        try:
            get(name)
        except UserError as error:
            if requested:
                raise
            load_errors[name] = str(error)
        else:
            valid.append(name)
    return valid, load_errors


def _import(name: str) -> ModuleType:
    """Import the workload's module. Raises UserError with file and line of the failure."""
    try:
        return importlib.import_module(f"workloads.{name}.workload")
    except PipelineError:
        raise
    except Exception as error:
        if isinstance(error, SyntaxError):
            location = f"{error.filename}:{error.lineno}"
        else:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
            location = f"{frames[-1].filename}:{frames[-1].lineno}"
        raise UserError(
            f"workload {name} cannot be imported: {location}: {type(error).__name__}: {error}"
        ) from error
