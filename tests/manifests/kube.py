"""Run kubectl on the cluster of KUBECONFIG. Failures include the state of the namespace."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .rendering import MANIFESTS, Object, kubectl

RETRY_BUDGET = 120.0
"""Seconds for which a command is retried while the API server is unavailable, for example in an upgrade."""

UNAVAILABLE = re.compile(
    r"Unable to connect to the server|connection to the server .* was refused|http2: .*lost|EOF$"
)


class Kube:
    """One namespace of a cluster."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return its output. Raises AssertionError with its error output when it fails."""
        command = [kubectl(), "--namespace", self.namespace, *map(str, arguments)]
        end = time.monotonic() + RETRY_BUDGET
        while True:
            process = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=300, check=False
            )
            if not UNAVAILABLE.search(process.stderr) or time.monotonic() > end:
                break
            time.sleep(1)
        assert not check or process.returncode == 0, (
            f"{' '.join(command)}: {process.stderr}\n{self.describe()}"
        )
        return process.stdout + ("" if check else process.stderr)

    def apply(self, *objects: Object, options: tuple[str, ...] = ()) -> str:
        """Apply objects with server-side apply."""
        return self.run("apply", "--server-side", *options, "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str) -> Object:
        """Return an object."""
        return dict(json.loads(self.run("get", kind, name, "-o", "json")))

    def wait_until_ended(self, pod: str) -> Object:
        """Wait until all containers of a pod have ended. Return the pod."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            # `kubectl wait` waits for one phase only, so the phase Failed is checked in between.
            self.run(
                "wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=3s", check=False
            )
            current = self.get("pod", pod)
            if current["status"]["phase"] in ("Succeeded", "Failed"):
                return current
        raise AssertionError(f"pod {pod} did not end\n{self.describe()}")

    def describe(self) -> str:
        """Return the workloads and events of the namespace, for the message of a failure."""
        lines = []
        for arguments in (
            ("get", "pods,jobs,statefulsets,deployments", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ):
            process = subprocess.run(
                [kubectl(), "--namespace", self.namespace, *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            lines += process.stdout.splitlines()[-25:]
        return "\n".join(lines)

    @contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[str]:
        """Forward a port of a Service or pod within the block. Yields HOST:PORT on this machine."""
        self.run("get", "--raw", "/readyz")
        command = [kubectl(), "--namespace", self.namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                match = re.search(r"Forwarding from (127\.0\.0\.1:\d+)", line)
                assert match, line
                yield match[1]
            finally:
                process.terminate()


def create_namespace(name: str) -> Kube:
    """Create a namespace with the labels of manifests/namespace.yaml."""
    namespace: dict[str, Any] = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text(encoding="utf-8"))
    namespace["metadata"]["name"] = name
    kube = Kube(name)
    kube.run("create", "-f", "-", stdin=yaml.safe_dump(namespace))
    return kube
