# ruff: noqa: E501
"""The models that this process serves: loading, switching, putting back, and answering through them."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from continuous_training.serving.errors import ModelNotFoundError, ModelNotReadyError, VersionRejectedError
from continuous_training.serving.models.batch_inference import InferenceResult
from continuous_training.serving.models.inference_request import InferenceRequest
from continuous_training.serving.models.inference_watchdog import HandlerCall
from continuous_training.serving.models.loading import load_archive
from continuous_training.serving.models.persisted_versions import PersistedVersions
from continuous_training.serving.models.table import ServedModels
from continuous_training.serving.models.trial_fallback import infer_with_fallback
from continuous_training.serving.models.versions import LoadedVersion, ServedModel

log = logging.getLogger(__name__)


class ModelRepository:
    """Serves one version a name, and switches versions so that no request notices.

    Loading is slow and done by one thread at a time; switching is quick and under a lock of its own;
    finding takes no lock. `folder` keeps `models.json` and the unpacked archives, and belongs to this
    repository alone. `threads` is how many one inference may use.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.threads = threads
        self.work_folder = folder / "work"
        # What a killed server left unpacked is of no use: every load unpacks anew.
        shutil.rmtree(self.work_folder, ignore_errors=True)
        self.work_folder.mkdir(parents=True)
        self.persisted = PersistedVersions(folder / "models.json")
        self.unavailable: dict[str, str] = {}
        self.add_pending(self.persisted.records)
        self.active_load: HandlerCall | None = None
        self._table = ServedModels()
        self._loading = threading.Lock()
        self._switching = threading.Lock()

    def infer(
        self, name: str, works: Sequence[InferenceRequest], rows: int = 1, version: str | None = None
    ) -> list[InferenceResult]:
        """Answer requests in batches of up to `rows` rows; see `answer_through` for what each gets."""
        rows = self.max_batch_rows(name, rows)
        return infer_with_fallback(lambda: self.get(name), works, rows, version)

    def max_batch_rows(self, name: str, most: int) -> int:
        """Return `most`, or the model's own bound of a batch when its handler has a smaller one."""
        served = self._table.get(name)
        own = None if served is None else served.model.batch_rows
        return min(most, own or most)

    def add_pending(self, names: Iterable[str]) -> None:
        """Say that these will be loaded: until then they are unavailable, rather than unknown."""
        self.unavailable.update(dict.fromkeys(names, "it is being loaded"))

    def served_models(self) -> dict[str, ServedModel]:
        """Show what is served now, by name."""
        return self._table.all()

    def get(self, name: str) -> ServedModel:
        """Find what is served under a name; ModelNotFoundError lists the names, ModelNotReadyError says why."""
        found = self._table.get(name)
        if found is None and name in self.unavailable:
            raise ModelNotReadyError(f"the model {name!r} is not available: {self.unavailable[name]}")
        if found is None:
            names = ", ".join(sorted(self._table.all())) or "none"
            raise ModelNotFoundError(f"there is no model {name!r} here; served are: {names}")
        return found

    def restore(self) -> None:
        """Load what was confirmed before a restart; what cannot be loaded is logged and left out."""
        for name, record in sorted(self.persisted.records.items()):
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
                self._put(ServedModel(fresh))

    def load(
        self, archive: Path, digest: str, confirm_within: float | None = None, name: str | None = None
    ) -> ServedModel:
        """Serve an archive's model, once it has repeated its golden answers.

        With `confirm_within` seconds it is on probation: the former version is kept beside it, answers
        where the new one fails, and comes back by itself unless `confirm` is called in time. The digest
        that is served already is left alone, on probation its time starts anew (or it is confirmed),
        and the former one is put back. VersionRejectedError or ArchiveError leave everything as it was.
        """
        with self._loading:
            known = self._known(digest, confirm_within)
            if known is not None:
                return known
            fresh = self._load(archive.absolute(), digest, name)
            with self._switching:
                return self._switch(fresh, confirm_within)

    def _load(self, archive: Path, digest: str, name: str | None) -> LoadedVersion:
        self.active_load = HandlerCall(f"loading {archive}")
        try:
            return load_archive(archive, digest, self.work_folder, name, self.threads)
        finally:
            self.active_load = None

    def _known(self, digest: str, confirm_within: float | None) -> ServedModel | None:
        with self._switching:
            for served in self._table.all().values():
                if digest == served.previous_digest and served.previous:
                    return self._put(ServedModel(served.previous))
                if digest != served.digest:
                    continue
                if served.trial_deadline is None:
                    return served
                if confirm_within is None:
                    return self._confirm(served)
                renewed = ServedModel(served.current, served.previous, time.monotonic() + confirm_within)
                return self._put(renewed)
        return None

    def _switch(self, fresh: LoadedVersion, confirm_within: float | None) -> ServedModel:
        present = self._table.get(fresh.name)
        if confirm_within is None:
            self.persisted.put(fresh.name, fresh.archive, fresh.digest)
            return self._put(ServedModel(fresh))
        # A version that is itself on probation has proven nothing: behind it stands the one before.
        former = None
        if present is not None:
            former = present.current if present.trial_deadline is None else present.previous
        return self._put(ServedModel(fresh, former, time.monotonic() + confirm_within))

    def confirm(self, name: str, digest: str) -> ServedModel:
        """Make a version on probation permanent; VersionRejectedError when it is not served any more."""
        with self._switching:
            served = self._table.get(name)
            if served is None or served.digest != digest:
                raise VersionRejectedError(
                    f"{name} {digest[:12]} is not served (any more), so it cannot be confirmed"
                )
            if served.trial_deadline is None:
                return served
            if served.trial_deadline <= time.monotonic():
                raise VersionRejectedError(
                    f"{name} {digest[:12]} was not confirmed in time and is being withdrawn"
                )
            return self._confirm(served)

    def _confirm(self, served: ServedModel) -> ServedModel:
        # On disk first: a crash between the two then restarts with the version that was confirmed.
        self.persisted.put(served.name, served.archive, served.digest)
        return self._put(ServedModel(served.current))

    def revert(self, name: str, digest: str) -> ServedModel | None:
        """Put the former version back, or serve the name no longer when there was none.

        Nothing happens when `digest` is not what is served; VersionRejectedError when it is confirmed.
        """
        with self._switching:
            served = self._table.get(name)
            if served is None or served.digest != digest:
                return served
            if served.trial_deadline is None:
                raise VersionRejectedError(
                    f"{name} {digest[:12]} is confirmed; load the version to go back to"
                )
            return self._withdraw(served)

    def unload(self, name: str) -> None:
        """Serve a name no longer, now and after a restart."""
        with self._switching:
            if self._table.get(name) is None and name not in self.persisted.records:
                raise ModelNotFoundError(f"there is no model {name!r} here to unload")
            self.persisted.remove(name)
            self.unavailable.pop(name, None)
            self._table.drop(name)

    def revert_expired_trials(self) -> list[str]:
        """Put back what was not confirmed in time, and name it; called every moment by the server."""
        now = time.monotonic()
        late = [
            s for s in self._table.all().values() if s.trial_deadline is not None and s.trial_deadline <= now
        ]
        expired = []
        for served in late:
            with self._switching:
                if self._table.get(served.name) is served:
                    self._withdraw(served)
                    expired.append(served.name)
                    log.warning("%s %s was not confirmed in time", served.name, served.current.version)
        return expired

    def _withdraw(self, served: ServedModel) -> ServedModel | None:
        if served.previous:
            return self._put(ServedModel(served.previous))
        self._table.drop(served.name)
        return None

    def _put(self, served: ServedModel) -> ServedModel:
        if served.trial_deadline is None:
            self.unavailable.pop(served.name, None)
        return self._table.put(served)

    def close(self) -> None:
        """Free every model; nothing is served any more."""
        with self._switching:
            for name in self._table.all():
                self._table.drop(name)
        shutil.rmtree(self.work_folder, ignore_errors=True)
