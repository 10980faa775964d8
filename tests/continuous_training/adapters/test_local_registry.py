"""The local registry: it starts an MLflow server when needed and stops it at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from continuous_training.adapters import local_registry, registry_backup, sqlite_check
from continuous_training.adapters import mlflow_rest as module
from continuous_training.adapters.local_registry import LocalRegistry, open_registry
from continuous_training.adapters.model_registry import Registry
from continuous_training.core.errors import TransientError, UserError

ROOT = Path(__file__).parents[3]

PARENT = """
import sys, time
from pathlib import Path
from continuous_training.adapters.local_registry import LocalRegistry
from continuous_training.adapters.model_registry import Registry

local = LocalRegistry(Path(sys.argv[1]))
local.start()
assert Registry(local.uri).champion("any") is None
print(local.process.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Return whether the process runs. A zombie process does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
    try:
        assert alive(server)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 30
        while alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(server)
    finally:
        if alive(server):
            os.kill(server, signal.SIGKILL)


def test_data_persists_and_an_early_client_waits_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_registry("sqlite:///registry/mlflow.db") as registry:
        run = registry.run("any", "run-1")
        registry.log_file(run, "a.txt", b"a")
    assert {"artifacts", "mlflow.db", "server.log"} <= {p.name for p in (tmp_path / "registry").iterdir()}
    local = LocalRegistry(tmp_path / "registry")
    try:
        with socket.create_connection(("127.0.0.1", int(local.uri.rpartition(":")[2])), timeout=60) as early:
            early.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            local.start()
            local.start()
            assert early.recv(1000).startswith(b"HTTP/1.1 200")
        assert Registry(local.uri).run("any", "run-1") == run
    finally:
        local.close()
    local.close()


def test_an_unused_registry_creates_no_files(tmp_path: Path) -> None:
    LocalRegistry(tmp_path / "mlflow").close()
    assert not (tmp_path / "mlflow").exists()


def test_a_server_that_exits_at_start_raises_a_transient_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    monkeypatch.setattr(local_registry.sys, "executable", "false")
    with (
        open_registry(f"sqlite:///{tmp_path}/mlflow.db") as registry,
        pytest.raises(TransientError, match=r"check that it is running"),
    ):
        registry.champion("any")


def create_database(folder: Path) -> Path:
    """Create a database that contains an experiment."""
    with open_registry(f"sqlite:///{folder}/mlflow.db") as registry:
        registry.run("any", "run-1")
    return folder / "mlflow.db"


def has_datasets(database: Path) -> bool:
    """Return whether the table exists after which MLflow 3.17 does not continue an interrupted migration."""
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'evaluation_datasets'"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute(query).fetchone()[0])
    return False


def test_a_server_that_is_killed_while_it_creates_the_tables_leaves_no_database(tmp_path: Path) -> None:
    killed = LocalRegistry(tmp_path)
    killed.start()
    assert killed.process is not None
    deadline = time.monotonic() + 60
    while not any(map(has_datasets, tmp_path.glob("mlflow.db*"))):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    killed.process.kill()
    killed.close()
    with open_registry(f"sqlite:///{tmp_path}/mlflow.db") as registry:
        run = registry.run("any", "run-1")
        assert registry.run("any", "run-1") == run


def test_a_damaged_database_raises_a_user_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with (
        pytest.raises(UserError, match=r"is damaged \(file is not a database\): restore .*delete"),
        open_registry(f"sqlite:///{tmp_path}/mlflow.db"),
    ):
        pass


@pytest.mark.parametrize("damage", [b"", b"this is no database" * 100, b"half"])
def test_a_damaged_database_is_replaced_by_its_copy(
    tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    database = create_database(tmp_path)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO registered_models (name, workspace) VALUES ('digits', 'default')")
    registry_backup.back_up(database)
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2] if damage == b"half" else damage)
    with open_registry(f"sqlite:///{database}") as registry:
        assert registry.get("registered-models/get", {"name": "digits"}) is not None
    assert "mlflow.db was damaged and is replaced by its copy of" in capsys.readouterr().err
    assert (tmp_path / "mlflow.db.damaged").is_file()
    with open_registry(f"sqlite:///{database}"):
        pass
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a registered model, and its copy. The creation takes seconds."""
    database = create_database(tmp_path_factory.mktemp("template"))
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        values = ("digits", "default", "first")
        connection.execute(
            "INSERT INTO registered_models (name, workspace, description) VALUES (?, ?, ?)", values
        )
    registry_backup.back_up(database)
    return database


@pytest.fixture
def copied(template: Path, tmp_path: Path) -> Path:
    """A database with a registered model, whose description is "first", and its copy."""
    shutil.copytree(template.parent, tmp_path / "mlflow")
    return tmp_path / "mlflow" / template.name


def flip_bit(path: Path, text: str) -> None:
    """Flip a bit of a text in a file, which SQLite does not notice."""
    content = bytearray(path.read_bytes())
    content[content.index(text.encode())] ^= 1
    path.write_bytes(content)


def description(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (value,) = connection.execute("SELECT description FROM registered_models").fetchone()
    return str(value)


def test_a_flipped_bit_in_a_value_is_repaired(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_bit(copied, "first")
    assert sqlite_check.database_problem(copied, all_pages=True) is None
    assert description(copied) == "girst"
    with open_registry(f"sqlite:///{copied}"):
        assert description(copied) == "first"
    assert "mlflow.db was damaged and is replaced by its copy" in capsys.readouterr().err


def test_a_write_of_another_program_is_kept(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(copied)) as connection, connection:
        connection.execute("UPDATE registered_models SET description = 'second'")
    with open_registry(f"sqlite:///{copied}"):
        pass
    assert (description(copied), capsys.readouterr().err) == ("second", "")


@pytest.mark.parametrize("damage", ["the copy", "the digest", "the copy and its digest"])
def test_a_database_without_an_intact_copy_is_not_replaced(
    copied: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    if "copy" in damage:
        flip_bit(copied.with_name("mlflow.db.backup"), "first")
    if "digest" in damage:
        copied.with_name("mlflow.db.backup.sha256").write_bytes(b"")
    for expected in ("first", "girst"):
        with open_registry(f"sqlite:///{copied}"):
            pass
        assert (description(copied), capsys.readouterr().err) == (expected, "")
        flip_bit(copied, expected)


def test_explain_detects_a_database_that_was_damaged_later(tmp_path: Path) -> None:
    database = create_database(tmp_path)
    content = database.read_bytes()
    database.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    local = LocalRegistry(tmp_path)
    local.close()
    explained = local.explain(TransientError(f"registry {local.uri} answers 500, 4 times; is it up?"))
    assert isinstance(explained, UserError)
    assert f"{database} is damaged" in str(explained)


def test_a_locked_database_raises_a_transient_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = create_database(tmp_path)
    monkeypatch.setattr(sqlite_check, "_LOCKED_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(TransientError, match=r"mlflow\.db has been locked by another program"),
            open_registry(f"sqlite:///{database}"),
        ):
            pass
    with open_registry(f"sqlite:///{database}") as registry:
        assert registry.champion("any") is None


def test_explain_removes_the_html_page_and_the_address_of_the_server(tmp_path: Path) -> None:
    create_database(tmp_path)
    local = LocalRegistry(tmp_path)
    local.close()
    page = "<!doctype html>\n<title>500 (Internal)</title>\n<p>(overloaded)"
    error = TransientError(f"registry {local.uri} answers 500 ({page}), 4 times; is it up? Try again later")
    explained = local.explain(error)
    assert type(explained) is TransientError
    assert str(explained) == (
        f"registry in {tmp_path} answers 500, 4 times; is it up? Try again later. Its log: "
        f"{tmp_path / 'server.log'}"
    )
    other = UserError("data: row 3 is wrong")
    assert local.explain(other) is other


def test_a_database_with_another_file_name_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"a local registry is FOLDER/mlflow\.db"),
        open_registry(f"sqlite:///{tmp_path}/other.db"),
    ):
        pass
