"""Callers who never stop asking, and who write down every answer that was not right."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import requests

REQUEST = {"x": [1.0, 4.0]}


class Hammer:
    """Asks /predict from several threads at once; `scales` says which answers a digest may give."""

    def __init__(self, url: str, scales: dict[str, float], threads: int = 4) -> None:
        self.url = url
        self.scales = scales
        self.faults: list[str] = []
        self.answers: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Hammer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                try:
                    response = session.post(f"{self.url}/predict/toy", json=REQUEST, timeout=10)
                    digest = response.headers.get("x-model-digest", "")
                    scale = self.scales.get(digest)
                    right = scale is not None and response.json() == {"scale": scale, "y": [scale, 4 * scale]}
                    if response.status_code != 200 or not right:
                        self.faults.append(f"{response.status_code} {digest[:12]} {response.text}")
                    self.answers[digest] += 1
                except requests.RequestException as error:
                    self.faults.append(repr(error))
