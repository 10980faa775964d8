"""The operations with a registry server and a bucket, which the environment names."""

from __future__ import annotations

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.serving.process import daemon
from pipelines import history, prune, rollback, status, trace
from tests.s3 import ACCESS

from . import champions
from .champions import NAME, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture
def state(tmp_path_factory, bucket, monkeypatch):
    """The state with three promotions and its store in a bucket instead of a folder."""
    with champions.copy_state(tmp_path_factory, "servers", run_server=True) as opened:
        folder, store = open_store(str(opened.folder / "store")), open_store(bucket.uri, ACCESS)
        for key in folder.keys(""):
            store.put_if_absent(key, folder.fetch(key, opened.folder))
        (opened.folder / "store").rename(opened.folder / "elsewhere")
        for key, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("CT_STORE", bucket.uri)
        daemon.start(opened.folder)
        yield opened


def test_all_operations_use_the_registry_server_and_the_bucket(state: ChampionState, capsys):
    one, two, three = state.digests
    result = run_json(trace.main, capsys, two[:12])
    assert (result["version"], result["archive"]["intact"]) == ("2", True)
    assert result["data"]["rows"] == {"train": 220, "holdout": 222}

    row = run_json(status.main, capsys)["workloads"][0]
    assert (row["agree"], row["champion"]["version"], row["champion"]["archive"]["intact"]) == (
        True,
        "3",
        True,
    )

    assert run_json(rollback.main, capsys, *WORKLOAD, "--dry-run")["to"]["digest"] == two
    assert run_json(rollback.main, capsys, *WORKLOAD)["verdict"] == "rolled back"
    assert (state.served_digest(), state.aliases[CHAMPION]) == (two, "2")
    events = run_json(history.main, capsys, *WORKLOAD)["events"]
    assert [event["kind"] for event in events][-2:] == ["promoted", "rollback"]
    assert run_json(rollback.main, capsys, *WORKLOAD, "--to", "3")["to"]["digest"] == three

    assert run_json(prune.main, capsys, "--keep", "1")["archives"] == 1
    assert run_json(trace.main, capsys, one)["archive"]["pruned"]
    assert run_json(trace.main, capsys, two)["archive"]["intact"] is True


def test_the_remedy_of_a_disagreement_uses_the_same_servers(state: ChampionState, capsys):
    """With --state, the command would use the registry and the store of the state directory."""
    state.registry.move_alias(NAME, CHAMPION, "2", "by a test", "no run")
    remedy = run_json(status.main, capsys)["workloads"][0]["mend"]
    assert remedy == f"python -m pipelines.rollback --workload {NAME} --to 2"
    assert rollback.main(remedy.split()[3:]) == 0
    assert run_json(status.main, capsys)["workloads"][0]["agree"] is True


def test_status_shows_the_served_version_without_the_registry(state: ChampionState, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = run_json(status.main, capsys, expect=75)
    row = result["workloads"][0]
    assert "cannot be reached" in result["registry"]["trouble"]
    assert (row["served"]["digest"], row["agree"], row["champion"]) == (state.digests[2], None, None)
    out, _ = run_command(status.main, capsys, expect=75)
    assert "the content of the registry is missing here" in out
    _, error = run_command(rollback.main, capsys, *WORKLOAD, expect=75)
    assert "cannot be reached" in error
    assert state.served_digest() == state.digests[2]
