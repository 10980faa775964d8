"""A load generator that checks every response."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import requests

REQUEST = {"x": [1.0, 4.0]}


class LoadGenerator:
    """Sends requests to the toy model in several threads while its `with` block runs.

    `scales` maps the digest of each version to the scale of its responses. `failures` lists all other
    responses, and `responses` counts the responses by digest.
    """

    def __init__(self, url: str, scales: dict[str, float], threads: int = 4) -> None:
        self.url = url
        self.scales = scales
        self.failures: list[str] = []
        self.responses: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> LoadGenerator:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                try:
                    self._send(session)
                except requests.RequestException as error:
                    self.failures.append(repr(error))

    def _send(self, session: requests.Session) -> None:
        response = session.post(f"{self.url}/predict/toy", json=REQUEST, timeout=10)
        digest = response.headers.get("x-model-digest", "")
        scale = self.scales.get(digest)
        correct = scale is not None and response.json() == {"scale": scale, "y": [scale, 4 * scale]}
        if response.status_code != 200 or not correct:
            self.failures.append(f"{response.status_code} {digest[:12]} {response.text}")
        self.responses[digest] += 1
