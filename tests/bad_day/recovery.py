"""What follows each case: a run, a rollback, and three inference requests after both."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.core.exit_codes import DONE
from continuous_training.core.file_lock import is_held
from continuous_training.serving.process import background, daemon
from continuous_training.serving.process.state_files import StateFiles
from tests.pipelines.champions import HALF, NAME, PATIENT, ROOT

from .kills import RunningPipeline

RUN = (*HALF, "--set", "force=true")
PATIENTS = [
    {"patient": {name: value * factor for name, value in PATIENT["patient"].items()}}
    for factor in (1, -0.5, 0.02)
]
"""The three inference requests."""

COMMAND_TIMEOUT = 600
TRACEBACKS = ("Traceback (most recent call last)", '"traceback"')

WORSE, BETTER = "1", "2"
"""The champion before a case and after its rollback, and the version that its run promotes."""


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

    def wrong_answer(self, fault: str) -> None:
        """Count a wrong answer."""
        self.wrong_answers += 1
        self.faults.append(fault)

    def check_output(self, fault: str, output: str) -> None:
        """Count a traceback in the output of a program."""
        if any(text in output for text in TRACEBACKS):
            self.tracebacks += 1
            self.faults.append(f"{fault}: {output[-2000:]}")


@dataclass(frozen=True)
class Answer:
    """The content of a response and the digest of the version that produced it."""

    content: Any
    digest: str | None = None


@dataclass(frozen=True)
class Workshop:
    """A state directory with two champions, and the expected answers of each version."""

    state: Path
    expected: dict[str, list[Answer]] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The log of the model server."""
        return StateFiles.of(self.state).log

    @property
    def run_log(self) -> Path:
        """The output of the run that was killed last."""
        return self.state.with_name("run.log")

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
        counts.check_output(f"{case}: {module}", done.stdout + done.stderr)
        if done.returncode != DONE:
            counts.manual_repairs += 1
            counts.faults.append(f"{case}: {module} ended with {done.returncode}: {done.stderr[-2000:]}")

    def champion(self) -> str | None:
        """Return the version that is the champion in the registry."""
        with open_registry(f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}") as registry:
            return registry.aliases(NAME).get(CHAMPION)

    def check_responses(self, counts: Counts, case: str, version: str = WORSE) -> None:
        """Compare the registry's champion with the version, and the answers with those of the version."""
        if (champion := self.champion()) != version:
            counts.wrong_answer(f"{case}: the champion is {champion} instead of {version}")
        for answer, expected in zip(self.answers(), self.expected[version], strict=True):
            if answer != expected:
                counts.wrong_answer(f"{case}: version {version} answers {answer} instead of {expected}")

    def answers(self, url: str = "") -> list[Answer]:
        """Return the answers to the three requests, or the descriptions of the errors.

        `url` is that of another server than the one of the state directory.
        """
        running = daemon.status(self.state)
        if running is None and not url:
            return [Answer("no server runs")] * len(PATIENTS)
        url = url or str(running and running.url)
        return [self._answer(f"{url}/predict/{NAME}", patient) for patient in PATIENTS]

    def _answer(self, url: str, patient: Any) -> Answer:
        try:
            response = requests.post(url, json=patient, timeout=30)
        except requests.RequestException as error:
            return Answer(str(error))
        content = response.json() if response.ok else response.text
        return Answer(content, response.headers.get("x-model-digest"))

    def recover(self, counts: Counts, case: str) -> None:
        """Run the pipeline and roll back, with requests after each of them."""
        counts.cases += 1
        start = self.log.stat().st_size if self.log.exists() else 0
        self.execute(counts, case, "pipelines.run", *RUN)
        self.check_responses(counts, f"{case}, after the run", BETTER)
        self.execute(counts, case, "pipelines.rollback", "--workload", NAME, "--to", WORSE)
        self.check_responses(counts, f"{case}, after the rollback", WORSE)
        counts.check_output(
            f"{case}: the model server", self.log.read_bytes()[start:].decode(errors="replace")
        )

    def start_run(self) -> RunningPipeline:
        """Start a run in a process group of its own. Its output goes to `run_log`."""
        with self.run_log.open("w") as log:
            process = subprocess.Popen(
                self.command("pipelines.run", *RUN),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )
        return RunningPipeline(process)

    def kill_server(self) -> None:
        """Kill the model server, if it runs. The files that contain its process id may be damaged."""
        command = f"{background.__name__} --state {self.state} "
        while is_held(StateFiles.of(self.state).lock):
            subprocess.run(["pkill", "-KILL", "-f", command], check=False)
            time.sleep(0.05)
