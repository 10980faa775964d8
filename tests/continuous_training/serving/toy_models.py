"""Bundles and archives of a toy model with a handwritten handler."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.handler_packaging import copy_handler

HANDLER = '''
import json
import math
import re
import time

import numpy as np

from ..base import Base
from . import messages


class ToyHandler(Base):
    """Multiplies every number by the scale of its bundle."""

    calls = 0

    def load(self, folder):
        self.settings = json.loads((folder / "settings.json").read_text())
        if self.settings.get("load_fails"):
            raise OSError("no such device")

    def preprocess(self, request):
        if not isinstance(request, dict) or not isinstance(request.get("x"), list):
            raise ValueError(messages.USAGE)
        try:
            x = np.array(request["x"], dtype=np.float32)
        except TypeError as error:
            raise ValueError(str(error)) from error
        if x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError(messages.USAGE)
        return {"x": x}

    def inference(self, tensors):
        ToyHandler.calls += 1
        time.sleep(self.settings.get("slow", 0))
        if self.settings.get("slow_on") in tensors["x"]:
            time.sleep(self.settings["seconds"])
        if ToyHandler.calls > self.settings.get("fails_after", math.inf):
            raise self.error(self.settings.get("error", "RuntimeError"))
        if self.settings.get("fails_on") in tensors["x"]:
            raise RuntimeError("this row fails")
        while self.settings.get("hangs_on") in tensors["x"]:
            time.sleep(0.01)
        if self.settings.get("locks_on") in tensors["x"]:
            re.match("(a+)+$", "a" * 60 + "b")
        y = tensors["x"] * self.settings["scale"]
        if ToyHandler.calls > self.settings.get("drifts_after", math.inf):
            y = y + 1
        return {"y": np.where(tensors["x"] == -1, np.nan, y).astype(np.float32)}

    def postprocess(self, tensors):
        if ToyHandler.calls > self.settings.get("nan_after", math.inf):
            return {"scale": float("nan"), "y": []}
        return {"scale": self.settings["scale"], "y": tensors["y"].tolist()}
'''

BASE = '''
import builtins
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import toy.type_checking_only


class Base:
    """The base class of the toy handlers."""

    def error(self, name):
        return getattr(builtins, name)("this version fails after a number of calls")
'''

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1]}
_numbers = itertools.count()


def write_package(root: Path, files: dict[str, str]) -> None:
    """Write source files below `root`."""
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def import_handler(root: Path, files: dict[str, str], module: str, name: str) -> type:
    """Write a package below `root` and import a handler class from it, without installing it."""
    write_package(root, files)
    package = module.partition(".")[0]
    for loaded in [key for key in sys.modules if key.partition(".")[0] == package]:
        del sys.modules[loaded]
    sys.path.insert(0, str(root))
    try:
        importlib.invalidate_caches()
        handler: type = getattr(importlib.import_module(module), name)
        return handler
    finally:
        sys.path.remove(str(root))


def toy_files() -> dict[str, str]:
    """Return the source files of the toy handler's package."""
    return {
        "toy/__init__.py": "raise_on_purpose = True\n",
        "toy/base.py": BASE,
        "toy/scale/__init__.py": "",
        "toy/scale/handler.py": HANDLER,
        "toy/scale/messages.py": 'USAGE = "send {\\"x\\": [numbers]}"\n',
        "toy/scale/unused.py": "import nothing_that_exists\n",
    }


def make_bundle(root: Path, *, name: str = "toy", scale: float = 2, **settings: Any) -> Path:
    """Write a bundle of the toy model. `settings` makes its handler fail, hang or drift; see `HANDLER`."""
    number = next(_numbers)
    handler = import_handler(root / f"source-{number}", toy_files(), "toy.scale.handler", "ToyHandler")
    bundle = root / f"bundle-{number}"
    copy_handler(handler, bundle)
    (bundle / "settings.json").write_text(json.dumps({"scale": scale, **settings}, sort_keys=True))
    metadata = {
        "name": name,
        "handler": "toy.scale.handler:ToyHandler",
        "inputs": [TENSOR],
        "outputs": [{**TENSOR, "name": "y"}],
    }
    (bundle / "model.json").write_text(json.dumps(metadata))
    return bundle


def make_archive(
    root: Path, *, name: str = "toy", scale: float = 2, wrong: bool = False, **settings: Any
) -> Archive:
    """Write an archive of the toy model. With `wrong`, one of its golden responses is wrong."""
    bundle = make_bundle(root, name=name, scale=scale, **settings)
    golden = [
        {"request": {"x": [1.0, 2.5]}, "answer": {"scale": scale, "y": [scale, 2.5 * scale + wrong]}},
        {"request": {"x": []}, "answer": {"scale": scale, "y": []}},
    ]
    return archive_writer.write(
        bundle, root / "archives", golden=GoldenSet.from_json(golden), provenance={"run": "test"}
    )


def upload_archive(store: ObjectStore, root: Path, scale: float) -> Archive:
    """Write an archive of the toy model and upload it to a model store."""
    toy = make_archive(root, scale=scale)
    store.put_if_absent(f"archives/toy/{toy.digest}.mar", toy.path)
    return toy
