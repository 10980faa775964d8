"""Callers that ask an endpoint without a pause, from a pod of the cluster, and count what went wrong."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from continuous_training.adapters.kubernetes.client import Object
from continuous_training.adapters.kubernetes.resources import POD

from .place import Place

_CODE = """
import collections, http.client, itertools, json, signal, sys, threading, time
host, path, body, ends = sys.argv[1], sys.argv[2], sys.argv[3], threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ends.set())
counts, faults, lock = collections.Counter(), [], threading.Lock()
# The node may hear of a new Service later than the first caller, and it sends all that comes from that
# caller's port the same wrong way for two minutes more: first tries have ports that no others are given.
first_ports = itertools.count(20000)

def ask(keeps):
    connection, answered = None, 0
    while not ends.is_set():
        try:
            source = None if answered else ("", next(first_ports))
            connection = connection or http.client.HTTPConnection(host, 80, timeout=30, source_address=source)
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            answered += 1
            time.sleep(0.005)
            with lock:
                counts[answer.headers.get("x-model-digest", "")] += 1
                if answer.status != 200:
                    faults.append(f"{answer.status} {text[:200]!r}")
            if not keeps or answer.headers.get("connection") == "close":
                connection.close()
                connection = None
        except Exception as error:
            with lock:
                if answered:
                    faults.append(f"{time.strftime('%X')} {keeps=} after {answered} answers: {error!r}")
            connection = None

threads = [threading.Thread(target=ask, args=(keeps,), daemon=True) for keeps in (False, True)]
for thread in threads:
    thread.start()
while not ends.wait(0.5):
    print(json.dumps({"counts": counts, "faults": faults[:20]}), flush=True)
for thread in threads:
    thread.join(30)
print(json.dumps({"counts": counts, "faults": faults[:20], "ended": True}), flush=True)
"""


@dataclass
class Called:
    """How many answers each version gave, and what went wrong."""

    answered: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@contextmanager
def calling(place: Place, name: str, request: Any) -> Iterator[Called]:
    """Have two callers ask for the while, one with a new connection each time; filled in at the end."""
    pod, called = f"callers-{name}-{secrets.token_hex(2)}", Called()
    arguments = [name, f"/predict/{name}", json.dumps(request)]
    place.cluster.create(POD, _pod(pod, place.settings.image, ["python", "-c", _CODE, *arguments]))
    try:
        _wait(place, pod, lambda last: sum(last["counts"].values()) > 20)
        yield called
        # The container may end before kubectl has heard what came of it, so its exit code says nothing.
        end = ["exec", pod, "--", "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)"]
        subprocess.run(["kubectl", "-n", place.namespace, *end], capture_output=True, timeout=60)
        last = _wait(place, pod, lambda last: last.get("ended"))
        called.answered, called.faults = last["counts"], last["faults"]
    finally:
        place.cluster.delete(POD, pod)


def _wait(place: Place, pod: str, until: Any) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lines = place.cluster.logs(pod, lines=1)
        if lines and until(found := json.loads(lines[-1])):
            return dict(found)
        time.sleep(0.2)
    raise AssertionError(f"the callers do not come to it: {lines}")


def _pod(name: str, image: str, command: list[str]) -> Object:
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
