"""Two runs of one workload at the same time, as processes: the second one is evaluated again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.settings import Settings
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from tests.fakes import free_port

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "components"
WAITING = "waiting for another rollout of fence"


def start(state, fence):
    """Start a run. Its standard error can be read line by line."""
    path = os.pathsep.join([str(TOYS), str(ROOT)])
    arguments = ["--workload", "fence", "--state", str(state), "--set", f"fence={fence}", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def wait_for_line(process, text):
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the run ended without the line {text!r}")


def result(process):
    output, error = process.communicate(timeout=120)
    assert output, error
    return process.returncode, json.loads(output)


@pytest.mark.parametrize(("slow", "code", "verdict"), [("50", 0, "promoted"), ("70", 3, "rejected")])
def test_the_second_run_is_evaluated_again_against_the_new_champion(tmp_path, slow, code, verdict):
    """Both are evaluated without a champion, then wait for the lock of rollouts. `slow` gets it last."""
    fast = {"50": "70", "70": "50"}[slow]
    daemon.start(tmp_path, free_port())
    first = second = None
    try:
        with LocalTarget(tmp_path).rollout_lock("fence", print):
            first, second = start(tmp_path, fast), start(tmp_path, slow)
            wait_for_line(first, WAITING)
            wait_for_line(second, WAITING)
            os.killpg(second.pid, signal.SIGSTOP)
        ended = result(first)
        os.killpg(second.pid, signal.SIGCONT)
        assert (ended[0], ended[1]["verdict"]) == (0, "promoted")
        returned, loser = result(second)
        assert (returned, loser["verdict"]) == (code, verdict), loser
        assert any("evaluated again" in reason for reason in loser["reasons"])
        assert "evaluated again" in Path(loser["report"]).read_text()
        best = loser if verdict == "promoted" else ended[1]
        settings = Settings.from_environment({}, tmp_path)
        with open_registry(*settings.registry_access) as registry:
            champion = registry.champion("fence")
            assert champion is not None
            assert champion.digest == best["digest"] == LocalTarget(tmp_path).served_digest("fence")
            promoted = [move.to_version for move in registry.alias_history("fence") if move.alias == CHAMPION]
            assert promoted[-1] == champion.version
            assert len(promoted) == (2 if verdict == "promoted" else 1)
        assert len(RunHistory(open_store(settings.store), "fence").runs()) == 2
    finally:
        for process in (first, second):
            if process and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        daemon.stop(tmp_path)


def test_two_runs_with_the_same_inputs_create_one_version(tmp_path):
    """The same rows and parameters produce the same archive."""
    daemon.start(tmp_path, free_port())
    try:
        processes = [start(tmp_path, "50") for _ in range(2)]
        ended = [result(process) for process in processes]
        assert [code for code, _ in ended] == [0, 0]
        assert {outcome["verdict"] for _, outcome in ended} <= {"promoted", "unchanged"}
        settings = Settings.from_environment({}, tmp_path)
        with open_registry(*settings.registry_access) as registry:
            assert [version.version for version in registry.versions("fence")] == ["1"]
            assert registry.aliases("fence") == {CHAMPION: "1"}
    finally:
        daemon.stop(tmp_path)
