"""Continuous requests to an endpoint from a pod of the cluster, with counts of the responses and errors."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from continuous_training.adapters.kubernetes.resources import POD
from continuous_training.rollout.kubernetes.serving_objects import Manifest

from .cluster_namespace import ClusterNamespace

MIN_REQUESTS = 20
TIMEOUT = 60

_SCRIPT = """
import collections, http.client, itertools, json, signal, sys, threading, time
host, path, body, stop = sys.argv[1], sys.argv[2], sys.argv[3], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
digests, errors, lock = collections.Counter(), [], threading.Lock()
# A node may apply a new Service after the first request. It then sends all packets from the source port of
# that request to the wrong address for two more minutes. So each first request uses a new port.
first_ports = itertools.count(20000)

def send_requests(persistent):
    connection, responses = None, 0
    while not stop.is_set():
        try:
            source = None if responses else ("", next(first_ports))
            connection = connection or http.client.HTTPConnection(host, 80, timeout=30, source_address=source)
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            responses += 1
            time.sleep(0.005)
            with lock:
                digests[response.headers.get("x-model-digest", "")] += 1
                if response.status != 200:
                    errors.append(f"{response.status} {text[:200]!r}")
            if not persistent or response.headers.get("connection") == "close":
                connection.close()
                connection = None
        except Exception as error:
            with lock:
                if responses:
                    errors.append(f"{time.strftime('%X')} {persistent=}, response {responses}: {error!r}")
            connection = None

def report(**fields):
    print(json.dumps({"digests": digests, "errors": errors[:20], **fields}), flush=True)

threads = [threading.Thread(target=send_requests, args=(value,), daemon=True) for value in (False, True)]
for thread in threads:
    thread.start()
while not stop.wait(0.5):
    report()
for thread in threads:
    thread.join(30)
report(ended=True)
"""


@dataclass
class Load:
    """The number of responses by the digest of the version, and the errors. Filled at the end of the load."""

    digests: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@contextmanager
def generate_load(namespace: ClusterNamespace, name: str, request: Any, service: str = "") -> Iterator[Load]:
    """Send requests during the block: one thread with a persistent connection, one with new connections.

    `service` is the Service of the endpoint, by default the one with the model's name.
    """
    pod, load = f"callers-{name}-{secrets.token_hex(2)}", Load()
    arguments = [service or name, f"/predict/{name}", json.dumps(request)]
    command = ["python", "-c", _SCRIPT, *arguments]
    namespace.cluster.create(POD, _pod(pod, namespace.settings.image, command))
    try:
        _wait_for_report(namespace, pod, lambda report: sum(report["digests"].values()) > MIN_REQUESTS)
        yield load
        # The container may end before kubectl receives the result, so its exit code has no meaning.
        stop = ["exec", pod, "--", "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)"]
        subprocess.run(["kubectl", "-n", namespace.name, *stop], capture_output=True, timeout=TIMEOUT)
        report = _wait_for_report(namespace, pod, lambda report: bool(report.get("ended")))
        load.digests, load.errors = report["digests"], report["errors"]
    finally:
        namespace.cluster.delete(POD, pod)


def _wait_for_report(
    namespace: ClusterNamespace, pod: str, condition: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        lines = namespace.cluster.logs(pod, lines=1)
        if lines and condition(report := json.loads(lines[-1])):
            return dict(report)
        time.sleep(0.2)
    raise AssertionError(f"pod {pod} did not write the expected report within {TIMEOUT} s: {lines}")


def _pod(name: str, image: str, command: list[str]) -> Manifest:
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "callers",
                    "image": image,
                    "command": command,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
