"""Fetch data files from local folders, from faulty web servers and from a real S3 server."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters import download_cache as cache_module
from continuous_training.adapters import remote_files as remote_module
from continuous_training.adapters.downloader import Downloader
from continuous_training.core.errors import TransientError, UserError
from tests import files_server
from tests.fakes import free_port
from tests.files_server import NAME, Files
from tests.s3 import ACCESS, Bucket
from workloads.contract import Fetch

CONTENT = random.Random(1).randbytes(700_000)
SHA256 = {NAME: hashlib.sha256(CONTENT).hexdigest()}
OTHER = random.Random(2).randbytes(700_000)


@pytest.fixture
def files() -> Iterator[Files]:
    with files_server.serve(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store copies in the test's folder, and do not wait between attempts."""
    monkeypatch.setattr(cache_module, "FIRST_WAIT", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def fetch(cache: Path, messages: list[str]) -> Fetch:
    return Downloader(cache, messages.append).fetch


def cached_files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != ".lock")


# Local ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.csv", NAME, NAME.upper()])
def test_the_file_with_one_of_the_names_is_used_without_a_copy(fetch: Fetch, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"content")
    assert fetch(str(folder), [NAME, "rows.csv"], SHA256) == folder / name


def test_two_files_with_one_of_the_names_are_rejected(fetch: Fetch, folder: Path) -> None:
    for name in ("rows.csv", NAME):
        (folder / name).touch()
    with pytest.raises(UserError, match=rf"contains both rows\.csv and {NAME}"):
        fetch(str(folder), [NAME, "rows.csv"])
    assert fetch(str(folder / NAME), [NAME, "rows.csv"]) == folder / NAME


def test_a_local_file_with_any_name_is_used(fetch: Fetch, folder: Path) -> None:
    (folder / "mine.tsv").write_bytes(b"x")
    assert fetch(str(folder / "mine.tsv"), [NAME]) == folder / "mine.tsv"


def test_a_missing_local_file_raises_an_error_with_the_expected_names(fetch: Fetch, folder: Path) -> None:
    with pytest.raises(UserError, match=r"source .*folder contains none of rows\.csv\.gz, rows\.csv"):
        fetch(str(folder), [NAME, "rows.csv"])
    with pytest.raises(UserError, match=r"nothing is neither a file nor a folder with one of rows"):
        fetch(str(folder / "nothing"), [NAME])


def test_a_local_file_without_read_permission_raises_a_user_error(
    fetch: Fetch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / NAME).touch()

    def denied(path: Path, *_: object) -> None:
        # The tests run as root in a container, and root may read every file.
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=rf"{NAME}: this user may not read it"):
        fetch(str(folder), [NAME])


# A web server -----------------------------------------------------------------------------------


def test_a_file_below_a_url_is_downloaded_once(
    fetch: Fetch, files: Files, cache: Path, messages: list[str]
) -> None:
    path = fetch(files.url, ["rows.csv", NAME], SHA256)
    assert (path.name, path.read_bytes(), cached_files(cache)) == (NAME, CONTENT, ["copy.json", NAME])
    assert messages == [
        f"fetching {files.url}/{NAME}, 0 bytes of 0.7 MB here",
        f"{NAME} is downloaded: 0.7 MB",
    ]
    before = len(files.requests)
    assert fetch(files.url, [NAME], SHA256) == path
    assert len(files.requests) == before
    assert messages[-1] == f"{NAME} is in the cache"


def test_a_url_with_a_file_extension_is_the_url_of_the_file(fetch: Fetch, files: Files) -> None:
    files.present = {"/data/mine.gz?token=secret"}
    path = fetch(f"{files.url}/mine.gz?token=secret", [NAME])
    assert (path.name, path.read_bytes()) == ("mine.gz", CONTENT)
    assert [r["path"] for r in files.requests] == ["/data/mine.gz?token=secret"]


def test_the_query_of_a_url_is_sent_for_each_name_and_never_logged(
    fetch: Fetch, files: Files, messages: list[str]
) -> None:
    files.present = {f"/data/{NAME}?token=secret"}
    assert fetch(f"{files.url}/?token=secret", ["rows.csv", NAME]).read_bytes() == CONTENT
    with pytest.raises(UserError, match="not there") as raised:
        fetch(f"{files.url}/?token=another", ["rows.csv"])
    assert "secret" not in "".join(messages)
    assert "another" not in str(raised.value)


