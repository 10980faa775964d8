"""Who is measured: how each is installed, started and asked."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from continuous_training import serving
from continuous_training.serving.models.model import Model

from .bodies import Bodies, as_tensors, in_own_words

ROOT = Path(__file__).parents[2]
SERVERS = Path(__file__).parent / "servers"
LIBRARIES = ("numpy", "onnxruntime", "faiss-cpu")
THREADS = {"OMP_NUM_THREADS": "1"}
"""Processes with as many threads each as there are cores wait for each other."""
OURS = "ours, /predict"
CORES = len(os.sched_getaffinity(0))
OURS_TOGETHER = f"{OURS}, {CORES} workers"
OURS_WITHOUT_FAST_PATH = f"{OURS}, without fast path"
REFERENCE_MODEL = "reference.joblib"
"""The model of the reference implementation, in the folder of the archive."""


@dataclass(frozen=True)
class Place:
    """Where a server is started: its own folder, ports that are free, the archive and its unpacked files."""

    folder: Path
    python: Path
    ports: tuple[int, ...]
    archive: Path
    model: Path
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """What the server finds in its environment."""
        return {
            **os.environ,
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{SERVERS}",
            "MODEL": str(self.model),
            "PORT": str(self.ports[0]),
            "REFERENCE_MODEL": str(self.archive.with_name(REFERENCE_MODEL)),
            "TMPDIR": str(self.folder),
        }


def _nothing(place: Place) -> None:
    """Do nothing more to have a server answer."""


@dataclass(frozen=True)
class Contender:
    """One server: `command` starts it, `settle` does what more it needs, `path` is where it is asked.

    `alone`: each of its processes has one thread; else as many as its libraries say.
    """

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Place], list[str]]
    path: str
    bodies: Callable[[Model], Bodies]
    settle: Callable[[Place], None] = _nothing
    alone: bool = True


def _flask(place: Place) -> list[str]:
    return [str(place.python), str(SERVERS / "flask_app.py")]


def _gunicorn(place: Place) -> list[str]:
    bind = f"127.0.0.1:{place.ports[0]}"
    return [str(place.python), "-m", "gunicorn", "-w", str(CORES), "-b", bind, "flask_app:app"]


def _kserve(place: Place) -> list[str]:
    return [str(place.python), str(SERVERS / "kserve_app.py")]


def _mlserver(place: Place) -> list[str]:
    http, grpc, metrics, *_ = place.ports
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (place.folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    model = {"name": "model", "implementation": "mlserver_app.Predictor"}
    (place.folder / "model-settings.json").write_text(json.dumps(model))
    return [str(place.python.parent / "mlserver"), "start", "."]


def _torchserve(place: Place) -> list[str]:
    store = place.folder / "store"
    store.mkdir()
    shutil.copyfile(place.archive, store / "model.mar")
    inference, management, metrics, grpc, grpc_management, worker = place.ports
    given = (Path(serving.__file__).parent / "torchserve.properties").read_text(encoding="utf-8")
    for usual, free in ((8080, inference), (8081, management), (8082, metrics)):
        given = given.replace(f":{usual}\n", f":{free}\n")
    more = {
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "initial_worker_port": worker,
        "disable_token_authorization": "true",
    }
    lines = [f"{key}={value}\n" for key, value in more.items()]
    (place.folder / "config.properties").write_text(given + "".join(lines))
    start = [str(place.python.parent / "torchserve"), "--start", "--foreground"]
    return [*start, "--model-store", str(store), "--ts-config", "config.properties"]


def _register(batch: int, delay: int) -> Callable[[Place], None]:
    def register(place: Place) -> None:
        wanted: dict[str, str | int] = {
            "url": "model.mar",
            "initial_workers": CORES,
            "synchronous": "true",
            "model_name": "model",
        }
        batched = {"batch_size": batch, "max_batch_delay": delay}
        url = f"http://127.0.0.1:{place.ports[1]}/models"
        requests.post(url, params={**wanted, **batched}, timeout=120).raise_for_status()

    return register


def _reference_command(place: Place) -> list[str]:
    script = SERVERS / f"reference_{place.name}.py"
    return [str(place.python), str(script if script.is_file() else SERVERS / "flask_app.py")]


def _ours(*options: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        served = ["--archive", str(place.archive), "--port", str(place.ports[0])]
        return [sys.executable, "-m", "serving", "serve", *served, *options]

    return command


def _reference_bodies(model: Model) -> Bodies:
    # The reference implementation of nsmc is another model, so its responses differ.
    return in_own_words(model, other=model.name == "nsmc")


_TORCHSERVE = (
    "module:ts",
    "module:torch",
    "torchserve==0.12.0",
    "torch==2.13.0",
    "enum-compat",
    "packaging",
    "pillow",
    "psutil",
    "pyyaml",
    *LIBRARIES,
)
_FLASK = ("flask==3.1.3", "gunicorn==26.0.0", *LIBRARIES)
_REFERENCE_PACKAGES = ("module:flask", "module:sklearn", "flask==3.1.3", "scikit-learn", *LIBRARIES)

REFERENCE = "Flask, app.run, reference"
CONTENDERS = (
    Contender(REFERENCE, _REFERENCE_PACKAGES, _reference_command, "/predict", _reference_bodies, alone=False),
    Contender("Flask, app.run, our handler", _FLASK, _flask, "/predict", in_own_words),
    Contender(f"Flask, gunicorn, {CORES} workers", _FLASK, _gunicorn, "/predict", in_own_words),
    Contender(
        "TorchServe 0.12, batch 32",
        _TORCHSERVE,
        _torchserve,
        "/predictions/model",
        in_own_words,
        _register(32, 2),
    ),
    Contender(
        "KServe 0.21, V1 JSON",
        ("kserve==0.21.0", *LIBRARIES),
        _kserve,
        "/v1/models/model:predict",
        lambda model: in_own_words(model, "instances"),
    ),
    Contender(
        "MLServer 1.7, v2 JSON",
        ("mlserver==1.7.1", *LIBRARIES),
        _mlserver,
        "/v2/models/model/infer",
        as_tensors,
    ),
    Contender("ours, v2 JSON", (), _ours(), "/v2/models/{name}/infer", as_tensors),
    Contender(
        "ours, v2 raw bytes",
        (),
        _ours(),
        "/v2/models/{name}/infer",
        lambda model: as_tensors(model, raw=True),
    ),
    Contender(OURS, (), _ours(), "/predict/{name}", in_own_words),
    Contender(OURS_WITHOUT_FAST_PATH, (), _ours("--no-fast-path"), "/predict/{name}", in_own_words),
    Contender(OURS_TOGETHER, (), _ours("--workers", "0"), "/predict/{name}", in_own_words),
)
