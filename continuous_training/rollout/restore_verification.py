"""Verification that the previous version is served again after a failed rollout."""

from __future__ import annotations

from math import ceil

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UnsettledError
from continuous_training.rollout.golden_verification import describe_failures
from continuous_training.rollout.target_interface import DeploymentTarget

RESTORED_RESPONSES = 50
"""The number of responses through the endpoint, at least. Of a version that still receives a fifth of the
traffic, so many responses contain one in all but 1 of 70,000 cases."""


def describe_restored(
    target: DeploymentTarget, name: str, previous: str | None, golden: GoldenSet | None
) -> str:
    """Return a description of the endpoint after the verification of the previous version.

    All servers of the version are ready, each of them answers the golden requests, and so do many requests
    through the endpoint. Raises PipelineError otherwise.
    """
    served = target.served_digest(name)
    if served != previous:
        raise UnsettledError(f"the endpoint now serves {short(served)}, not {short(previous)}")
    if previous is None:
        return "nothing was served before, and nothing is served now"
    golden = golden or target.served_golden_requests(name)
    target.verify_complete(name, previous)
    for _ in range(ceil(RESTORED_RESPONSES / max(len(golden), 1))):
        if failures := golden.check(lambda request: target.predict(name, request, previous)):
            raise UnsettledError(f"it is served again, but {describe_failures(failures)}")
    return f"the previous version {short(previous)} answers again, as before"


def short(digest: str | None) -> str:
    """Return the first twelve digits of a digest, as messages contain them."""
    return digest[:12] if digest else "nothing"