def test_without_a_digest_a_conditional_request_detects_a_changed_file(
    fetch: Fetch, files: Files, messages: list[str]
) -> None:
    path = fetch(files.url, [NAME])
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert files.requests[-1]["if-none-match"] == '"one"'
    assert messages[-1] == f"{NAME} has not changed since it was downloaded"
    files.content, files.etag = OTHER, '"two"'
    assert fetch(files.url, [NAME]) == path
    assert path.read_bytes() == OTHER


def test_a_damaged_copy_is_downloaded_again(fetch: Fetch, files: Files) -> None:
    for digests in ({}, SHA256):
        path = fetch(files.url, [NAME], digests)
        path.write_bytes(CONTENT[:-1])
        assert fetch(files.url, [NAME], digests).read_bytes() == CONTENT


def test_a_download_resumes_after_a_closed_connection(
    fetch: Fetch, files: Files, messages: list[str]
) -> None:
    files.cuts = [300_000, 200_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    # Bytes in the client's buffer may be lost when the connection ends; bytes on disk are not.
    begins = [int(r.get("range", "bytes=0-")[6:-1]) for r in files.requests]
    assert begins[0] == 0 < begins[1] <= 300_000
    assert begins[1] < begins[2] <= 500_000
    assert [r.get("if-range") for r in files.requests] == [None, '"one"', '"one"']
    assert sum("was interrupted" in line for line in messages) == 2


def test_a_download_restarts_when_the_server_ignores_ranges(fetch: Fetch, files: Files) -> None:
    files.ranges, files.cuts = False, [300_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert "range" in files.requests[-1]


def test_the_next_process_resumes_an_incomplete_download(fetch: Fetch, files: Files, cache: Path) -> None:
    files.cuts = [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError, match=r"tried 5 times; the 0\.\d MB already here are kept"):
        fetch(files.url, [NAME])
    assert cached_files(cache) == [".part", ".part.json"]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert int(files.requests[-1]["range"][6:-1]) > 0
    assert cached_files(cache) == ["copy.json", NAME]


def test_a_download_restarts_when_the_file_has_changed(fetch: Fetch, files: Files) -> None:
    files.cuts = [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError):
        fetch(files.url, [NAME])
    files.content, files.etag = OTHER, '"two"'
    assert fetch(files.url, [NAME]).read_bytes() == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_without_a_strong_etag_a_download_resumes_only_with_a_digest(
    fetch: Fetch, files: Files, etag: str
) -> None:
    files.etag, files.cuts = etag, [300_000]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert "range" not in files.requests[-1]
    files.cuts = [300_000]
    Path(fetch(files.url, [NAME])).unlink()
    files.cuts = [300_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert "range" in files.requests[-1]


def test_the_digest_detects_parts_of_two_versions(fetch: Fetch, files: Files, messages: list[str]) -> None:
    """The server sends no ETag: the first 300,000 bytes belong to another file than the rest."""
    files.etag, files.content, files.cuts = "", OTHER, [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError):
        fetch(files.url, [NAME], SHA256)
    files.content = CONTENT
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert any("its parts have different versions" in line for line in messages)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_error_is_retried(fetch: Fetch, files: Files, status: int, messages: list[str]) -> None:
    files.statuses = [status, status]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert sum(f"HTTP {status}); next attempt in" in line for line in messages) == 2


def test_retries_wait_for_the_retry_after_time(
    fetch: Fetch, files: Files, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(cache_module.time, "sleep", waits.append)
    monkeypatch.setattr(cache_module, "FIRST_WAIT", 0.5)
    files.statuses, files.headers = [503, 503, 500], {"Retry-After": "1"}
    fetch(files.url, [NAME])
    assert waits == [1, 1, 2]


def test_repeated_server_errors_raise_a_transient_error(fetch: Fetch, files: Files, cache: Path) -> None:
    files.statuses = [503] * cache_module.ATTEMPTS
    with pytest.raises(TransientError, match=r"busy or has failed \(HTTP 503\); tried 5 times$"):
        fetch(files.url, [NAME])
    assert cached_files(cache) == []


def test_a_file_with_another_digest_is_rejected_and_removed(fetch: Fetch, files: Files, cache: Path) -> None:
    files.content = OTHER
    digest = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(UserError, match=f"700,000 bytes with sha256 {digest}, not {SHA256[NAME]}"):
        fetch(files.url, [NAME], SHA256)
    assert not {NAME, ".part"} & set(cached_files(cache))
    files.content = CONTENT
    with pytest.raises(UserError, match="is not the expected file"):
        fetch(files.url, [NAME], {NAME: SHA256[NAME][:-1] + "x"})
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ([404, 404], r"rows\.csv, .*rows\.csv\.gz: not there \(HTTP 404\)"),
        ([403, 410], r"rows\.csv: refused \(HTTP 403\); .*rows\.csv\.gz: gone \(HTTP 410\)"),
        ([400], r"rows\.csv: the server answers HTTP 400"),
    ],
)
def test_a_client_error_raises_a_user_error_with_the_status(
    fetch: Fetch, files: Files, statuses: list[int], message: str, cache: Path
) -> None:
    files.statuses = statuses
    with pytest.raises(UserError, match=message):
        fetch(files.url, ["rows.csv", NAME])
    assert cached_files(cache) == []


def test_the_digest_detects_a_short_response_without_a_content_length(fetch: Fetch, files: Files) -> None:
    files.length, files.etag, files.cuts = False, "", [300_000]
    with pytest.raises(UserError, match="300,000 bytes with sha256"):
        fetch(files.url, [NAME], SHA256)


def test_a_response_timeout_raises_a_transient_error(
    fetch: Fetch, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "TIMEOUT", (5, 0.05))
    released = threading.Event()
    files.before = lambda: released.wait(30) and None
    try:
        with pytest.raises(TransientError, match="does not answer in time; tried 5 times"):
            fetch(files.url, [NAME])
    finally:
        released.set()


def test_a_refused_connection_raises_a_transient_error(fetch: Fetch) -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+ refuses the connection"):
        fetch(f"http://127.0.0.1:{free_port()}/data", [NAME])


def test_an_unknown_host_raises_an_error_with_its_name(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy of this machine would resolve the host name itself.
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises((UserError, TransientError), match=r"no host nowhere\.invalid|cannot be looked up"):
        fetch("https://nowhere.invalid/data", [NAME])


def test_an_invalid_certificate_raises_a_user_error(
    fetch: Fetch, files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with files_server.serve(CONTENT, files_server.server_context(folder)) as secure:
        with pytest.raises(UserError, match=r"certificate of .* is not valid .*REQUESTS_CA_BUNDLE"):
            fetch(secure.url, [NAME])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert.pem"))
        assert fetch(secure.url, [NAME]).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://example.com/data", "http://example.com is not accepted: data without encryption"),
        ("https://user:secret@example.com/data", r"~/\.netrc"),
        ("https:///data", "is not accepted"),
        ("ftp://example.com/data", "give a folder, a file, https://"),
        ("s3:///prefix", "name a bucket"),
    ],
)
def test_an_unsupported_url_raises_a_user_error(fetch: Fetch, source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        fetch(source, [NAME])
    assert "secret" not in str(raised.value)


def test_a_redirect_to_an_unencrypted_url_of_another_host_is_refused(fetch: Fetch, files: Files) -> None:
    files.statuses, files.headers = [302], {"Location": f"{files.url}/{NAME}"}
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    with pytest.MonkeyPatch.context() as patch:
        # 127.0.0.1 is not recognized as this machine here, so it acts as another host.
        patch.setattr(remote_module, "_is_this_machine", lambda host: host != "127.0.0.1")
        files.statuses, files.headers = [302], {"Location": f"{files.url}/{NAME}"}
        with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+ is not accepted"):
            fetch(files.url.replace("127.0.0.1", "localhost"), [NAME])


def test_a_cache_that_cannot_be_created_raises_a_user_error(fetch: Fetch, files: Files, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot be stored in .*set CT_CACHE to another folder"):
        fetch(files.url, [NAME])


def _fetch_in_process(url: str, cache: Path, messages: Path) -> None:
    downloader = Downloader(cache, lambda line: messages.open("a").write(line + "\n") and None)
    assert downloader.fetch(url, [NAME], SHA256).read_bytes() == CONTENT


def test_two_processes_at_the_same_time_download_once(files: Files, cache: Path, folder: Path) -> None:
    """The request of the first process is blocked until the second process waits for it."""
    second_waits = threading.Event()
    files.before = lambda: second_waits.wait(60) and None
    spawn = multiprocessing.get_context("spawn")
    logs = [folder / "one.txt", folder / "two.txt"]
    running = [spawn.Process(target=_fetch_in_process, args=(files.url, cache, log)) for log in logs]
    for process in running:
        process.start()
    while not any(log.exists() and "waiting for it" in log.read_text() for log in logs):
        assert all(process.exitcode in (None, 0) for process in running)
        threading.Event().wait(0.01)
    second_waits.set()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0]
    assert len(files.requests) == 1
    assert cached_files(cache) == ["copy.json", NAME]


# A bucket ---------------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.mark.usefixtures("keys")
def test_an_object_is_downloaded_once_and_again_after_a_change(
    fetch: Fetch, bucket: Bucket, messages: list[str]
) -> None:
    prefix = bucket.folder / "some" / "prefix"
    prefix.mkdir(parents=True)
    (prefix / NAME).write_bytes(CONTENT)
    path = fetch(bucket.uri, ["rows.csv", NAME], SHA256)
    assert path.read_bytes() == CONTENT
    assert fetch(bucket.uri.replace("/some/prefix", f"/some/prefix/{NAME}"), [NAME]).read_bytes() == CONTENT
    assert fetch(bucket.uri, [NAME]).read_bytes() == CONTENT
    assert messages[-1] == f"{NAME} has not changed since it was downloaded"
    (prefix / NAME).write_bytes(OTHER[:-1])
    assert fetch(bucket.uri, [NAME]).read_bytes() == OTHER[:-1]


@pytest.mark.usefixtures("keys")
def test_an_interrupted_download_of_an_object_resumes(
    fetch: Fetch, bucket: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket.folder / NAME).write_bytes(CONTENT)
    uri = bucket.uri.replace("/some/prefix", "")
    opened: list[int] = []
    stream = remote_module.S3Store.stream

    def recording_stream(store: remote_module.S3Store, key: str, begin: int, tag: str) -> object:
        response = stream(store, key, begin, tag)
        opened.append(begin)
        if len(opened) == 1:
            monkeypatch.setattr(response, "stream", lambda _: interrupted(response.read(300_000)))
        return response

    def interrupted(part: bytes) -> Iterator[bytes]:
        yield part
        raise OSError("the connection is closed")

    monkeypatch.setattr(remote_module.S3Store, "stream", recording_stream)
    assert fetch(uri, [NAME], SHA256).read_bytes() == CONTENT
    assert opened == [0, 300_000]


@pytest.mark.usefixtures("keys")
def test_a_missing_object_raises_a_user_error(fetch: Fetch, bucket: Bucket) -> None:
    with pytest.raises(UserError, match=rf"s3://{bucket.folder.name}/some/prefix/rows\.csv\.gz: not there"):
        fetch(bucket.uri, [NAME])


def test_a_wrong_secret_key_raises_a_user_error(
    fetch: Fetch, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="check the access key and its secret"):
        fetch(bucket.uri, [NAME])


def test_missing_access_keys_raise_a_user_error(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("minio.credentials.IamAwsProvider.retrieve", _no_role)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "nothing"))
    with pytest.raises(UserError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        fetch("s3://bucket/x?endpoint=127.0.0.1:9&secure=false", [NAME])


def _no_role(*_: object) -> None:
    """Replace the request for the machine's role: its address exists only in a cloud."""
    raise ValueError("no role here")


# The cache setting ---------------------------------------------------------------------------


def test_a_copy_is_stored_in_the_cache_of_the_environment(files: Files, folder: Path) -> None:
    """prep-data stores files from a URL in the directory CT_CACHE."""
    code = (
        "import os, sys; from pathlib import Path; from continuous_training.core.settings import Settings\n"
        "from continuous_training.adapters.downloader import Downloader\n"
        "cache = Settings.from_environment(os.environ).cache\n"
        "print(Downloader(cache, print).fetch(sys.argv[1], [sys.argv[2]]))"
    )
    environment = {**os.environ, "CT_CACHE": str(folder / "cache")}
    process = subprocess.run(
        [sys.executable, "-c", code, files.url, NAME], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 0, process.stderr
    path = Path(process.stdout.splitlines()[-1])
    assert path.is_relative_to(folder / "cache")
    assert path.read_bytes() == CONTENT
    assert json.loads((path.parent / "copy.json").read_text())["sha256"] == SHA256[NAME]
