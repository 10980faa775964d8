"""The champion as the gate needs it: its version, and its model loaded from its own archive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import UserError
from adapters.object_store import ObjectStore
from adapters.registry import Registry, Version
from serving import archive
from serving.model import Model, load_model


@dataclass(frozen=True)
class Champion:
    """The served version and the model inside its archive."""

    version: Version
    model: Model


@contextmanager
def open_champion(registry: Registry, store: ObjectStore, workload: str) -> Iterator[Champion | None]:
    """Yield the champion, or None before the first promotion.

    Raises UserError when there is one and its archive cannot be read: then nothing can be judged, and
    what is served stays.
    """
    version = registry.champion(workload)
    if version is None:
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
                f"judged against it and none is promoted: {error}. Put its archive back, or take the alias "
                "champion away to judge by the floors alone"
            ) from error
        try:
            yield Champion(version, model)
        finally:
            model.unload()
