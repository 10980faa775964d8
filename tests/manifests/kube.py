"""kubectl against the cluster that KUBECONFIG names: one command a call, its errors told whole."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .rendering import MANIFESTS, Object, kubectl


class Kube:
    """One namespace of a cluster."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str | Path, given: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints; AssertionError with its words when it fails."""
        command = [kubectl(), "--namespace", self.namespace, *map(str, arguments)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
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
        command = [kubectl(), "--namespace", self.namespace, "get", "pod", pod, "--watch"]
        command += ["--request-timeout=240s"]
        line = 'jsonpath={.status.phase}{"\\n"}'
        with subprocess.Popen([*command, "-o", line], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                seen = next((p for p in process.stdout if p.strip() in ("Succeeded", "Failed")), None)
            finally:
                process.terminate()
        assert seen, f"pod {pod} did not end\n{self.look()}"
        return self.get("pod", pod)

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
        command = [kubectl(), "--namespace", self.namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.search(r"Forwarding from (127\.0\.0\.1:\d+)", line)
                assert found, line + (process.stdout.read() if process.poll() is not None else "")
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
