"""The champion as the gate needs it: its version, and its model loaded from its own archive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts import archive
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import Model, load_model


@dataclass(frozen=True)
class Champion:
    """The served version and the model inside its archive."""

    version: ModelVersion
    model: Model


def _check_registry(registry: Registry, records: RunHistory, workload: str) -> None:
    """Return when there never was a champion, or its alias was taken away; UserError for a lost registry.

    By the floors alone, a worse model could take the place of what is served.
    """
    promoted = [record for record in records.runs() if record["verdict"] == "promoted"]
    if promoted and not registry.versions(workload):
        last = promoted[-1]
        raise UserError(
            f"the registry {registry.uri} knows no version of {workload}, but version {last['version']} "
            f"({str(last['digest'])[:12]}) was promoted by run {last['run']}, as the records in the object "
            "store say: the registry was lost, or it is another one. Nothing is judged, what is served "
            f"stays. Restore the registry; or, to begin anew, remove {records.prefix} from the object store"
        )


@contextmanager
def open_champion(registry: Registry, store: ObjectStore, workload: str) -> Iterator[Champion | None]:
    """Yield the champion, or None before the first promotion.

    Raises UserError when there is one and its archive cannot be read, or when there was one in a registry
    that is lost: then nothing can be judged, and what is served stays.
    """
    version = registry.champion(workload)
    if version is None:
        _check_registry(registry, RunHistory(store, workload), workload)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="champion-") as folder:
        try:
            path = store.fetch(version.archive, Path(folder))
            archive.unpack(path, Path(folder) / "model", version.digest)
            model = load_model(Path(folder) / "model")
        except UserError as error:
            raise UserError(
                f"champion version {version.version} of {workload} cannot be loaded, so no challenger can be "
                f"judged against it and none is promoted: {error}. Put its archive back (where the endpoint "
                f"still holds the same bytes, python -m pipelines.rollback --workload {workload} "
                f"--to {version.version} does), or take the alias champion away to judge by the floors alone"
            ) from error
        try:
            yield Champion(version, model)
        finally:
            model.unload()
