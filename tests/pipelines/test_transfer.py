"""Transfers: the target evaluates the version itself, and an interrupted transfer is completed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import workloads
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import FolderStore, open_store
from continuous_training.adapters.stored_archive import archive_problem
from continuous_training.core.settings import local_registry_uri
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from pipelines import approve, history, trace
from pipelines.transfer.__main__ import main
from tests.components.killed_run import RunEnvironment
from tests.fakes import free_port
from tests.registry import run_registry
from tests.s3 import ACCESS, Bucket

from .champions import run_command, run_json
from .killed_transfer import transfer_in_process
from .transfer_environments import (
    MEDIUM,
    STRONG,
    WEAK,
    TestEnvironment,
    open_environment,
    prepare_rows,
    write_workload,
)


@pytest.fixture(scope="module")
def prod_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with run_registry(tmp_path_factory.mktemp("prod-registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def server_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state directory of prod, whose model server runs during all tests."""
    folder = tmp_path_factory.mktemp("prod-state")
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


@pytest.fixture
def workload(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a workload that only this test uses."""
    folders = [str(Path(__file__).parents[1] / "components" / "workloads"), str(tmp_path / "workloads")]
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, *folders])
    name = f"transfer{name}"
    write_workload(tmp_path / "workloads", name)
    return name


@pytest.fixture
def dev(workload: str, registry: Registry, tmp_path: Path) -> TestEnvironment:
    store = str(tmp_path / "dev-store")
    return open_environment(
        workload, registry.uri, store, registry, FolderStore(Path(store)), tmp_path / "dev"
    )


@pytest.fixture
def prod(
    workload: str,
    prod_registry: Registry,
    server_state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TestEnvironment]:
    """An environment whose endpoint is that of the environment variables."""
    monkeypatch.setenv("CT_STATE", str(server_state))
    store = str(tmp_path / "prod-store")
    yield open_environment(
        workload, prod_registry.uri, store, prod_registry, FolderStore(Path(store)), tmp_path / "prod"
    )
    for folder in (server_state / "runs").glob(f"{workload}-*"):
        shutil.rmtree(folder)


def arguments(dev: TestEnvironment, prod: TestEnvironment, *options: str) -> tuple[str, ...]:
    return ("--workload", dev.name, *dev.options("from"), *prod.options("to"), *options)


def served_digest(state: Path, name: str) -> str | None:
    return LocalTarget(state).served_digest(name)


Transfer = Callable[..., dict[str, Any]]


@pytest.fixture
def transfer(dev: TestEnvironment, prod: TestEnvironment, capsys: pytest.CaptureFixture[str]) -> Transfer:
    """Run the command from dev to prod with --json."""

    def run(*options: str, expect: int = 0) -> dict[str, Any]:
        return run_json(main, capsys, *arguments(dev, prod, *options), expect=expect)

    return run


def test_a_first_version_is_served_and_a_repeated_transfer_is_unchanged(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    digest = dev.promote("run-1", STRONG)
    assert transfer("--dry-run")["verdict"] == "planned"
    assert prod.line.store.keys("") == []

    result = transfer()
    assert (result["verdict"], result["digest"], result["evaluated_on"]) == ("promoted", digest, None)
    assert result["to"] == {"environment": prod.uri, "version": "1", "champion_before": None}
    assert any("not evaluated on data of the target" in reason for reason in result["reasons"])
    assert prod.champion() == served_digest(server_state, dev.name) == digest
    version = prod.registry.champion(dev.name)
    assert version is not None
    assert archive_problem(prod.line.store, version.archive, digest) is None
    source = dev.registry.champion(dev.name)
    assert source is not None
    assert version.tags == {
        **source.tags,
        "pipeline_run": result["run"],
        "transferred_from": dev.uri,
        "transferred_version": "1",
    }
    assert find(prod.line.store, dev.name).digest == digest
    record = prod.history.run(result["run"])
    assert record is not None
    assert (record.verdict, record.metrics["accuracy"].value) == ("promoted", 1.0)
    assert f"version 1 ({digest[:12]}) of {dev.uri}" in str(record.trigger)

    trail = prod.registry.alias_history(dev.name)
    assert transfer()["verdict"] == "unchanged"
    assert prod.registry.alias_history(dev.name) == trail


def test_the_target_promotes_a_better_version_on_its_own_holdout(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    digest = dev.promote("run-1", STRONG)
    prod.promote("run-1", WEAK)
    rows = prepare_rows(server_state, dev.name, source="made:600")
    result = transfer()
    assert (result["verdict"], result["to"]["champion_before"]) == ("promoted", "1")
    assert str(rows) in result["evaluated_on"]
    assert prod.champion() == served_digest(server_state, dev.name) == digest
    record = prod.history.run(result["run"])
    assert record is not None
    assert record.champion is not None
    assert record.champion.version == "1"
    assert record.difference is not None
    assert record.difference.low > 0


def test_the_gate_of_the_target_rejects_a_worse_version(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    digest, champion = dev.promote("run-1", WEAK), prod.promote("run-1", STRONG)
    prepare_rows(server_state, dev.name)
    aliases, trail = prod.registry.aliases(dev.name), prod.registry.alias_history(dev.name)
    for _ in range(2):
        result = transfer(expect=3)
        assert (result["verdict"], result["digest"]) == ("rejected", digest)
        assert (prod.registry.aliases(dev.name), prod.registry.alias_history(dev.name)) == (aliases, trail)
        assert (prod.champion(), served_digest(server_state, dev.name)) == (champion, None)
        record = prod.history.run(result["run"])
        assert record is not None
        assert record.verdict == "rejected"
    archived = prod.registry.find(dev.name, digest)
    assert archived is not None
    assert archive_problem(prod.line.store, archived.archive, digest) is None
    assert len(prod.registry.versions(dev.name)) == 2
    # A run in the target on the same data is not skipped because of the rejected transfer.
    assert prod.history.find_processed(archived.tags["recipe"]) is None


def test_a_version_that_was_rejected_before_is_evaluated_again(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer, capsys: Any
) -> None:
    digest = dev.promote("run-1", WEAK)
    prod.promote("run-1", STRONG)
    rows = prepare_rows(server_state, dev.name)
    assert transfer(expect=3)["verdict"] == "rejected"
    prod.registry.remove_alias(dev.name, CHAMPION)
    body = {"name": dev.name, "key": "retired_champion", "value": "1"}
    prod.registry.post("registered-models/set-tag", body)
    result = transfer("--to-data", str(rows))
    assert (result["verdict"], result["to"]["version"]) == ("promoted", "2")
    assert prod.champion() == digest
    prod_options = {"MLFLOW_TRACKING_URI": prod.uri, "CT_STORE": prod.store_uri}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in prod_options.items():
            patch.setenv(key, value)
        traced = run_json(trace.main, capsys, digest)
        events = run_json(history.main, capsys, "--workload", dev.name)["events"]
    assert (traced["run"], traced["data"]["source"]) == (result["run"], "made:400")
    assert traced["reasons"] == result["reasons"]
    assert [event["kind"] for event in events] == ["promoted", "rejected", "by hand", "promoted"]
    assert dev.uri in events[-1]["trigger"]["reason"]


def test_a_champion_is_not_replaced_without_rows_to_compare(
    dev: TestEnvironment, prod: TestEnvironment, transfer: Transfer
) -> None:
    dev.promote("run-1", STRONG)
    champion = prod.promote("run-1", WEAK)
    keys = prod.line.store.keys("")
    assert "--to-data" in transfer(expect=2)["reasons"][0]
    assert (prod.champion(), prod.line.store.keys("")) == (champion, keys)


def test_rows_that_the_version_may_have_seen_are_reported(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    dev.promote("run-1", STRONG)
    prepare_rows(server_state, dev.name, test_size="0.5")
    assert any("rows that the challenger may have seen" in reason for reason in transfer()["reasons"])


def test_an_accepted_change_of_an_earlier_run_does_not_apply(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    dev.promote("run-1", WEAK)
    prod.promote("run-1", STRONG)
    prepare_rows(server_state, dev.name, accept="the labels changed")
    result = transfer(expect=3)
    record = prod.history.run(result["run"])
    assert record is not None
    assert record.accepted == ""


def test_a_version_waits_for_the_approval_that_the_target_requires(
    dev: TestEnvironment,
    prod: TestEnvironment,
    server_state: Path,
    transfer: Transfer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digest, champion = dev.promote("run-1", STRONG), prod.promote("run-1", WEAK)
    prepare_rows(server_state, dev.name, approval="required")
    assert transfer(expect=5)["verdict"] == "waiting"
    assert (prod.champion(), served_digest(server_state, dev.name)) == (champion, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", prod.uri)
    monkeypatch.setenv("CT_STORE", prod.store_uri)
    run_command(approve.main, capsys, "--workload", dev.name)
    assert prod.champion() == served_digest(server_state, dev.name) == digest


def test_the_approval_of_the_source_does_not_apply(
    dev: TestEnvironment, prod: TestEnvironment, transfer: Transfer
) -> None:
    digest = dev.promote("run-1", {**STRONG, "approval": "required"})
    assert transfer()["verdict"] == "promoted"
    assert prod.champion() == digest


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_archive_in_the_source_changes_nothing(
    damage: str, dev: TestEnvironment, prod: TestEnvironment, transfer: Transfer
) -> None:
    digest = dev.promote("run-1", STRONG)
    path = Path(dev.store_uri) / "archives" / dev.name / f"{digest}.mar"
    if damage == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    else:
        path.unlink()
    reason = transfer(expect=2)["reasons"][0]
    assert damage in reason
    assert dev.uri in reason
    assert (prod.line.store.keys(""), prod.registry.versions(dev.name)) == ([], [])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--version", "9"), "no version '9'; registered are: 1"),
        (("--to-data", "/nowhere"), "holdout.parquet"),
    ],
)
def test_wrong_input_is_an_error(
    options: tuple[str, ...], text: str, dev: TestEnvironment, prod: TestEnvironment, transfer: Transfer
) -> None:
    dev.promote("run-1", STRONG)
    assert text in transfer(*options, expect=2)["reasons"][0]


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("{folder}", "{folder}", "are the same environment"),
        ("{folder}", "{folder}-2", "there is no registry"),
        ("http://127.0.0.1:1", "{folder}", "--from-store"),
        ("ftp://user:secret@host", "{folder}", "--from ftp://host"),
        ("", "{folder}", "--from is empty"),
    ],
)
def test_wrong_environments_are_an_error(
    source: str, target: str, text: str, workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "state")
    sides = ("--from", source.format(folder=folder), "--to", target.format(folder=folder))
    output, error = run_command(main, capsys, "--workload", workload, *sides, expect=2)
    assert text in error
    assert "secret" not in output + error


def test_buckets_with_credentials_in_their_addresses(
    dev: TestEnvironment,
    prod: TestEnvironment,
    server_state: Path,
    bucket: Bucket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The credentials of both stores, and a password of the registry, are not printed or stored."""
    for side, environment in (("dev", dev), ("prod", prod)):
        uri = bucket.uri.replace("some/prefix", side)
        environment.line.store = open_store(uri, ACCESS)  # type: ignore[assignment]
        environment.store_uri = uri.replace("s3://", f"s3://{ACCESS[0]}:{ACCESS[1]}@")
    dev.uri = dev.uri.replace("http://", "http://ana:the-password@")
    dev.promote("run-1", MEDIUM)
    digest, champion = dev.promote("run-2", STRONG), prod.promote("run-1", WEAK)
    rows = prepare_rows(server_state, dev.name)
    data = open_store(bucket.uri.replace("some/prefix", "data"), ACCESS)
    for path in rows.iterdir():
        data.put_if_absent(path.name, path)
    shutil.rmtree(rows)
    data_uri = bucket.uri.replace("some/prefix", "data").replace("s3://", f"s3://{ACCESS[0]}:{ACCESS[1]}@")

    refused = run_command(main, capsys, *arguments(dev, prod), expect=2)
    assert prod.champion() == champion
    promoted = run_command(main, capsys, *arguments(dev, prod, "--to-data", data_uri))
    assert prod.champion() == served_digest(server_state, dev.name) == digest
    unchanged = run_command(main, capsys, *arguments(dev, prod))
    assert "unchanged" in unchanged[0]
    options = ("--version", "1", "--to-data", data_uri)
    rejected = run_command(main, capsys, *arguments(dev, prod, *options), expect=3)
    assert prod.champion() == digest
    champion_version = prod.registry.champion(dev.name)
    assert champion_version is not None
    stored = [str(champion_version.tags), *(str(record) for record in prod.history.runs())]
    for text in [*refused, *promoted, *unchanged, *rejected, *stored]:
        assert not any(secret in text for secret in (*ACCESS, "the-password"))


def test_two_state_directories(workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dev, prod = tmp_path / "dev", tmp_path / "prod"
    with open_registry(local_registry_uri(dev)) as registry:
        store = FolderStore(dev / "store")
        source = open_environment(workload, str(dev), str(dev / "store"), registry, store, tmp_path / "line")
        digest = source.promote("run-1", STRONG)
    daemon.start(prod, free_port())
    try:
        options = ("--workload", workload, "--from", str(dev), "--to", str(prod))
        output, _ = run_command(main, capsys, *options)
        assert f"promoted: version 1 ({digest[:12]}) of {dev}" in output
        assert "not evaluated on data of the target" in output
        assert served_digest(prod, workload) == digest
        events = run_json(history.main, capsys, "--workload", workload, "--state", str(prod))["events"]
        assert [event["kind"] for event in events] == ["promoted"]
        assert events[0]["trigger"]["reason"] == f"transfer of version 1 ({digest[:12]}) of {dev}"
        assert run_json(main, capsys, *options)["verdict"] == "unchanged"
    finally:
        daemon.stop(prod)


KILL_STEP = 5


def test_transfers_that_are_killed_at_later_and_later_writes_are_completed(
    dev: TestEnvironment, prod: TestEnvironment, server_state: Path, transfer: Transfer
) -> None:
    """Each transfer continues from the state that the one before it left."""
    digest, champion = dev.promote("run-1", STRONG), prod.promote("run-1", WEAK)
    prepare_rows(server_state, dev.name)
    target = RunEnvironment(dev.name, Path(prod.store_uri), prod.uri, server_state)
    kill_at, kills = 1, 0
    while transfer_in_process(target, arguments(dev, prod), workloads.__path__, kill_at):
        kills += 1
        assert prod.champion() in (champion, digest)
        kill_at += KILL_STEP
    assert kills > 3
    assert prod.champion() == served_digest(server_state, dev.name) == digest
    assert prod.registry.aliases(dev.name) == {CHAMPION: "2", PREVIOUS: "1"}
    assert len(prod.registry.versions(dev.name)) == 2
    assert transfer()["verdict"] == "unchanged"
    assert find(prod.line.store, dev.name).digest == digest
