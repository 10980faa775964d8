"""Data files from folders, web servers that misbehave, and a real S3 server."""

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
from continuous_training.adapters.data_sources import fetch, fetching
from continuous_training.core.errors import TransientError, UserError
from tests import files_server
from tests.fakes import free_port
from tests.files_server import NAME, Files
from tests.s3 import ACCESS, Bucket

CONTENT = random.Random(1).randbytes(700_000)
SHA256 = {NAME: hashlib.sha256(CONTENT).hexdigest()}
OTHER = random.Random(2).randbytes(700_000)


@pytest.fixture
def files() -> Iterator[Files]:
    with files_server.serve(CONTENT) as served:
        yield served


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep copies below the test's folder, and do not wait between attempts."""
    monkeypatch.setattr(cache_module, "FIRST_WAIT", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def surroundings(cache: Path, told: list[str]) -> Iterator[None]:
    # A generator fixture runs in the test's own context, so the block holds during the test.
    with fetching(cache, told.append):
        yield


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name != ".lock")


# Local ------------------------------------------------------------------------------------------


def test_the_first_of_the_names_in_a_folder_is_taken_where_it_stands(folder: Path) -> None:
    (folder / "rows.csv").write_bytes(b"plain")
    assert fetch(str(folder), [NAME, "rows.csv"]) == folder / "rows.csv"
    (folder / NAME).write_bytes(b"packed")
    assert fetch(str(folder), [NAME, "rows.csv"], SHA256) == folder / NAME


def test_a_file_is_taken_whatever_its_name(folder: Path) -> None:
    (folder / "mine.tsv").write_bytes(b"x")
    assert fetch(str(folder / "mine.tsv"), [NAME]) == folder / "mine.tsv"


def test_what_is_not_there_is_told_with_the_names(folder: Path) -> None:
    with pytest.raises(UserError, match=r"source .*folder contains none of rows\.csv\.gz, rows\.csv"):
        fetch(str(folder), [NAME, "rows.csv"])
    with pytest.raises(UserError, match=r"nothing is neither a file nor a folder with one of rows"):
        fetch(str(folder / "nothing"), [NAME])


def test_a_local_file_that_may_not_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / NAME).touch()

    def denied(path: Path, *_: object) -> None:
        # Root, who runs the tests in a container, may read everything.
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=rf"{NAME}: this user may not read it"):
        fetch(str(folder), [NAME])


# A web server -----------------------------------------------------------------------------------


def test_a_file_below_a_folder_is_fetched_once(files: Files, cache: Path, told: list[str]) -> None:
    path = fetch(files.url, ["rows.csv", NAME], SHA256)
    assert (path.name, path.read_bytes(), kept(cache)) == (NAME, CONTENT, ["copy.json", NAME])
    assert told == [
        f"fetching {files.url}/{NAME}, 0 bytes of 0.7 MB here",
        f"{NAME} is downloaded: 0.7 MB",
    ]
    before = len(files.requests)
    assert fetch(files.url, [NAME], SHA256) == path
    assert len(files.requests) == before
    assert told[-1] == f"{NAME} is in the cache"


def test_an_address_that_ends_as_a_name_does_is_the_files_own(files: Files) -> None:
    files.present = {"/data/mine.gz?token=secret"}
    path = fetch(f"{files.url}/mine.gz?token=secret", [NAME])
    assert (path.name, path.read_bytes()) == ("mine.gz", CONTENT)
    assert [r["path"] for r in files.requests] == ["/data/mine.gz?token=secret"]


def test_what_follows_the_path_is_kept_for_each_name_and_never_told(files: Files, told: list[str]) -> None:
    files.present = {f"/data/{NAME}?token=secret"}
    assert fetch(f"{files.url}/?token=secret", ["rows.csv", NAME]).read_bytes() == CONTENT
    with pytest.raises(UserError, match="not there") as raised:
        fetch(f"{files.url}/?token=another", ["rows.csv"])
    assert "secret" not in "".join(told)
    assert "another" not in str(raised.value)


