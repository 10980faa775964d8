"""Serving by name from an object store: what an alias means, and that a switch follows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from foreground import ROOT
from toy_models import make_archive

from continuous_training.adapters.model_store import Pointer, find, forget, point
from continuous_training.adapters.object_store import FolderStore, ObjectStore, open_store
from continuous_training.artifacts.archive import Archive
from continuous_training.core.errors import UserError
from tests.fakes import free_port
from tests.s3 import ACCESS, Bucket


def stored(store: ObjectStore, root: Path, scale: float) -> Archive:
    made = make_archive(root, scale=scale)
    store.put_if_absent(f"archives/toy/{made.digest}.mar", made.path)
    return made


def test_aliases_name_versions_and_a_name_alone_its_champion(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    first, second = (stored(store, tmp_path, scale) for scale in (2, 3))
    point(store, "toy", first.digest, "run-1")
    assert find(store, "toy") == find(store, "toy@champion")
    assert (find(store, "toy").digest, find(store, "toy").run) == (first.digest, "run-1")
    point(store, "toy", second.digest, "run-2")
    before = (tmp_path / "store/aliases/toy/champion.json").read_bytes()
    point(store, "toy", second.digest, "run-3")
    assert (tmp_path / "store/aliases/toy/champion.json").read_bytes() == before, "again changes nothing"
    assert (find(store, "toy").digest, find(store, "toy").run) == (second.digest, "run-2")
    point(store, "toy", first.digest, "run-2", alias="previous")
    assert find(store, "toy@previous").digest == first.digest
    forget(store, "toy", "previous")
    forget(store, "toy", "previous")
    with pytest.raises(UserError, match="no toy@previous"):
        find(store, "toy@previous")
    for reference in (f"toy@{first.digest[:12]}", f"toy@{first.digest}"):
        assert find(store, reference) == Pointer("toy", first.digest)


@pytest.mark.parametrize(
    ("reference", "words"),
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
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, reference: str, words: str) -> None:
    store = FolderStore(tmp_path / "store")
    point(store, "toy", stored(store, tmp_path, 2).digest)
    with pytest.raises(UserError, match=words):
        find(store, reference)


def test_a_pointer_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    for content in (b"{", b"[]", b'{"name": "toy"}'):
        store.write("aliases/toy/champion.json", content)
        with pytest.raises(UserError, match=r"champion\.json in the store cannot be read"):
            find(store, "toy")


def test_serves_the_champion_of_a_folder_and_a_load_follows_the_alias(tmp_path: Path) -> None:
    serve_and_follow(str(tmp_path / "store"), tmp_path)


def test_serves_the_champion_of_a_bucket_and_a_load_follows_the_alias(bucket: Bucket, tmp_path: Path) -> None:
    serve_and_follow(bucket.uri, tmp_path)


def serve_and_follow(uri: str, tmp_path: Path) -> None:
    store = open_store(uri, ACCESS if uri.startswith("s3://") else None)
    first, second = (stored(store, tmp_path, scale) for scale in (2, 3))
    point(store, "toy", first.digest)
    token, temporary, private = tmp_path / "token", tmp_path / "temporary", free_port()
    token.write_text("secret")
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
    command += ["--management-port", str(private), "--token-file", str(token)]
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
        point(store, "toy", second.digest)
        load = requests.post(
            f"http://127.0.0.1:{private}/v2/repository/models/toy/load",
            headers={"authorization": "Bearer secret"},
            timeout=20,
        )
        assert (load.status_code, load.json()["digest"]) == (200, second.digest), load.text
        answer = requests.post(url, json={"x": [1]}, timeout=5)
        assert (answer.json()["scale"], answer.headers["x-model-digest"]) == (3, second.digest)
        if uri.startswith("s3://"):
            assert len(list(temporary.glob("*/downloads/*.mar"))) == 1
    finally:
        server.terminate()
        server.communicate(timeout=20)
    assert not list(temporary.glob("serving-*")), "nothing is left on disk"


def test_a_name_that_the_store_does_not_have_ends_the_server_with_words(tmp_path: Path) -> None:
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
    done = subprocess.run(
        [*command, "--model", "toy"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the store has no toy@champion; of toy it has: nothing")
