"""Workloads whose `load` was written without the parameter `context`. They work until version 0.4."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator

from continuous_training.adapters.data_sources import use_fetch
from continuous_training.core.run_parameters import Values

from .columns import Rows
from .contract import LoadContext, Workload


def load_rows(workload: Workload, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
    """Yield the rows of the workload's `load`. `context` is omitted if the method has no parameter for it."""
    signature = inspect.signature(workload.load)
    try:
        signature.bind(source, values, context)
    except TypeError:
        warnings.warn(
            f"{type(workload).__module__}: load(source, values) is now load(source, values, context); the "
            "former signature works until version 0.4",
            DeprecationWarning,
            stacklevel=2,
        )
        with use_fetch(context.fetch):
            yield from workload.load(source, values)  # type: ignore[call-arg]
    else:
        yield from workload.load(source, values, context)
