"""Every command with --json prints one JSON value on standard output and its messages on standard error."""

from __future__ import annotations

import errno
import importlib
import json
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import components
import continuous_training
import pipelines
import serving
import workloads
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.serving.process import daemon
from continuous_training.serving.process.sockets import DEFAULT_PORT
from tests.kfp_server import kfp_server

from . import champions
from .champions import NAME, ROOT, ChampionState
from .test_cluster import PROMOTED

RUN = ("--workload", NAME, "--set", "test_size=0.5")
WORKLOAD = ("--workload", NAME)
SUBCOMMANDS = {
    "serving": ("start", "stop", "status", "serve"),
    "pipelines.schedule": ("apply", "list", "backfill"),
}


@contextmanager
def default_port_in_use() -> Iterator[None]:
    """Make sure that another socket listens on the default port of the model server."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", DEFAULT_PORT))
            other.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        yield


@contextmanager
def stopped_and_port_in_use(folder: Path) -> Iterator[None]:
    """Stop the model server, and occupy the port at which it would start again."""
    daemon.stop(folder)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (folder / "serving" / "port").write_text(str(other.getsockname()[1]))
        yield


@contextmanager
def lost_endpoint(folder: Path) -> Iterator[None]:
    """Remove the files of the model server, and occupy its default port."""
    daemon.stop(folder)
    shutil.rmtree(folder / "serving")
    shutil.rmtree(folder / "archives")
    with default_port_in_use():
        yield


@contextmanager
def lost_archive(folder: Path) -> Iterator[None]:
    """Remove the champion's archive from the store, and restore it at the end."""
    (served,) = json.loads((folder / "serving" / "models.json").read_text()).values()
    archive = folder / "store" / "archives" / NAME / f"{served['digest']}.mar"
    content = archive.read_bytes()
    archive.unlink()
    try:
        yield
    finally:
        archive.write_bytes(content)


