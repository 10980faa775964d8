"""Which version is served under which name, switched in one step."""

from __future__ import annotations

import logging

from continuous_training.serving.models.versions import LoadedVersion, ServedModel

log = logging.getLogger(__name__)


class ServedModels:
    """Maps names to what is served, and retires the versions that a switch leaves over.

    Reading takes no lock, since a change replaces the whole mapping; changes are for one thread at a
    time, which the caller sees to.
    """

    def __init__(self) -> None:
        self._served: dict[str, ServedModel] = {}

    def get(self, name: str) -> ServedModel | None:
        """Find what is served under a name."""
        return self._served.get(name)

    def all(self) -> dict[str, ServedModel]:
        """Show everything that is served; the mapping is never changed again."""
        return self._served

    def put(self, served: ServedModel) -> ServedModel:
        """Serve this under its name from now on."""
        before = self._served.get(served.name)
        self._served = {**self._served, served.name: served}
        log.info("%s %s: %s", served.name, served.current.version, served.phase)
        _retire(before, keep=(served.current, served.previous))
        return served

    def drop(self, name: str) -> None:
        """Serve nothing under a name from now on."""
        before = self._served.get(name)
        self._served = {key: value for key, value in self._served.items() if key != name}
        log.info("%s: no longer served", name)
        _retire(before, keep=())


def _retire(before: ServedModel | None, keep: tuple[LoadedVersion | None, ...]) -> None:
    for loaded in (before.current, before.previous) if before else ():
        if loaded is not None and loaded not in keep:
            loaded.retire()
