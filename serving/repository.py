"""The models that this process serves: loading, switching, putting back, and answering through them."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from . import v2
from .confirmed import Confirmed
from .errors import HandlerError, LoadRefused, NotServedError, RequestError, UnavailableError
from .jsontext import encode
from .loading import load_archive
from .model import Model
from .served import GoneError, Loaded, Served

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Loaded, Model], T]


class Repository:
    """Serves one version a name, and switches versions so that no request notices.

    Loading is slow and done by one thread at a time; the table is replaced whole under a lock that is
    held for no longer than that, and read without one. `folder` keeps `models.json` and the unpacked
    archives, and belongs to this repository alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        # What a killed server left unpacked is of no use: every load unpacks anew.
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.confirmed = Confirmed(folder / "models.json")
        self.unavailable = dict.fromkeys(self.confirmed.records, "it is being loaded")
        self._table: dict[str, Served] = {}
        self._loading = threading.Lock()
        self._switching = threading.Lock()

    # ---- what is served

    def served(self) -> dict[str, Served]:
        """Show what is served now, by name."""
        return dict(self._table)

    def find(self, name: str) -> Served:
        """Find what is served under a name; NotServedError lists the names, UnavailableError says why."""
        found = self._table.get(name)
        if found is None and name in self.unavailable:
            raise UnavailableError(f"the model {name!r} is not available: {self.unavailable[name]}")
        if found is None:
            names = ", ".join(sorted(self._table)) or "none"
            raise NotServedError(f"there is no model {name!r} here; served are: {names}")
        return found

    # ---- switching

    def restore(self) -> None:
        """Load what was confirmed before a restart; what cannot be loaded is logged and left out."""
        for name, record in sorted(self.confirmed.records.items()):
            try:
                with self._loading:
                    fresh = load_archive(Path(record["archive"]), record["digest"], self.work, name)
                    self._replace(name, Served(fresh))
            except Exception as error:
                log.error("the model %s is not served: %s", name, error)
                self.unavailable[name] = str(error)

    def load(
        self, archive: Path, digest: str, confirm_within: float | None = None, name: str | None = None
    ) -> Served:
        """Serve an archive's model, once it has repeated its golden answers.

        With `confirm_within` seconds it is on probation: the former version is kept beside it, answers
        where the new one fails, and comes back by itself unless `confirm` is called in time. The digest
        that is served already is left alone, on probation its time starts anew (or it is confirmed),
        and the former one is put back. LoadRefused or ArchiveError leave everything as it was.
        """
        with self._loading:
            known = self._known(digest, confirm_within)
            if known is not None:
                return known
            fresh = load_archive(archive.absolute(), digest, self.work, name)
            with self._switching:
                return self._switch(fresh, confirm_within)

    def _known(self, digest: str, confirm_within: float | None) -> Served | None:
        with self._switching:
            for name, served in self._table.items():
                if digest == served.former_digest and served.former:
                    return self._replace(name, Served(served.former))
                if digest != served.digest:
                    continue
                if served.deadline is None:
                    return served
                if confirm_within is None:
                    return self._confirm(served)
                renewed = Served(served.current, served.former, time.monotonic() + confirm_within)
                return self._replace(name, renewed)
        return None

    def _switch(self, fresh: Loaded, confirm_within: float | None) -> Served:
        present = self._table.get(fresh.name)
        if confirm_within is None:
            self.confirmed.put(fresh.name, fresh.archive, fresh.digest)
            return self._replace(fresh.name, Served(fresh))
        # A version that is itself on probation has proven nothing: behind it stands the one before.
        former = present and (present.current if present.deadline is None else present.former)
        return self._replace(fresh.name, Served(fresh, former, time.monotonic() + confirm_within))

    def confirm(self, name: str, digest: str) -> Served:
        """Make a version on probation permanent; LoadRefused when it is not served any more."""
        with self._switching:
            served = self._table.get(name)
            if served is None or served.digest != digest:
                raise LoadRefused(f"{name} {digest[:12]} is not served (any more), so it cannot be confirmed")
            if served.deadline is None:
                return served
            if served.deadline <= time.monotonic():
                raise LoadRefused(f"{name} {digest[:12]} was not confirmed in time and is being withdrawn")
            return self._confirm(served)

    def _confirm(self, served: Served) -> Served:
        # On disk first: a crash between the two then restarts with the version that was confirmed.
        self.confirmed.put(served.name, served.archive, served.digest)
        return self._replace(served.name, Served(served.current))

    def revert(self, name: str, digest: str) -> Served | None:
        """Put the former version back, or serve the name no longer when there was none.

        Nothing happens when `digest` is not what is served; LoadRefused when it is confirmed.
        """
        with self._switching:
            served = self._table.get(name)
            if served is None or served.digest != digest:
                return served
            if served.deadline is None:
                raise LoadRefused(f"{name} {digest[:12]} is confirmed; load the version to go back to")
            return self._replace(name, Served(served.former) if served.former else None)

    def unload(self, name: str) -> None:
        """Serve a name no longer, now and after a restart."""
        with self._switching:
            if name not in self._table and name not in self.confirmed.records:
                raise NotServedError(f"there is no model {name!r} here to unload")
            self.confirmed.remove(name)
            self._replace(name, None)

    def expire(self) -> list[str]:
        """Put back what was not confirmed in time, and name it; called every moment by the server."""
        now = time.monotonic()
        late = [s for s in self._table.values() if s.deadline is not None and s.deadline <= now]
        expired = []
        for served in late:
            with self._switching:
                if self._table.get(served.name) is served:
                    self._replace(served.name, Served(served.former) if served.former else None)
                    expired.append(served.name)
                    log.warning("%s %s was not confirmed in time", served.name, served.current.version)
        return expired

    def _replace(self, name: str, served: Served | None) -> Any:
        before = self._table.get(name)
        table = {key: value for key, value in self._table.items() if key != name}
        if served is not None:
            table[name] = served
        self._table = table
        self.unavailable.pop(name, None)
        kept = (served.current, served.former) if served else ()
        for loaded in (before.current, before.former) if before else ():
            if loaded is not None and loaded not in kept:
                loaded.retire()
        if served:
            log.info("%s %s: %s", name, served.current.version, served.state)
        else:
            log.info("%s: no longer served", name)
        return served

    def close(self) -> None:
        """Free every model; nothing is served any more."""
        with self._switching:
            for name in list(self._table):
                self._replace(name, None)
        shutil.rmtree(self.work, ignore_errors=True)
