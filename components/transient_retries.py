"""Retries of a step inside its own process.

Kubeflow Pipelines 2.17 configures Argo to retry only pods that were deleted or evicted. A step whose process
exits with an error is not retried, for any number of retries.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from continuous_training.core.errors import (
    DiskFullError,
    PipelineError,
    StepTimeoutError,
    TransientError,
    as_pipeline_error,
)
from continuous_training.core.progress import Progress

Result = TypeVar("Result")


def with_retries(action: Callable[[], Result], retries: int, backoff: float, progress: Progress) -> Result:
    """Return the result of `action`. After a TransientError, call it again, at most `retries` times.

    `backoff` is the number of seconds before the first retry, doubled before each further one. A full disk
    does not become free by waiting, so it is not retried. The step's timeout limits all tries together, and
    the error that reports its end is not retried either.
    """
    for attempt in range(retries):
        try:
            return action()
        except (PipelineError, OSError) as error:
            failure = as_pipeline_error(error)
            is_final = isinstance(failure, DiskFullError | StepTimeoutError)
            if is_final or not isinstance(failure, TransientError):
                raise
            seconds = backoff * 2**attempt
            progress(f"{failure}; retry {attempt + 1} of {retries} in {seconds:g} s")
        time.sleep(seconds)
    return action()
