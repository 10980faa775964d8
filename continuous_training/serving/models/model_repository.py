"""The models that this process serves: loading, switching, putting back, and answering through them."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from continuous_training.serving.errors import LoadRefused, NotServedError, UnavailableError
from continuous_training.serving.models.batch_inference import Result
from continuous_training.serving.models.batch_item import Work
from continuous_training.serving.models.inference_watchdog import Busy
from continuous_training.serving.models.loading import load_archive
from continuous_training.serving.models.persisted_versions import Confirmed
from continuous_training.serving.models.table import Table
from continuous_training.serving.models.trial_fallback import answer_through
from continuous_training.serving.models.versions import Loaded, Served

log = logging.getLogger(__name__)


class Repository:
    """Serves one version a name, and switches versions so that no request notices.

    Loading is slow and done by one thread at a time; switching is quick and under a lock of its own;
    finding takes no lock. `folder` keeps `models.json` and the unpacked archives, and belongs to this
    repository alone. `threads` is how many one inference may use.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.threads = threads
        self.work = folder / "work"
        # What a killed server left unpacked is of no use: every load unpacks anew.
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.confirmed = Confirmed(folder / "models.json")
        self.unavailable: dict[str, str] = {}
        self.expect(self.confirmed.records)
        self.loading: Busy | None = None
        self._table = Table()
        self._loading = threading.Lock()
        self._switching = threading.Lock()

    def answer(
        self, name: str, works: Sequence[Work], rows: int = 1, version: str | None = None
    ) -> list[Result]:
        """Answer requests in batches of up to `rows` rows; see `answer_through` for what each gets."""
        rows = self.batch_rows(name, rows)
        return answer_through(lambda: self.find(name), works, rows, version)

    def batch_rows(self, name: str, most: int) -> int:
        """Return `most`, or the model's own bound of a batch when its handler has a smaller one."""
        served = self._table.get(name)
        own = None if served is None else served.model.batch_rows
        return min(most, own or most)

    def expect(self, names: Iterable[str]) -> None:
        """Say that these will be loaded: until then they are unavailable, rather than unknown."""
        self.unavailable.update(dict.fromkeys(names, "it is being loaded"))

    def served(self) -> dict[str, Served]:
        """Show what is served now, by name."""
        return self._table.all()

    def find(self, name: str) -> Served:
        """Find what is served under a name; NotServedError lists the names, UnavailableError says why."""
        found = self._table.get(name)
        if found is None and name in self.unavailable:
            raise UnavailableError(f"the model {name!r} is not available: {self.unavailable[name]}")
        if found is None:
            names = ", ".join(sorted(self._table.all())) or "none"
            raise NotServedError(f"there is no model {name!r} here; served are: {names}")
        return found

    def restore(self) -> None:
        """Load what was confirmed before a restart; what cannot be loaded is logged and left out."""
        for name, record in sorted(self.confirmed.records.items()):
            try:
                with self._loading:
                    self._restore(name, Path(record["archive"]), record["digest"])
            except Exception as error:
                log.error("the model %s is not served: %s", name, error)
                self.unavailable[name] = str(error)

    def _restore(self, name: str, archive: Path, digest: str) -> None:
        # A deployer may have been quicker than this.
        if self._table.get(name) is None:
            fresh = self._load(archive, digest, name)
            with self._switching:
                self._put(Served(fresh))

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
            fresh = self._load(archive.absolute(), digest, name)
            with self._switching:
                return self._switch(fresh, confirm_within)

    def _load(self, archive: Path, digest: str, name: str | None) -> Loaded:
        self.loading = Busy(f"loading {archive}")
        try:
            return load_archive(archive, digest, self.work, name, self.threads)
        finally:
            self.loading = None

    def _known(self, digest: str, confirm_within: float | None) -> Served | None:
        with self._switching:
            for served in self._table.all().values():
                if digest == served.former_digest and served.former:
                    return self._put(Served(served.former))
                if digest != served.digest:
                    continue
                if served.deadline is None:
                    return served
                if confirm_within is None:
                    return self._confirm(served)
                renewed = Served(served.current, served.former, time.monotonic() + confirm_within)
                return self._put(renewed)
        return None

    def _switch(self, fresh: Loaded, confirm_within: float | None) -> Served:
        present = self._table.get(fresh.name)
        if confirm_within is None:
            self.confirmed.put(fresh.name, fresh.archive, fresh.digest)
            return self._put(Served(fresh))
        # A version that is itself on probation has proven nothing: behind it stands the one before.
        former = None
        if present is not None:
            former = present.current if present.deadline is None else present.former
        return self._put(Served(fresh, former, time.monotonic() + confirm_within))

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
        return self._put(Served(served.current))

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
            return self._withdraw(served)

    def unload(self, name: str) -> None:
        """Serve a name no longer, now and after a restart."""
        with self._switching:
            if self._table.get(name) is None and name not in self.confirmed.records:
                raise NotServedError(f"there is no model {name!r} here to unload")
            self.confirmed.remove(name)
            self.unavailable.pop(name, None)
            self._table.drop(name)

    def expire(self) -> list[str]:
        """Put back what was not confirmed in time, and name it; called every moment by the server."""
        now = time.monotonic()
        late = [s for s in self._table.all().values() if s.deadline is not None and s.deadline <= now]
        expired = []
        for served in late:
            with self._switching:
                if self._table.get(served.name) is served:
                    self._withdraw(served)
                    expired.append(served.name)
                    log.warning("%s %s was not confirmed in time", served.name, served.current.version)
        return expired

    def _withdraw(self, served: Served) -> Served | None:
        if served.former:
            return self._put(Served(served.former))
        self._table.drop(served.name)
        return None

    def _put(self, served: Served) -> Served:
        if served.deadline is None:
            self.unavailable.pop(served.name, None)
        return self._table.put(served)

    def close(self) -> None:
        """Free every model; nothing is served any more."""
        with self._switching:
            for name in self._table.all():
                self._table.drop(name)
        shutil.rmtree(self.work, ignore_errors=True)
