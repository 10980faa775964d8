"""What follows each kill and each damage: a run, a rollback, and three inference requests after both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.core.exit_codes import DONE, REJECTED
from continuous_training.serving.process import daemon
from tests.pipelines.champions import HALF, NAME, PATIENT, ROOT

RUN = (*HALF, "--set", "force=true")
REQUESTS = 3
COMMAND_TIMEOUT = 600


@dataclass
class Counts:
    """The faults of a suite: responses of another version than the champion, tracebacks, and failed commands.

    A failed command needs a person. `faults` describes each fault.
    """

    cases: int = 0
    wrong_answers: int = 0
    tracebacks: int = 0
    manual_repairs: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add the counts of another suite."""
        self.cases += other.cases
        self.wrong_answers += other.wrong_answers
        self.tracebacks += other.tracebacks
        self.manual_repairs += other.manual_repairs
        self.faults += other.faults


@dataclass(frozen=True)
class Workshop:
    """A state directory with two champions, and the expected response of each version."""

    state: Path
    expected: dict[str, Any]

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command line of a command for the state directory."""
        return [sys.executable, "-m", module, *arguments, "--state", str(self.state)]

    def execute(self, counts: Counts, case: str, module: str, *arguments: str) -> None:
        """Run a command, and count a traceback or an exit code that needs a person."""
        done = subprocess.run(
            self.command(module, *arguments),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        if "Traceback" in done.stderr:
            counts.tracebacks += 1
            counts.faults.append(f"{case}: {module}: {done.stderr[-2000:]}")
        if done.returncode not in (DONE, REJECTED):
            counts.manual_repairs += 1
            counts.faults.append(f"{case}: {module} ended with {done.returncode}: {done.stderr[-2000:]}")

    def check_responses(self, counts: Counts, case: str) -> None:
        """Send the requests, and compare the responses with those of the registry's champion."""
        with open_registry(f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}") as registry:
            champion = registry.aliases(NAME).get(CHAMPION, "none")
        for _ in range(REQUESTS):
            response = self.predict()
            if response != self.expected.get(champion):
                counts.wrong_answers += 1
                counts.faults.append(f"{case}: champion {champion}: response {response}")

    def predict(self) -> Any:
        """Return the response to a request, or the description of the error."""
        running = daemon.status(self.state)
        if running is None:
            return "no server runs"
        try:
            response = requests.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=30)
        except requests.RequestException as error:
            return str(error)
        return response.json() if response.ok else response.text

    def recover(self, counts: Counts, case: str, run: tuple[str, ...] = RUN) -> None:
        """Run the pipeline and roll back, with requests after each of them."""
        counts.cases += 1
        self.execute(counts, case, "pipelines.run", *run)
        self.check_responses(counts, f"{case}, after the run")
        self.execute(counts, case, "pipelines.rollback", "--workload", NAME, "--to", "1")
        self.check_responses(counts, f"{case}, after the rollback")

    def kill_run(self, seconds: float) -> bool:
        """Start a run, and kill its processes after some seconds. Return whether it was still running."""
        process = subprocess.Popen(
            self.command("pipelines.run", *RUN),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            # Its own process group, which contains the steps.
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            signal_group(process.pid)
            process.wait()
            return True
        return False


def signal_group(group: int) -> None:
    """Kill a process group with SIGKILL."""
    os.killpg(group, signal.SIGKILL)
