"""The servers that are measured: how each one is installed, started and called."""

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

from .bodies import Bodies, tensor_bodies, workload_bodies

ROOT = Path(__file__).parents[2]
SERVERS = Path(__file__).parent / "servers"
LIBRARIES = ("numpy", "onnxruntime", "faiss-cpu")
THREADS = {"OMP_NUM_THREADS": "1"}
"""One thread per process. Processes that each start one thread per core compete for the cores."""
OURS = "ours, /predict"
CORES = len(os.sched_getaffinity(0))
OURS_MULTIPLE_WORKERS = f"{OURS}, {CORES} workers"
OURS_WITHOUT_FAST_PATH = f"{OURS}, without fast path"
REFERENCE_MODEL = "reference.joblib"
"""File name of the reference implementation's model, in the directory of the archive."""


@dataclass(frozen=True)
class LaunchContext:
    """The inputs of one server process: working directory, free ports, the archive and its unpacked files."""

    folder: Path
    python: Path
    ports: tuple[int, ...]
    archive: Path
    model: Path
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the server."""
        return {
            **os.environ,
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{SERVERS}",
            "MODEL": str(self.model),
            "PORT": str(self.ports[0]),
            "REFERENCE_MODEL": str(self.archive.with_name(REFERENCE_MODEL)),
            "TMPDIR": str(self.folder),
        }


def _no_preparation(context: LaunchContext) -> None:
    """Return at once: most servers respond without further preparation."""


@dataclass(frozen=True)
class Contender:
    """One server. `command` starts it, `prepare` completes its set-up, `path` is the path for predictions.

    With `single_threaded`, each of its processes uses one thread. Otherwise the libraries choose the number.
    """

    name: str
    requirements: tuple[str, ...]
    command: Callable[[LaunchContext], list[str]]
    path: str
    bodies: Callable[[Model], Bodies]
    prepare: Callable[[LaunchContext], None] = _no_preparation
    single_threaded: bool = True


def _flask(context: LaunchContext) -> list[str]:
    return [str(context.python), str(SERVERS / "flask_app.py")]


def _gunicorn(context: LaunchContext) -> list[str]:
    bind = f"127.0.0.1:{context.ports[0]}"
    return [str(context.python), "-m", "gunicorn", "-w", str(CORES), "-b", bind, "flask_app:app"]


def _kserve(context: LaunchContext) -> list[str]:
    return [str(context.python), str(SERVERS / "kserve_app.py")]


def _mlserver(context: LaunchContext) -> list[str]:
    http, grpc, metrics, *_ = context.ports
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (context.folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    model = {"name": "model", "implementation": "mlserver_app.Predictor"}
    (context.folder / "model-settings.json").write_text(json.dumps(model))
    return [str(context.python.parent / "mlserver"), "start", "."]


def _torchserve(context: LaunchContext) -> list[str]:
    store = context.folder / "store"
    store.mkdir()
    shutil.copyfile(context.archive, store / "model.mar")
    inference, management, metrics, grpc, grpc_management, worker = context.ports
    properties = (Path(serving.__file__).parent / "torchserve.properties").read_text(encoding="utf-8")
    for usual, free in ((8080, inference), (8081, management), (8082, metrics)):
        properties = properties.replace(f":{usual}\n", f":{free}\n")
    ports_and_access = {
        "grpc_inference_port": grpc,
        "grpc_management_port": grpc_management,
        "initial_worker_port": worker,
        "disable_token_authorization": "true",
    }
    lines = [f"{key}={value}\n" for key, value in ports_and_access.items()]
    (context.folder / "config.properties").write_text(properties + "".join(lines))
    start = [str(context.python.parent / "torchserve"), "--start", "--foreground"]
    return [*start, "--model-store", str(store), "--ts-config", "config.properties"]


def _register(batch: int, delay: int) -> Callable[[LaunchContext], None]:
    def register(context: LaunchContext) -> None:
        parameters: dict[str, str | int] = {
            "url": "model.mar",
            "initial_workers": CORES,
            "synchronous": "true",
            "model_name": "model",
        }
        batching = {"batch_size": batch, "max_batch_delay": delay}
        url = f"http://127.0.0.1:{context.ports[1]}/models"
        requests.post(url, params={**parameters, **batching}, timeout=120).raise_for_status()

    return register


def _reference_command(context: LaunchContext) -> list[str]:
    script = SERVERS / f"reference_{context.name}.py"
    return [str(context.python), str(script if script.is_file() else SERVERS / "flask_app.py")]


def _our_server(*options: str) -> Callable[[LaunchContext], list[str]]:
    def command(context: LaunchContext) -> list[str]:
        served = ["--archive", str(context.archive), "--port", str(context.ports[0])]
        return [sys.executable, "-m", "serving", "serve", *served, *options]

    return command


def _reference_bodies(model: Model) -> Bodies:
    # The reference implementation of nsmc is another model, so its responses differ.
    return workload_bodies(model, another_model=model.name == "nsmc")


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
    Contender(
        REFERENCE,
        _REFERENCE_PACKAGES,
        _reference_command,
        "/predict",
        _reference_bodies,
        single_threaded=False,
    ),
    Contender("Flask, app.run, our handler", _FLASK, _flask, "/predict", workload_bodies),
    Contender(f"Flask, gunicorn, {CORES} workers", _FLASK, _gunicorn, "/predict", workload_bodies),
    Contender(
        "TorchServe 0.12, batch 32",
        _TORCHSERVE,
        _torchserve,
        "/predictions/model",
        workload_bodies,
        _register(32, 2),
    ),
    Contender(
        "KServe 0.21, V1 JSON",
        ("kserve==0.21.0", *LIBRARIES),
        _kserve,
        "/v1/models/model:predict",
        lambda model: workload_bodies(model, "instances"),
    ),
    Contender(
        "MLServer 1.7, v2 JSON",
        ("mlserver==1.7.1", *LIBRARIES),
        _mlserver,
        "/v2/models/model/infer",
        tensor_bodies,
    ),
    Contender("ours, v2 JSON", (), _our_server(), "/v2/models/{name}/infer", tensor_bodies),
    Contender(
        "ours, v2 raw bytes",
        (),
        _our_server(),
        "/v2/models/{name}/infer",
        lambda model: tensor_bodies(model, raw=True),
    ),
    Contender(OURS, (), _our_server(), "/predict/{name}", workload_bodies),
    Contender(OURS_WITHOUT_FAST_PATH, (), _our_server("--no-fast-path"), "/predict/{name}", workload_bodies),
    Contender(OURS_MULTIPLE_WORKERS, (), _our_server("--workers", "0"), "/predict/{name}", workload_bodies),
)
