"""A deployer that dies, two at once, and an API server that goes away in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters.kubernetes.resources import LEASE, SERVICE
from components.deploy_serving.objects import CONFIRMED, SERVED
from serving.archive import Archive
from tests.serving.toy_models import make_archive

from .callers import calling
from .place import ROOT, Place


def annotations(place: Place, name: str) -> dict[str, str]:
    service = place.cluster.get(SERVICE, name)
    assert service is not None
    return dict(service["metadata"]["annotations"])


def die_after_the_switch(place: Place, archive: Archive) -> None:
    place.keep(archive)
    command = [sys.executable, "-m", "tests.cluster.deployer", place.namespace, place.settings.store]
    done = subprocess.run(
        [*command, str(archive.path), archive.name, archive.digest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


@pytest.mark.parametrize("same", [True, False], ids=["run-again", "another-version"])
def test_a_deployer_that_died_after_the_switch_is_settled_by_the_next(
    shared: Place, tmp_path: Path, same: bool
) -> None:
    name = f"died-{same}".lower()
    one, two = make_archive(tmp_path, name=name), make_archive(tmp_path, name=name, scale=3)
    third = make_archive(tmp_path, name=name, scale=4)
    shared.deploy(one)
    with calling(shared, name, {"x": [1.0]}) as called:
        die_after_the_switch(shared, two)
        assert shared.answers(two)
        left = annotations(shared, name)
        assert (left[SERVED], left[CONFIRMED]) == (two.digest, one.digest)
        shared.deploy(two if same else third)
    assert called.faults == []
    text = "\n".join(shared.told)
    assert "has not renewed its Lease" in text
    assert f"was cut off with {two.digest[:12]} on trial: {one.digest[:12]} is put back" in text
    now = two if same else third
    assert shared.answers(now)
    assert annotations(shared, name)[CONFIRMED] == now.digest


def test_two_rollouts_at_once_go_one_after_the_other(shared: Place, tmp_path: Path) -> None:
    name = "doubled"
    archives = [make_archive(tmp_path, name=name, scale=scale) for scale in (2, 3)]
    inside, most, lock = 0, 0, threading.Lock()
    done: list[str] = []

    def deploy(archive: Archive) -> None:
        nonlocal inside, most

        def champion() -> None:
            nonlocal inside
            with lock:
                inside -= 1
                done.append(archive.digest)

        target = shared.target()
        begin = target.begin_trial

        def begun(*given: object) -> None:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            begin(*given)  # type: ignore[arg-type]

        target.begin_trial = begun  # type: ignore[method-assign]
        shared.deploy(archive, champion, target)

    threads = [threading.Thread(target=deploy, args=(archive,)) for archive in archives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert (most, sorted(done)) == (1, sorted(archive.digest for archive in archives))
    assert f"waiting for another rollout of {name}" in "\n".join(shared.told)
    assert annotations(shared, name)[CONFIRMED] == done[-1]
    assert shared.target().served(name) == done[-1]
    lease = shared.cluster.get(LEASE, name)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
