"""A rollout that kills its own process after the switch, before the champion alias moves.

Usage: python -m tests.cluster.killed_rollout NAMESPACE STORE ARCHIVE NAME DIGEST
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.object_store import open_store
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.kubernetes.target import KubernetesTarget
from tests.s3 import ACCESS

from .cluster_namespace import TEST_LEASE_SECONDS, serving_settings


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    namespace, uri, archive, name, digest = sys.argv[1:]
    settings = serving_settings(namespace, uri)
    cluster = connect(namespace, settings.kubeconfig, progress=print)
    target = KubernetesTarget(cluster, settings, open_store(uri, ACCESS), print, ModelServer(settings))
    target.lease_seconds = TEST_LEASE_SECONDS
    with target.rollout_lock(name, print):
        roll_out(target, name, Path(archive), digest, kill_this_process, print)


if __name__ == "__main__":
    main()