def test_without_a_digest_the_server_is_asked_whether_the_file_has_changed(
    files: Files, told: list[str]
) -> None:
    path = fetch(files.url, [NAME])
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert files.requests[-1]["if-none-match"] == '"one"'
    assert told[-1] == f"{NAME} has not changed since it was downloaded"
    files.content, files.etag = OTHER, '"two"'
    assert fetch(files.url, [NAME]) == path
    assert path.read_bytes() == OTHER


def test_a_copy_that_was_damaged_is_fetched_again(files: Files) -> None:
    for digests in ({}, SHA256):
        path = fetch(files.url, [NAME], digests)
        path.write_bytes(CONTENT[:-1])
        assert fetch(files.url, [NAME], digests).read_bytes() == CONTENT


def test_a_cut_connection_is_taken_up_where_it_broke(files: Files, told: list[str]) -> None:
    files.cuts = [300_000, 200_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    # What the client had in its hands when the line broke may be lost, never what was written.
    begins = [int(r.get("range", "bytes=0-")[6:-1]) for r in files.requests]
    assert begins[0] == 0 < begins[1] <= 300_000
    assert begins[1] < begins[2] <= 500_000
    assert [r.get("if-range") for r in files.requests] == [None, '"one"', '"one"']
    assert sum("was interrupted" in line for line in told) == 2


def test_a_server_that_ignores_ranges_sends_the_whole_again(files: Files) -> None:
    files.ranges, files.cuts = False, [300_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert "range" in files.requests[-1]


def test_a_process_that_was_killed_is_taken_up_by_the_next(files: Files, cache: Path) -> None:
    files.cuts = [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError, match=r"tried 5 times; the 0\.\d MB already here are kept"):
        fetch(files.url, [NAME])
    assert kept(cache) == [".part", ".part.json"]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert int(files.requests[-1]["range"][6:-1]) > 0
    assert kept(cache) == ["copy.json", NAME]


def test_a_file_that_changed_in_between_is_never_pieced_together(files: Files) -> None:
    files.cuts = [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError):
        fetch(files.url, [NAME])
    files.content, files.etag = OTHER, '"two"'
    assert fetch(files.url, [NAME]).read_bytes() == OTHER


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_without_a_version_to_rely_on_only_a_digest_allows_to_go_on(files: Files, etag: str) -> None:
    files.etag, files.cuts = etag, [300_000]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert "range" not in files.requests[-1]
    files.cuts = [300_000]
    Path(fetch(files.url, [NAME])).unlink()
    files.cuts = [300_000]
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert "range" in files.requests[-1]


def test_parts_of_two_versions_are_found_out_by_the_digest(files: Files, told: list[str]) -> None:
    """The server names no versions: the first 300,000 bytes are of another file than the rest."""
    files.etag, files.content, files.cuts = "", OTHER, [300_000] + [0] * (cache_module.ATTEMPTS - 1)
    with pytest.raises(TransientError):
        fetch(files.url, [NAME], SHA256)
    files.content = CONTENT
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT
    assert any("its parts have different versions" in line for line in told)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(files: Files, status: int, told: list[str]) -> None:
    files.statuses = [status, status]
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    assert sum(f"HTTP {status}); next attempt in" in line for line in told) == 2


def test_the_wait_that_a_server_asks_for_is_kept(
    files: Files, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(cache_module.time, "sleep", waits.append)
    monkeypatch.setattr(cache_module, "FIRST_WAIT", 0.5)
    files.statuses, files.headers = [503, 503, 500], {"Retry-After": "1"}
    fetch(files.url, [NAME])
    assert waits == [1, 1, 2]


def test_a_server_that_stays_broken_is_transient(files: Files, cache: Path) -> None:
    files.statuses = [503] * cache_module.ATTEMPTS
    with pytest.raises(TransientError, match=r"busy or has failed \(HTTP 503\); tried 5 times$"):
        fetch(files.url, [NAME])
    assert kept(cache) == []


def test_wrong_bytes_are_refused_with_the_facts_and_removed(files: Files, cache: Path) -> None:
    files.content = OTHER
    digest = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(UserError, match=f"700,000 bytes with sha256 {digest}, not {SHA256[NAME]}"):
        fetch(files.url, [NAME], SHA256)
    assert not {NAME, ".part"} & set(kept(cache))
    files.content = CONTENT
    assert fetch(files.url, [NAME], SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([404, 404], r"rows\.csv, .*rows\.csv\.gz: not there \(HTTP 404\)"),
        ([403, 410], r"rows\.csv: refused \(HTTP 403\); .*rows\.csv\.gz: gone \(HTTP 410\)"),
        ([400], r"rows\.csv: the server answers HTTP 400"),
    ],
)
def test_a_file_that_cannot_be_had_is_told_with_the_servers_words(
    files: Files, statuses: list[int], words: str, cache: Path
) -> None:
    files.statuses = statuses
    with pytest.raises(UserError, match=words):
        fetch(files.url, ["rows.csv", NAME])
    assert kept(cache) == []


def test_a_transfer_that_ends_early_without_a_length_is_found_out_by_the_digest(files: Files) -> None:
    files.length, files.etag, files.cuts = False, "", [300_000]
    with pytest.raises(UserError, match="300,000 bytes with sha256"):
        fetch(files.url, [NAME], SHA256)


def test_a_server_that_says_nothing_is_transient(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "TIMEOUT", (5, 0.05))
    released = threading.Event()
    files.before = lambda: released.wait(30) and None
    try:
        with pytest.raises(TransientError, match="does not answer in time; tried 5 times"):
            fetch(files.url, [NAME])
    finally:
        released.set()


def test_nobody_listening_is_transient() -> None:
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:\d+ refuses the connection"):
        fetch(f"http://127.0.0.1:{free_port()}/data", [NAME])


def test_a_host_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy of this machine would look the name up in our place.
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises((UserError, TransientError), match=r"no host nowhere\.invalid|cannot be looked up"):
        fetch("https://nowhere.invalid/data", [NAME])


def test_a_server_that_cannot_prove_who_it_is_is_told(
    files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with files_server.serve(CONTENT, files_server.certified(folder)) as secure:
        with pytest.raises(UserError, match=r"certificate of .* is not valid .*REQUESTS_CA_BUNDLE"):
            fetch(secure.url, [NAME])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert.pem"))
        assert fetch(secure.url, [NAME]).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("http://example.com/data", "http://example.com is not accepted: data without encryption"),
        ("https://user:secret@example.com/data", r"~/\.netrc"),
        ("https:///data", "is not accepted"),
        ("ftp://example.com/data", "give a folder, a file, https://"),
        ("s3:///prefix", "name a bucket"),
    ],
)
def test_an_address_that_is_not_read_is_refused(source: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        fetch(source, [NAME])
    assert "secret" not in str(raised.value)


def test_a_redirect_to_a_line_that_anyone_may_change_is_refused(files: Files) -> None:
    files.statuses, files.headers = [302], {"Location": f"{files.url}/{NAME}"}
    assert fetch(files.url, [NAME]).read_bytes() == CONTENT
    with pytest.MonkeyPatch.context() as patch:
        # The one loopback address that is not taken for this machine stands for any other host.
        patch.setattr(remote_module, "_is_this_machine", lambda host: host != "127.0.0.1")
        files.statuses, files.headers = [302], {"Location": f"{files.url}/{NAME}"}
        with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+ is not accepted"):
            fetch(files.url.replace("127.0.0.1", "localhost"), [NAME])


def test_a_cache_that_cannot_be_made_is_told(files: Files, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot be stored in .*set CT_CACHE to another folder"):
        fetch(files.url, [NAME])


def _fetch_in_a_process(url: str, cache: Path, told: Path) -> None:
    with fetching(cache, lambda line: told.open("a").write(line + "\n") and None):
        assert fetch(url, [NAME], SHA256).read_bytes() == CONTENT


def test_two_processes_at_once_fetch_once(files: Files, cache: Path, folder: Path) -> None:
    """The first is held in the middle of its request until the second waits for it."""
    second_waits = threading.Event()
    files.before = lambda: second_waits.wait(60) and None
    spawn = multiprocessing.get_context("spawn")
    logs = [folder / "one.txt", folder / "two.txt"]
    running = [spawn.Process(target=_fetch_in_a_process, args=(files.url, cache, log)) for log in logs]
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
    assert kept(cache) == ["copy.json", NAME]


# A bucket ---------------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.mark.usefixtures("keys")
def test_an_object_below_a_prefix_is_fetched_once_and_again_when_it_changes(
    bucket: Bucket, told: list[str]
) -> None:
    place = bucket.folder / "some" / "prefix"
    place.mkdir(parents=True)
    (place / NAME).write_bytes(CONTENT)
    path = fetch(bucket.uri, ["rows.csv", NAME], SHA256)
    assert path.read_bytes() == CONTENT
    assert fetch(bucket.uri.replace("/some/prefix", f"/some/prefix/{NAME}"), [NAME]).read_bytes() == CONTENT
    assert fetch(bucket.uri, [NAME]).read_bytes() == CONTENT
    assert told[-1] == f"{NAME} has not changed since it was downloaded"
    (place / NAME).write_bytes(OTHER[:-1])
    assert fetch(bucket.uri, [NAME]).read_bytes() == OTHER[:-1]


@pytest.mark.usefixtures("keys")
def test_an_object_that_was_cut_is_taken_up(
    bucket: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket.folder / NAME).write_bytes(CONTENT)
    uri = bucket.uri.replace("/some/prefix", "")
    opened: list[int] = []
    stream = remote_module.S3Store.stream

    def watched(store: remote_module.S3Store, key: str, begin: int, tag: str) -> object:
        response = stream(store, key, begin, tag)
        opened.append(begin)
        if len(opened) == 1:
            monkeypatch.setattr(response, "stream", lambda _: broken(response.read(300_000)))
        return response

    def broken(part: bytes) -> Iterator[bytes]:
        yield part
        raise OSError("the line is dead")

    monkeypatch.setattr(remote_module.S3Store, "stream", watched)
    assert fetch(uri, [NAME], SHA256).read_bytes() == CONTENT
    assert opened == [0, 300_000]


@pytest.mark.usefixtures("keys")
def test_an_object_that_is_not_there_is_told(bucket: Bucket) -> None:
    with pytest.raises(UserError, match=rf"s3://{bucket.folder.name}/some/prefix/rows\.csv\.gz: not there"):
        fetch(bucket.uri, [NAME])


def test_a_wrong_key_is_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="check the access key and its secret"):
        fetch(bucket.uri, [NAME])


def test_no_key_at_all_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MINIO_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("minio.credentials.IamAwsProvider.retrieve", _no_role)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "nothing"))
    with pytest.raises(UserError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        fetch("s3://bucket/x?endpoint=127.0.0.1:9&secure=false", [NAME])


def _no_role(*_: object) -> None:
    """A machine's role is asked of an address that only a cloud has."""
    raise ValueError("no role here")


# From a command's line --------------------------------------------------------------------------


def test_a_copy_goes_where_the_environment_says(files: Files, folder: Path) -> None:
    """prep-data of a workload whose rows come from an address keeps them in CT_CACHE."""
    code = (
        "import os, sys; from pathlib import Path; from continuous_training.core.settings import Settings\n"
        "from continuous_training.adapters.data_sources import fetch, fetching\n"
        "cache = Settings.from_environment(os.environ).cache\n"
        "with fetching(cache, print): print(fetch(sys.argv[1], [sys.argv[2]]))"
    )
    environment = {**os.environ, "CT_CACHE": str(folder / "there")}
    done = subprocess.run(
        [sys.executable, "-c", code, files.url, NAME], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert path.is_relative_to(folder / "there")
    assert path.read_bytes() == CONTENT
    assert json.loads((path.parent / "copy.json").read_text())["sha256"] == SHA256[NAME]
