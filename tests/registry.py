"""A local registry whose server runs, for tests that pass its address to other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from continuous_training.adapters.local_registry import LocalRegistry
from continuous_training.adapters.model_registry import Registry


@contextmanager
def run_registry(folder: Path) -> Iterator[Registry]:
    """Run MLflow's server with the database and the artifacts in `folder`. Yields a client of it."""
    with closing(LocalRegistry(folder)) as local:
        local.start()
        yield Registry(local.uri)
