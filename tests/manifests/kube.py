"""kubectl against the cluster that KUBECONFIG names: one command a call, its errors told whole."""

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

PATIENCE = 120.0
"""Seconds for which a command is tried again where the API server is away, as it is for an upgrade."""

AWAY = re.compile(
    r"Unable to connect to the server|connection to the server .* was refused|http2: .*lost|EOF$"
)


class Kube:
    """One namespace of a cluster."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str | Path, given: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints; AssertionError with its words when it fails."""
        command = [kubectl(), "--namespace", self.namespace, *map(str, arguments)]
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=300, check=False
            )
            if not AWAY.search(done.stderr) or time.monotonic() > end:
                break
            time.sleep(1)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}\n{self.look()}"
        return done.stdout + ("" if check else done.stderr)

    def apply(self, *objects: Object, options: tuple[str, ...] = ()) -> str:
        """Apply objects on the server's side."""
        return self.run("apply", "--server-side", *options, "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str) -> Object:
        """Return an object."""
        return dict(json.loads(self.run("get", kind, name, "-o", "json")))

    def ended(self, pod: str) -> Object:
        """Wait until all containers of a pod have ended; returns the pod."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            # Until it succeeds, or fails, which this does not wait for: hence in turns.
            self.run(
                "wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=3s", check=False
            )
            found = self.get("pod", pod)
            if found["status"]["phase"] in ("Succeeded", "Failed"):
                return found
        raise AssertionError(f"pod {pod} did not end\n{self.look()}")

    def look(self) -> str:
        """Return what there is to see of the namespace's pods, for the message of a failure."""
        seen = []
        for words in (
            ("get", "pods,jobs,statefulsets,deployments", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ):
            done = subprocess.run(
                [kubectl(), "--namespace", self.namespace, *words],
                capture_output=True,
                text=True,
                check=False,
            )
            seen += done.stdout.splitlines()[-25:]
        return "\n".join(seen)

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """Reach a port of a Service or pod; yields HOST:PORT on this machine."""
        self.run("get", "--raw", "/readyz")
        command = [kubectl(), "--namespace", self.namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.search(r"Forwarding from (127\.0\.0\.1:\d+)", line)
                assert found, line
                yield found[1]
            finally:
                process.terminate()


def make_namespace(name: str) -> Kube:
    """Make a namespace with the labels that manifests/namespace.yaml gives."""
    namespace: dict[str, Any] = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text(encoding="utf-8"))
    namespace["metadata"]["name"] = name
    made = Kube(name)
    made.run("create", "-f", "-", given=yaml.safe_dump(namespace))
    return made
