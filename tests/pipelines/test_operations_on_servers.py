"""The same verbs on a registry server and a bucket, as the environment names them."""

from __future__ import annotations

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.serving.process import daemon
from pipelines import history, prune, rollback, status, trace
from tests.s3 import ACCESS

from . import champions
from .champions import NAME, State, call, told

ASK = ("--workload", NAME)


@pytest.fixture
def state(tmp_path_factory, bucket, monkeypatch):
    """The champion line with its store in a bucket; the store's folder is gone."""
    with champions.state(tmp_path_factory, "servers") as opened:
        folder, there = open_store(str(opened.folder / "store")), open_store(bucket.uri, ACCESS)
        for key in folder.keys(""):
            there.put_if_absent(key, folder.fetch(key, opened.folder))
        (opened.folder / "store").rename(opened.folder / "elsewhere")
        for key, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ACCESS, strict=True):
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("CT_STORE", bucket.uri)
        daemon.start(opened.folder)
        yield opened


def test_all_verbs_on_a_registry_server_and_a_bucket(state: State, capsys):
    one, two, three = state.digests
    found = told(trace.main, capsys, two[:12])
    assert (found["version"], found["archive"]["intact"]) == ("2", True)
    assert found["data"]["rows"] == {"train": 220, "holdout": 222}

    row = told(status.main, capsys)["workloads"][0]
    assert (row["agree"], row["champion"]["version"], row["champion"]["archive"]["intact"]) == (
        True,
        "3",
        True,
    )

    assert told(rollback.main, capsys, *ASK, "--dry-run")["to"]["digest"] == two
    assert told(rollback.main, capsys, *ASK)["verdict"] == "rolled back"
    assert (state.served(), state.aliases[CHAMPION]) == (two, "2")
    events = told(history.main, capsys, *ASK)["events"]
    assert [event["kind"] for event in events][-2:] == ["promoted", "rollback"]
    assert told(rollback.main, capsys, *ASK, "--to", "3")["to"]["digest"] == three

    assert told(prune.main, capsys, "--keep", "1")["archives"] == 1
    assert told(trace.main, capsys, one)["archive"]["pruned"]
    assert told(trace.main, capsys, two)["archive"]["intact"] is True


def test_what_mends_a_disagreement_is_asked_of_the_same_servers(state: State, capsys):
    """A --state in it would mean the folder's own registry and store."""
    state.registry.point(NAME, CHAMPION, "2", "by a test", "no run")
    mend = told(status.main, capsys)["workloads"][0]["mend"]
    assert mend == f"python -m pipelines.rollback --workload {NAME} --to 2"
    assert rollback.main(mend.split()[3:]) == 0
    assert told(status.main, capsys)["workloads"][0]["agree"] is True


def test_without_the_registry_it_is_told_what_is_served(state: State, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = told(status.main, capsys, expect=75)
    row = found["workloads"][0]
    assert "cannot be reached" in found["registry"]["trouble"]
    assert (row["served"]["digest"], row["agree"], row["champion"]) == (state.digests[2], None, None)
    out, _ = call(status.main, capsys, expect=75)
    assert "what the registry says is missing here" in out
    _, said = call(rollback.main, capsys, *ASK, expect=75)
    assert "cannot be reached" in said
    assert state.served() == state.digests[2]
