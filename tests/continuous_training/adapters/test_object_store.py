"""The object store in a folder and in a bucket of a real S3 server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from minio.error import S3Error
from urllib3 import Retry

from continuous_training.adapters import object_store
from continuous_training.adapters.object_store import FolderStore, ObjectStore, S3Store, open_store
from continuous_training.core.errors import TransientError, UserError
from tests.fakes import free_port
from tests.s3 import ACCESS, Bucket


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"))
    return open_store(request.getfixturevalue("bucket").uri, ACCESS)


def test_an_object_can_be_read_and_replaced(store: ObjectStore) -> None:
    assert store.read("records/a.json") is None
    for data in (b"first", b"", "second, 서울".encode()):
        store.write("records/a.json", data)
        assert store.read("records/a.json") == data


def test_put_if_absent_keeps_an_existing_object(store: ObjectStore, folder: Path, tmp_path: Path) -> None:
    source = folder / "model.mar"
    source.write_bytes(b"one" * 1000)
    uri = store.put_if_absent("archives/a.mar", source)
    for later in (b"one" * 1000, b"two" * 1000, b"longer" * 1000, b""):
        source.write_bytes(later)
        assert store.put_if_absent("archives/a.mar", source) == uri
    assert store.read("archives/a.mar") == b"one" * 1000
    (tmp_path / "download").mkdir()
    assert store.fetch("archives/a.mar", tmp_path / "download").read_bytes() == b"one" * 1000


def test_create_stores_a_new_object_once(store: ObjectStore) -> None:
    assert store.create("trigger/a.json", b"first")
    assert not store.create("trigger/a.json", b"second")
    assert store.read("trigger/a.json") == b"first"
    assert store.keys("trigger") == ["trigger/a.json"]


def test_of_simultaneous_creations_in_a_folder_one_succeeds(tmp_path: Path) -> None:
    stores = [open_store(str(tmp_path / "store")) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            futures = [pool.submit(store.create, f"a/{number}", b"%d" % i) for i, store in enumerate(stores)]
            created = [future.result() for future in futures]
            assert created.count(True) == 1
            assert stores[0].read(f"a/{number}") == b"%d" % created.index(True)


def test_a_bucket_that_refuses_a_second_creation_keeps_the_first_object(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(bucket.uri, ACCESS)
    # The object appears between the check and the write: the server answers 412 to If-None-Match.
    error = S3Error(Mock(), "PreconditionFailed", "", "", "", "")
    monkeypatch.setattr(store.client, "_put_object", Mock(side_effect=error))
    assert not store.create("a", b"second")
    (call,) = store.client._put_object.call_args_list  # type: ignore[attr-defined]
    assert call.args[3] == {"If-None-Match": "*"}


def test_an_empty_object_exists(store: ObjectStore, folder: Path) -> None:
    (folder / "empty").touch()
    store.put_if_absent("empty", folder / "empty")
    assert store.read("empty") == b""


def test_a_missing_object_raises_an_error_with_its_key(store: ObjectStore, folder: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*archives/a\.mar"):
        store.fetch("archives/a.mar", folder)
    assert list(folder.iterdir()) == []


def test_keys_lists_only_keys_below_a_folder(store: ObjectStore) -> None:
    assert store.keys("records") == store.keys("") == []
    for key in ("records/b.json", "records/runs/a.json", "recordsx/c.json", "d"):
        store.write(key, b"{}")
    assert store.keys("records") == store.keys("records/") == ["records/b.json", "records/runs/a.json"]
    assert store.keys("nothing") == []
    assert store.keys("") == ["d", "records/b.json", "records/runs/a.json", "recordsx/c.json"]


@pytest.mark.parametrize("key", ["../a", "a/../../b", "a/../b", "/etc/passwd", "a//b", "./a", "..", "", "a/"])
def test_a_key_that_is_not_a_plain_path_raises_a_user_error(
    store: ObjectStore, folder: Path, key: str
) -> None:
    (folder / "source").write_bytes(b"x")
    calls: list[Any] = [
        lambda: store.put_if_absent(key, folder / "source"),
        lambda: store.fetch(key, folder),
        lambda: store.read(key),
        lambda: store.write(key, b"x"),
    ]
    for call in calls:
        with pytest.raises(UserError, match="is not a path of plain names"):
            call()


def test_an_object_has_a_size_and_can_be_deleted(store: ObjectStore) -> None:
    assert store.size("a/b") is None
    store.write("a/b", b"four")
    assert store.size("a/b") == 4
    for _ in range(2):
        store.delete("a/b")
        assert (store.size("a/b"), store.read("a/b"), store.keys("a")) == (None, None, [])


def test_two_prefixes_of_a_bucket_are_separate_stores(bucket: Bucket) -> None:
    root_store = open_store(bucket.uri.replace("/some/prefix", ""), ACCESS)
    prefix_store = open_store(bucket.uri, ACCESS)
    prefix_store.write("a.json", b"part")
    root_store.write("a.json", b"whole")
    assert (prefix_store.read("a.json"), root_store.read("a.json")) == (b"part", b"whole")
    assert root_store.keys("") == ["a.json", "some/prefix/a.json"]
    assert (bucket.folder / "some/prefix/a.json").read_bytes() == b"part"


def test_without_arguments_the_keys_of_the_environment_are_used(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    store = open_store(bucket.uri)
    store.write("a", b"a")
    assert store.read("a") == b"a"


def every_call(store: ObjectStore, folder: Path) -> list[Any]:
    (folder / "source").write_bytes(b"x")
    return [
        lambda: store.put_if_absent("a", folder / "source"),
        lambda: store.fetch("a", folder),
        lambda: store.read("a"),
        lambda: store.write("a", b"x"),
        lambda: store.keys("a"),
    ]


@pytest.mark.parametrize("access", [(ACCESS[0], "wrong"), ("unknown", ACCESS[1])])
def test_wrong_credentials_raise_a_user_error(bucket: Bucket, folder: Path, access: tuple[str, str]) -> None:
    for call in every_call(open_store(bucket.uri, access), folder):
        with pytest.raises(UserError, match=r"refused .*check the access key and its secret"):
            call()


def test_a_missing_bucket_raises_a_user_error(bucket: Bucket, folder: Path) -> None:
    uri = bucket.uri.replace(bucket.folder.name, "another")
    for call in every_call(open_store(uri, ACCESS), folder):
        with pytest.raises(UserError, match="the bucket does not exist; create it, or use another one"):
            call()


def test_an_unreachable_server_raises_a_transient_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minio.api.Retry", lambda **_: Retry(0))
    uri = f"s3://bucket?endpoint=127.0.0.1:{free_port()}&secure=false"
    for call in every_call(open_store(uri, ACCESS), folder):
        with pytest.raises(TransientError, match=r"object store s3://bucket"):
            call()


@pytest.mark.parametrize("uri", ["gs://bucket/a", "https://host/bucket", "file:///tmp/x"])
def test_an_unsupported_uri_raises_a_user_error(uri: str) -> None:
    with pytest.raises(UserError, match="give a folder or s3://BUCKET/PREFIX"):
        open_store(uri)


@pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "s3://bucket?endpoint=host/path"])
def test_an_invalid_s3_address_raises_a_user_error(uri: str) -> None:
    with pytest.raises(UserError, match="object store"):
        open_store(uri, ACCESS)


def test_an_invalid_bucket_name_raises_a_user_error() -> None:
    with pytest.raises(UserError, match="invalid bucket name"):
        open_store("s3://B_/x?endpoint=127.0.0.1:1", ACCESS).read("a")


def test_a_file_is_complete_before_it_gets_its_name(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "source").write_bytes(b"small")
    store, replace, contents = FolderStore(tmp_path / "store"), Path.replace, []

    def recording_replace(source: Path, target: Path) -> None:
        contents.append(source.read_bytes())
        replace(source, target)

    monkeypatch.setattr(object_store.Path, "replace", recording_replace)
    store.put_if_absent("a", folder / "source")
    store.write("b", b"small")
    assert contents == [b"small", b"small"]


def test_a_failed_copy_leaves_no_file(tmp_path: Path, folder: Path) -> None:
    store = FolderStore(tmp_path / "store")
    with pytest.raises(FileNotFoundError):
        store.put_if_absent("a", folder / "missing")
    assert list((tmp_path / "store").rglob("*")) == []
    assert store.read("a") is None
