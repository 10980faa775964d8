"""A deployer that dies, two at once, and an API server that goes away in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import LEASE, SERVICE
from continuous_training.artifacts.archive import Archive
from continuous_training.rollout.kubernetes.manifests import CONFIRMED_ANNOTATION, SERVED_ANNOTATION
from tests.continuous_training.serving.toy_models import make_archive

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


def test_a_deployer_that_died_after_the_switch_is_settled_when_it_is_run_again(
    shared: Place, tmp_path: Path
) -> None:
    one, two = make_archive(tmp_path, name="died"), make_archive(tmp_path, name="died", scale=3)
    shared.deploy(one)
    with calling(shared, "died", {"x": [1.0]}) as called:
        die_after_the_switch(shared, two)
        assert shared.answers(two)
        left = annotations(shared, "died")
        assert (left[SERVED_ANNOTATION], left[CONFIRMED_ANNOTATION]) == (two.digest, one.digest)
        shared.deploy(two)
    assert called.faults == []
    assert {*called.answered} == {one.digest, two.digest}
    text = "\n".join(shared.told)
    assert "has not renewed its Lease of died" in text
    assert f"was cut off with {two.digest[:12]} on trial: {one.digest[:12]} is put back" in text
    assert shared.answers(two)
    assert annotations(shared, "died")[CONFIRMED_ANNOTATION] == two.digest


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
    assert annotations(shared, name)[CONFIRMED_ANNOTATION] == done[-1]
    assert shared.target().served_digest(name) == done[-1]
    lease = shared.cluster.get(LEASE, name)
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


class ApiServer:
    """The API server of a local-cluster, which alone may be killed: its process, and how it was started."""

    pid_file = Path("/var/lib/local-cluster/apiserver.pid")
    log = Path.home() / ".cache/local-cluster/log/apiserver.log"

    def __init__(self) -> None:
        self.pid = int(self.pid_file.read_text())
        self.command = Path(f"/proc/{self.pid}/cmdline").read_text().rstrip("\0").split("\0")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def start(self) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        self.pid_file.write_text(f"{process.pid}\n")


@pytest.fixture
def api_server(shared: Place) -> ApiServer:
    if not ApiServer.pid_file.is_file() or "127.0.0.1:6443" not in shared.cluster.transport.host:
        pytest.skip("the cluster is no local-cluster, whose API server may be killed")
    return ApiServer()


def test_the_api_server_goes_away_in_the_middle_and_comes_back(
    shared: Place, tmp_path: Path, api_server: ApiServer
) -> None:
    one, two = make_archive(tmp_path, name="away"), make_archive(tmp_path, name="away", scale=3)
    shared.deploy(one)
    back = threading.Timer(8, api_server.start)

    def tell(line: str) -> None:
        print(line)
        if "waiting for away-" in line and not back.is_alive():
            api_server.kill()
            back.start()

    target = shared.target()
    target.progress = tell
    try:
        with calling(shared, "away", {"x": [1.0]}) as called:
            shared.deploy(two, target=target)
            shared.wait_until_gone(one)
    finally:
        if back.ident is not None:
            back.join()
    assert back.ident is not None, "the server was killed"
    # For some seconds after such an outage the node's own service proxy may know no way to a Service whose
    # pods are well all the time (seen: its watch of EndpointSlices came back 28 s after the API server). No
    # deployer can help that; every request that arrived was answered.
    assert [fault for fault in called.faults if "No route to host" not in fault] == []
    assert {*called.answered} == {one.digest, two.digest}
    assert annotations(shared, "away")[CONFIRMED_ANNOTATION] == two.digest