@contextmanager
def damaged_server_file(folder: Path) -> Iterator[None]:
    """Damage the file with the address of the running model server, which the server repairs."""
    daemon.start(folder)
    (folder / "serving" / "server.json").write_text("{")
    yield


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Start the model server."""
    daemon.start(folder)
    yield


@contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """Stop the model server."""
    daemon.stop(folder)
    yield


@dataclass(frozen=True)
class Case:
    """A command in a situation: its exit code, and a part of its message on standard error."""

    module: str
    arguments: tuple[str, ...]
    situation: Callable[[Path], Any] = nullcontext
    code: int = 0
    reported: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        name = getattr(self.situation, "__name__", "").replace("nullcontext", "")
        return "-".join(filter(None, (self.module, name, *self.arguments[-1:], str(self.code))))


DEFAULT_TAKEN = f"port {DEFAULT_PORT}{daemon.PORT_TAKEN}"
CASES = [
    Case("pipelines.run", RUN, lost_endpoint, 0, DEFAULT_TAKEN),
    Case("pipelines.run", RUN, stopped_and_port_in_use, 0, daemon.PORT_TAKEN),
    Case("pipelines.run", (*RUN, "--dry-run")),
    Case("pipelines.run", (*WORKLOAD, "--set", "source=none.csv"), code=2, reported="error: "),
    Case("pipelines.demo", RUN, lost_endpoint, 0, DEFAULT_TAKEN),
    Case("pipelines.demo", RUN, stopped_and_port_in_use, 0, "try a challenger"),
    Case("pipelines.demo", ("--workload", "nothere"), code=2, reported="error: "),
    Case("pipelines.rollback", (*WORKLOAD, "--to", "3"), stopped_and_port_in_use, 0, daemon.PORT_TAKEN),
    Case("pipelines.rollback", (*WORKLOAD, "--to", "3", "--dry-run"), lost_archive, 0, "would be restored"),
    Case("pipelines.rollback", (*WORKLOAD, "--to", "99"), code=2, reported="error: "),
    Case("pipelines.approve", WORKLOAD, code=2, reported="error: "),
    Case("pipelines.reject", WORKLOAD, code=2, reported="error: "),
    Case("pipelines.status", (), running),
    Case("pipelines.status", (), stopped),
    Case("pipelines.status", ("--workload", "nothere"), code=2, reported="error: "),
    Case("pipelines.history", WORKLOAD),
    Case("pipelines.history", ("--workload", "nothere"), code=2, reported="error: "),
    Case("pipelines.trace", ("abcdef",), code=2, reported="error: "),
    Case(
        "pipelines.logs",
        ("run-1",),
        code=2,
        reported="no Kubernetes cluster is configured",
        environment=(("KUBECONFIG", "none"),),
    ),
    Case(
        "pipelines.transfer",
        (*WORKLOAD, "--from", "nothere", "--to", "elsewhere"),
        code=2,
        reported="nothere: read the version: there is no registry",
    ),
    Case("pipelines.prune", ("--keep", "1", "--dry-run"), running),
    Case("pipelines.prune", ("--keep", "0"), code=2, reported="error: "),
    Case("serving", ("status",), running),
    Case("serving", ("status",), stopped, 75),
    Case("serving", ("status",), damaged_server_file),
    Case("workloads", ()),
    Case("workloads", ("nothere",), code=2, reported="error: "),
    # This case is the last, because it moves the champion.
    Case(
        "pipelines.rollback",
        (*WORKLOAD, "--to", "2"),
        stopped_and_port_in_use,
        0,
        "warning: the webhook cannot be reached",
        (("CT_WEBHOOK", "http://127.0.0.1:1"),),
    ),
]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "standard-output") as opened:
        yield opened


@pytest.mark.parametrize("case", CASES, ids=str)
def test_standard_output_is_one_json_value(
    case: Case, state: ChampionState, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in case.environment:
        monkeypatch.setenv(name, value)
    # The commands of the server read the state directory from an argument only.
    state_option = ("--state", str(state.folder)) if case.module == "serving" else ()
    with case.situation(state.folder):
        result = champions.run_module(case.module, *case.arguments, *state_option, "--json", expect=case.code)
    assert case.reported in result.stderr
    assert isinstance(json.loads(result.stdout), list if case.module == "workloads" else dict)


@pytest.mark.parametrize(("options", "code"), [(("--dry-run",), 0), (("--timeout", "1"), 75)])
def test_a_run_on_a_cluster_reports_a_skipped_preflight(
    options: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("CT_STORE", raising=False)
    with kfp_server() as kfp:
        kfp.outcome = PROMOTED
        target = ("--target", "cluster", "--host", kfp.url, "--registry", "registry.example/ct")
        result = champions.run_module("pipelines.run", *WORKLOAD, *target, *options, "--json", expect=code)
    assert "preflight: skipped" in result.stderr
    assert isinstance(json.loads(result.stdout), dict)


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.demo"])
def test_an_interrupted_run_prints_its_verdict(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", module, "--workload", "digits", "--set", "max_iter=500"]
    process = subprocess.Popen(
        [*command, "--state", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stderr
    for line in process.stderr:
        if "train: starts" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert json.loads(output)["verdict"] == "interrupted"


def test_every_command_with_json_has_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set()
    for name in _modules():
        path = Path(importlib.util.find_spec(name).origin)
        if 'if __name__ == "__main__"' not in path.read_text(encoding="utf-8"):
            continue
        main = getattr(importlib.import_module(name), "main", None)
        command = name.removesuffix(".__main__")
        for subcommand in SUBCOMMANDS.get(command, ("",)) if main else ():
            with pytest.raises(SystemExit):
                main([*filter(None, [subcommand]), "--help"])
            if "--json" in capsys.readouterr().out:
                commands.add(command)
    assert commands == {case.module for case in CASES}


def _modules() -> Iterator[str]:
    for package in (components, continuous_training, pipelines, serving, workloads):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield module.name
