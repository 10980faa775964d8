"""Rollouts on KServe and the checks of their results."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import (
    RolloutReverted,
)
from continuous_training.rollout.kserve.inference_service import (
    INFERENCE_SERVICE,
    PREVIOUS_MANIFEST_ANNOTATION,
)
from continuous_training.rollout.kubernetes.readiness import label_selector
from continuous_training.rollout.kubernetes.serving_objects import MODEL_LABEL, Manifest

from .kserve_namespace import KServeNamespace

REQUEST = {"x": [1.0]}


def get_service(namespace: KServeNamespace, name: str) -> Manifest:
    """Return an InferenceService that must exist."""
    service = namespace.service(name)
    assert service is not None
    return service


def find_trials(namespace: KServeNamespace, model: str) -> list[Manifest]:
    """Return the trials of a model that are not being deleted."""
    return [
        service
        for service in namespace.cluster.find(INFERENCE_SERVICE, label_selector({MODEL_LABEL: model}))
        if PREVIOUS_MANIFEST_ANNOTATION in service["metadata"]["annotations"]
        and "deletionTimestamp" not in service["metadata"]
    ]


def failed_rollout(namespace: KServeNamespace, archive: Archive, previous: Archive, **changes: object) -> str:
    """Deploy an archive that must fail; return the error message after the check of the previous state."""
    with pytest.raises(RolloutReverted) as raised:
        namespace.deploy(archive, pytest.fail, **changes)
    message = str(raised.value)
    print(message)
    check_served(namespace, previous)
    assert f"the previous version {previous.digest[:12]} answers again, as before" in message
    return message


def check_served(namespace: KServeNamespace, archive: Archive) -> None:
    """Assert that the version is served and that no trial is left."""
    assert namespace.serves(archive)
    assert namespace.target().served_digest(archive.name) == archive.digest
    assert not find_trials(namespace, archive.name)


@contextmanager
def requests_in_background(namespace: KServeNamespace, archive: Archive) -> Iterator[list[str]]:
    """Send requests during the block; yield the list of failed requests."""
    target, errors, stop = namespace.target(), list[str](), threading.Event()
    address = f"http://{archive.name}-predictor.{namespace.name}.svc"

    def send_requests() -> None:
        while not stop.is_set():
            response = target.client.post(address, f"/predict/{archive.name}", REQUEST)
            if response.status != 200:
                errors.append(f"{response.status} {response.body!r}")

    thread = threading.Thread(target=send_requests)
    thread.start()
    try:
        yield errors
    finally:
        stop.set()
        thread.join()


def interrupt_rollout(namespace: KServeNamespace, archive: Archive) -> None:
    """Begin a trial and do not end it."""
    namespace.store_archive(archive)
    target = namespace.target()
    with target.rollout_lock(archive.name, namespace.progress):
        target.begin_trial(archive.name, archive.path, archive.digest)
