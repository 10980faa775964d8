"""The trigger service as a process, for tests through HTTP."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from continuous_training.core.json_object import Json
from continuous_training.trigger.caller_file import new_token, token_digest

ROOT = Path(__file__).parents[1]
TOKEN = new_token()
CALLERS = f"""\
callers:
  ci:
    tokens: ["{token_digest(TOKEN)}"]
    rights: {{"*": [read, start, cancel, approve, rollback]}}
"""


@dataclass(frozen=True)
class TriggerService:
    """A running service, its address and its log."""

    url: str
    log: Path

    def request(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=60)

    def wait(self, run_id: str, state: str, seconds: float = 300) -> Json:
        """Return the run when it has this state."""
        deadline = time.monotonic() + seconds
        while True:
            run: Json = self.request("GET", f"/runs/{run_id}").json()
            if run["state"] == state:
                return run
            assert run["state"] != "ended", run
            assert time.monotonic() < deadline, (run, self.log.read_text())
            time.sleep(0.2)


@contextmanager
def trigger_service(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[TriggerService]:
    """Run `python -m pipelines.trigger serve` in the block, with one caller who may do everything."""
    callers, log = folder / "callers.yaml", folder / "trigger.log"
    callers.write_text(CALLERS)
    command = [sys.executable, "-m", "pipelines.trigger", "serve", "--callers", str(callers), "--port", "0"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--interval", "0.2", *arguments],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=dict(environment) if environment is not None else None,
        ) as process,
    ):
        try:
            yield TriggerService(_address(log, process), log)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r"listening at (\S+)", log.read_text()):
            return match[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
