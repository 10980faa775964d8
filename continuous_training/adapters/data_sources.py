"""The deprecated function `fetch`, for workloads whose `load` has no parameter `context`.

It works until version 0.4. A context variable contains the step's `Downloader.fetch`, because such a workload
calls `fetch` without the cache folder. All other code calls `Downloader.fetch`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from continuous_training.adapters.downloader import Downloader
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress

_FETCH: ContextVar[Callable[..., Path]] = ContextVar(
    "_FETCH", default=Downloader(Path(".state/cache"), report).fetch
)


@contextmanager
def use_fetch(function: Callable[..., Path]) -> Iterator[None]:
    """Let `fetch` call `function`, a `Downloader.fetch`, during the block."""
    token = _FETCH.set(function)
    try:
        yield
    finally:
        _FETCH.reset(token)


def fetch(
    source: str,
    names: Sequence[str],
    sha256: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return a local path to a data file, with a DeprecationWarning; see `Downloader.fetch`."""
    warnings.warn(
        "fetch() is now context.fetch() in load(source, values, context); the former function works until "
        "version 0.4",
        DeprecationWarning,
        stacklevel=2,
    )
    return _FETCH.get()(source, names, sha256, progress)
