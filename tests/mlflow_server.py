"""An MLflow server process as in a cluster: external database and bucket, proxied artifacts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

from .fakes import free_port
from .s3 import ACCESS, Bucket


class MlflowServer:
    """A server that a test can kill and restart on the same port."""

    def __init__(self, database: str, bucket: Bucket, log: Path, access: tuple[str, str] = ACCESS) -> None:
        self.port, self.log = free_port(), log
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", database, "--serve-artifacts", "--workers", "1",
            "--artifacts-destination", f"s3://{bucket.folder.name}/mlflow",
        ]  # fmt: skip
        self.environment = {
            **os.environ,
            "MLFLOW_S3_ENDPOINT_URL": f"http://{bucket.endpoint}",
            "AWS_ACCESS_KEY_ID": access[0],
            "AWS_SECRET_ACCESS_KEY": access[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            # Job execution starts six more processes, and no test uses it.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while not self._is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server and its workers."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _is_healthy(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False
