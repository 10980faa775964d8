"""The models that this process serves: loading, switching, reverting and inference."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from continuous_training.core.temporary_files import TemporaryFolder, remove_leftovers
from continuous_training.serving.errors import ModelNotFoundError, ModelNotReadyError, VersionRejectedError
from continuous_training.serving.models.batch_inference import InferenceResult
from continuous_training.serving.models.inference_request import InferenceRequest
from continuous_training.serving.models.inference_watchdog import HandlerCall
from continuous_training.serving.models.loading import load_archive
from continuous_training.serving.models.persisted_versions import PersistedVersion, PersistedVersions
from continuous_training.serving.models.trial_fallback import infer_with_fallback
from continuous_training.serving.models.versions import LoadedVersion, ServedModel, ServedModels

log = logging.getLogger(__name__)


class ModelRepository:
    """Serves one version per model name, and switches versions without failing a request.

    One thread at a time loads, which is slow. Switching is fast and has a separate lock. Lookups need no
    lock. `folder` contains `models.json` and the unpacked archives, and must not be used by another
    repository. `threads` is the number of threads that one inference may use.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.threads = threads
        folder.mkdir(parents=True, exist_ok=True)
        # Remove the files of a killed server: every load unpacks its archive again.
        remove_leftovers(folder, recursive=False)
        shutil.rmtree(folder / "work", ignore_errors=True)  # The folder of earlier versions.
        self._work = TemporaryFolder(folder, "work")
        self.work_folder = self._work.path
        self.persisted = PersistedVersions(folder / "models.json")
        self.unavailable: dict[str, str] = {}
        self.add_pending(self.persisted.versions)
        self.active_load: HandlerCall | None = None
        self._models = ServedModels()
        self._load_lock = threading.Lock()
        self._switch_lock = threading.Lock()

    def infer(
        self,
        name: str,
        requests: Sequence[InferenceRequest],
        max_rows: int = 1,
        version: str | None = None,
    ) -> list[InferenceResult]:
        """Run requests in batches of up to `max_rows` rows. See `infer_with_fallback` for the results."""
        max_rows = self.max_batch_rows(name, max_rows)
        return infer_with_fallback(lambda: self.get(name), requests, max_rows, version)

    def max_batch_rows(self, name: str, limit: int) -> int:
        """Return the batch size of a model's handler, or `limit` if that is smaller or the model has none."""
        served = self._models.get(name)
        batch_rows = None if served is None else served.model.batch_rows
        return min(limit, batch_rows or limit)

    def is_slow(self, name: str) -> bool:
        """Return whether the batches of a model take too long for the event loop's thread."""
        served = self._models.get(name)
        return served is not None and any(version.inference_time.is_slow for version in served.versions())

    def add_pending(self, names: Iterable[str]) -> None:
        """Mark models as not ready until they are loaded. Requests for them get HTTP 503 instead of 404."""
        self.unavailable.update(dict.fromkeys(names, "it is being loaded"))

    def served_models(self) -> dict[str, ServedModel]:
        """Return the served models by name."""
        return self._models.all()

    def get(self, name: str) -> ServedModel:
        """Return a served model. ModelNotReadyError if it is not loaded, ModelNotFoundError if unknown."""
        served = self._models.get(name)
        if served is None and name in self.unavailable:
            raise ModelNotReadyError(f"the model {name!r} is not available: {self.unavailable[name]}")
        if served is None:
            names = ", ".join(sorted(self._models.all())) or "none"
            raise ModelNotFoundError(f"there is no model {name!r} here; the served models are: {names}")
        return served

    def restore(self) -> None:
        """Load the versions that were confirmed before a restart. Log those that cannot be loaded."""
        for name, version in sorted(self.persisted.versions.items()):
            try:
                with self._load_lock:
                    self._restore(name, version)
            except Exception as error:
                log.error("the model %s is not served: %s", name, error)
                self.unavailable[name] = str(error)

    def _restore(self, name: str, version: PersistedVersion) -> None:
        # A deployment may have loaded a version since the server started.
        if self._models.get(name) is None:
            loaded = self._load(version.archive, version.digest, name)
            with self._switch_lock:
                self._put(ServedModel(loaded))

    def load(
        self, archive: Path, digest: str, confirm_within: float | None = None, name: str | None = None
    ) -> ServedModel:
        """Serve the model of an archive after a successful test of its golden requests.

        With `confirm_within` seconds, the version is on trial: the previous version stays loaded, serves the
        requests on which the new one fails, and returns unless `confirm` is called in time. If the digest is
        already served, it is not loaded again; a trial is restarted, or confirmed without `confirm_within`.
        The digest of the previous version reverts the trial. VersionRejectedError and ArchiveError leave the
        served versions unchanged.
        """
        with self._load_lock:
            served = self._reuse_loaded(digest, confirm_within)
            if served is not None:
                return served
            loaded = self._load(archive.absolute(), digest, name)
            with self._switch_lock:
                return self._switch(loaded, confirm_within)

    def _load(self, archive: Path, digest: str, name: str | None) -> LoadedVersion:
        self.active_load = HandlerCall(f"loading {archive}")
        try:
            return load_archive(archive, digest, self.work_folder, name, self.threads)
        finally:
            self.active_load = None

    def _reuse_loaded(self, digest: str, confirm_within: float | None) -> ServedModel | None:
        """Serve a digest that is loaded already; return None if it is not."""
        with self._switch_lock:
            for served in self._models.all().values():
                if digest == served.previous_digest and served.previous:
                    return self._put(ServedModel(served.previous))
                if digest != served.digest:
                    continue
                if served.trial_deadline is None:
                    return served
                if confirm_within is None:
                    return self._confirm(served)
                deadline = time.monotonic() + confirm_within
                return self._put(ServedModel(served.current, served.previous, deadline))
        return None

    def _switch(self, loaded: LoadedVersion, confirm_within: float | None) -> ServedModel:
        replaced = self._models.get(loaded.name)
        if confirm_within is None:
            self.persisted.put(loaded.name, loaded.archive, loaded.digest)
            return self._put(ServedModel(loaded))
        # A version that is itself on trial is no fallback: its previous version stays the fallback.
        previous = None
        if replaced is not None:
            previous = replaced.current if replaced.trial_deadline is None else replaced.previous
        return self._put(ServedModel(loaded, previous, time.monotonic() + confirm_within))

    def confirm(self, name: str, digest: str) -> ServedModel:
        """End the trial of a version by keeping it. VersionRejectedError if it is no longer served."""
        with self._switch_lock:
            served = self._models.get(name)
            if served is None or served.digest != digest:
                raise VersionRejectedError(
                    f"{name} {digest[:12]} is not served (any more), so it cannot be confirmed"
                )
            if served.trial_deadline is None:
                return served
            if served.trial_deadline <= time.monotonic():
                raise VersionRejectedError(
                    f"{name} {digest[:12]} was not confirmed in time and is being reverted"
                )
            return self._confirm(served)

    def _confirm(self, served: ServedModel) -> ServedModel:
        # Write to disk first: after a crash between the two steps, the server restarts with this version.
        self.persisted.put(served.name, served.archive, served.digest)
        return self._put(ServedModel(served.current))

    def revert(self, name: str, digest: str) -> ServedModel | None:
        """End the trial of a version by going back to the previous one, or by unloading the model if none.

        Do nothing if `digest` is not the current version. VersionRejectedError if it is confirmed.
        """
        with self._switch_lock:
            served = self._models.get(name)
            if served is None or served.digest != digest:
                return served
            if served.trial_deadline is None:
                raise VersionRejectedError(
                    f"{name} {digest[:12]} is confirmed; load the version to go back to instead"
                )
            return self._revert(served)

    def unload(self, name: str) -> None:
        """Stop serving a model, also after a restart. ModelNotFoundError if it is unknown."""
        with self._switch_lock:
            if self._models.get(name) is None and name not in self.persisted.versions:
                raise ModelNotFoundError(f"there is no model {name!r} here to unload")
            self.persisted.remove(name)
            self.unavailable.pop(name, None)
            self._models.remove(name)

    def revert_expired_trials(self) -> list[str]:
        """Revert the versions that were not confirmed in time and return their names.

        The server must call this regularly.
        """
        now = time.monotonic()
        names = []
        for served in self._models.all().values():
            if served.trial_deadline is None or served.trial_deadline > now:
                continue
            with self._switch_lock:
                if self._models.get(served.name) is served:
                    self._revert(served)
                    names.append(served.name)
                    log.warning("%s %s was not confirmed in time", served.name, served.current.version)
        return names

    def _revert(self, served: ServedModel) -> ServedModel | None:
        if served.previous:
            return self._put(ServedModel(served.previous))
        self._models.remove(served.name)
        return None

    def _put(self, served: ServedModel) -> ServedModel:
        if served.trial_deadline is None:
            self.unavailable.pop(served.name, None)
        return self._models.put(served)

    def close(self) -> None:
        """Unload all models."""
        with self._switch_lock:
            for name in self._models.all():
                self._models.remove(name)
        self._work.remove()
