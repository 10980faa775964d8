"""Serving of models from an object store, by name, alias or digest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from foreground import ROOT
from toy_models import upload_archive

from continuous_training.adapters.model_store import Pointer, damaged_aliases, find, remove_alias, set_alias
from continuous_training.adapters.object_store import FolderStore, open_store
from continuous_training.core.errors import UserError
from tests.fakes import free_port
from tests.s3 import ACCESS, Bucket


def test_a_reference_resolves_an_alias_a_digest_or_the_champion(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    first, second = (upload_archive(store, tmp_path, scale) for scale in (2, 3))
    set_alias(store, "toy", first.digest, "run-1")
    assert find(store, "toy") == find(store, "toy@champion")
    assert (find(store, "toy").digest, find(store, "toy").run) == (first.digest, "run-1")
    set_alias(store, "toy", second.digest, "run-2")
    before = (tmp_path / "store/aliases/toy/champion.json").read_bytes()
    set_alias(store, "toy", second.digest, "run-3")
    assert (tmp_path / "store/aliases/toy/champion.json").read_bytes() == before, (
        "setting an alias again changes nothing"
    )
    assert (find(store, "toy").digest, find(store, "toy").run) == (second.digest, "run-2")
    set_alias(store, "toy", first.digest, "run-2", alias="previous")
    assert find(store, "toy@previous").digest == first.digest
    remove_alias(store, "toy", "previous")
    remove_alias(store, "toy", "previous")
    with pytest.raises(UserError, match="no toy@previous"):
        find(store, "toy@previous")
    for reference in (f"toy@{first.digest[:12]}", f"toy@{first.digest}"):
        assert find(store, reference) == Pointer("toy", first.digest)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("toy@nobody", "no toy@nobody; of toy it has: champion, [0-9a-f]{12}"),
        ("toy@0123456789ab", "no toy@0123456789ab"),
        ("toy@0123", "no toy@0123"),
        ("other", "no other@champion; of other it has: nothing"),
        ("../toy", "write NAME, NAME@ALIAS"),
        ("toy@../../x", "write NAME, NAME@ALIAS"),
        ("", "write NAME, NAME@ALIAS"),
    ],
)
def test_an_unknown_reference_is_rejected_with_the_known_ones(
    tmp_path: Path, reference: str, message: str
) -> None:
    store = FolderStore(tmp_path / "store")
    set_alias(store, "toy", upload_archive(store, tmp_path, 2).digest)
    with pytest.raises(UserError, match=message):
        find(store, reference)


def test_a_damaged_pointer_is_rejected_and_replaced(tmp_path: Path) -> None:
    store, digest = FolderStore(tmp_path / "store"), "0" * 64
    other = b'{"name": "other", "digest": "' + digest.encode() + b'"}'
    for content in (b"", b"{", b"[]", b"\xff", b'{"name": "toy"}', b'{"name": "toy", "digest": "x"}', other):
        store.write("aliases/toy/champion.json", content)
        with pytest.raises(
            UserError, match=r"champion\.json in the store.* the next run of the model writes"
        ):
            find(store, "toy")
        assert damaged_aliases(store, "toy") == ["aliases/toy/champion.json"]
        set_alias(store, "toy", digest)
        assert find(store, "toy").digest == digest
        assert damaged_aliases(store, "toy") == []


def test_a_folder_serves_its_champion_and_a_load_follows_the_alias(tmp_path: Path) -> None:
    check_load_follows_alias(str(tmp_path / "store"), tmp_path)


def test_a_bucket_serves_its_champion_and_a_load_follows_the_alias(bucket: Bucket, tmp_path: Path) -> None:
    check_load_follows_alias(bucket.uri, tmp_path)


def check_load_follows_alias(uri: str, tmp_path: Path) -> None:
    store = open_store(uri, ACCESS if uri.startswith("s3://") else None)
    first, second = (upload_archive(store, tmp_path, scale) for scale in (2, 3))
    set_alias(store, "toy", first.digest)
    token_file, temporary, management_port = tmp_path / "token", tmp_path / "temporary", free_port()
    token_file.write_text("secret")
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "serving",
        "serve",
        "--port",
        "0",
        "--model-store",
        uri,
        "--model",
        "toy",
    ]
    command += ["--management-port", str(management_port), "--token-file", str(token_file)]
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": ACCESS[1],
        "TMPDIR": str(temporary),
    }
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split(" at ")[1].strip()
        assert requests.post(url, json={"x": [1]}, timeout=5).json()["scale"] == 2
        set_alias(store, "toy", second.digest)
        load = requests.post(
            f"http://127.0.0.1:{management_port}/v2/repository/models/toy/load",
            headers={"authorization": "Bearer secret"},
            timeout=20,
        )
        assert (load.status_code, load.json()["digest"]) == (200, second.digest), load.text
        response = requests.post(url, json={"x": [1]}, timeout=5)
        assert (response.json()["scale"], response.headers["x-model-digest"]) == (3, second.digest)
        if uri.startswith("s3://"):
            assert len(list(temporary.glob("*/downloads/*.mar"))) == 1
    finally:
        server.terminate()
        server.communicate(timeout=20)
    assert not list(temporary.glob(".serving-*")), "temporary files were not removed"


def test_a_server_ends_with_an_error_if_the_store_does_not_have_the_model(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    command = [
        sys.executable,
        "-m",
        "serving",
        "serve",
        "--port",
        "0",
        "--model-store",
        str(tmp_path / "store"),
    ]
    process = subprocess.run(
        [*command, "--model", "toy"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("error: the store has no toy@champion; of toy it has: nothing")
