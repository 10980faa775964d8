"""prep-data reads a bucket: errors that need a change of the set-up, versions, checksums, styles, regions."""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workloads.nsmc.workload as nsmc
from continuous_training.adapters import download_cache
from continuous_training.artifacts.dataset import Dataset
from tests import s3_faults
from tests.s3 import ACCESS
from tests.s3_faults import FaultyStore

from .test_bad_rows import prepare

CONTENTS = {name: (Path(nsmc.__file__).parent / "sample" / name).read_bytes() for name in nsmc.FILES.values()}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setattr(download_cache, "FIRST_WAIT", 0.0)
    with s3_faults.serve() as service:
        service.objects = {f"127.0.0.1/bucket/data/{name}": content for name, content in CONTENTS.items()}
        yield service


def failure(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and the message of prep-data."""
    code = prepare("nsmc", source, tmp_path / "data")
    return code, capfd.readouterr().err.partition("error: ")[2]


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml"])
@pytest.mark.parametrize("methods", [("GET", "HEAD"), ("GET",)], ids=["each request", "GET"])
@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        (400, "AuthorizationHeaderMalformed", "add region=REGION"),
        (400, "ExpiredToken", "renew them (AWS_SESSION_TOKEN)"),
        (400, "InvalidToken", "renew them (AWS_SESSION_TOKEN)"),
        (301, "PermanentRedirect", "use the endpoint of the bucket"),
        (307, "TemporaryRedirect", "use the endpoint of the bucket"),
        (403, "InvalidObjectState", "the object is archived; restore it"),
        (403, "AllAccessDisabled", "the key is disabled; enable it"),
        (400, "KMS.DisabledException", "the key is disabled; enable it"),
        (403, "RequestTimeTooSkewed", "the clock of this machine"),
        (403, "AccessDenied", "check the access key and its secret"),
        (400, "SomethingNew", "the reason; check the address and the keys"),
    ],
)
def test_an_error_that_the_user_must_correct_has_exit_code_2_and_the_action(
    store: FaultyStore,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    status: int,
    code: str,
    action: str,
    methods: tuple[str, ...],
    content_type: str,
) -> None:
    store.error, store.error_methods, store.content_type = (status, code), methods, content_type
    exit_code, message = failure(store.uri("bucket/data"), tmp_path, capfd)
    assert exit_code == 2
    assert code in message
    assert action in message or (code == "SomethingNew" and content_type == "text/xml")
    assert len(store.requests) <= 3


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")]
)
def test_an_error_of_the_server_is_temporary(
    store: FaultyStore,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
) -> None:
    from urllib3 import Retry

    monkeypatch.setattr("minio.api.Retry", lambda **_: Retry(0))
    store.error = (status, code)
    assert failure(store.uri("bucket/data"), tmp_path, capfd)[0] == 75


def test_a_redirect_is_not_followed(
    store: FaultyStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with s3_faults.serve() as other:
        store.error = (307, "TemporaryRedirect")
        store.headers = {"Location": f"http://127.0.0.1:{other.port}/bucket/data/ratings_train.txt"}
        code, message = failure(store.uri("bucket/data"), tmp_path, capfd)
        assert (code, other.requests) == (2, [])
    assert "the server redirects to another endpoint, which is not followed" in message


@pytest.mark.parametrize("option", ["", "&region=us-west-2"])
def test_a_wrong_region_is_reported_with_the_right_one(
    store: FaultyStore, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    store.region = "eu-central-1"
    code, message = failure(store.uri("bucket/data", option), tmp_path, capfd)
    assert code == 2
    assert "the bucket is in the region eu-central-1; add region=eu-central-1 to the address" in message
    assert prepare("nsmc", store.uri("bucket/data", "&region=eu-central-1"), tmp_path / "data") == 0


def test_the_bucket_is_part_of_the_host_with_virtual_hosts(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("store.test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    store.objects = {f"bucket.store.test/data/{name}": content for name, content in CONTENTS.items()}
    uri = store.uri("bucket/data", "&style=virtual", "store.test")
    assert prepare("nsmc", uri, tmp_path / "data") == 0
    assert {path.partition("/")[0] for _, path, _ in store.requests} == {"bucket.store.test"}
    # Without the option, the bucket is part of the path.
    store.objects = {f"store.test/bucket/data/{name}": content for name, content in CONTENTS.items()}
    assert prepare("nsmc", store.uri("bucket/data", "", "store.test"), tmp_path / "data") == 0


def test_an_object_that_changes_between_two_requests_is_not_read(
    store: FaultyStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store.get_etag = '"two"'
    code, message = failure(store.uri("bucket/data"), tmp_path, capfd)
    assert code == 75
    assert "the object has changed since its size was read" in message


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def reflected_crc(polynomial: int, size: int, content: bytes) -> bytes:
    """Compute a CRC with a bit-reversed polynomial, and all bits inverted before and after."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    mask = (1 << 8 * size) - 1
    crc = mask
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return (crc ^ mask).to_bytes(size, "big")


CRCS = {
    "crc32": (0xEDB88320, 4, 0xCBF43926),
    "crc32c": (0x82F63B78, 4, 0xE3069283),
    "crc64nvme": (0x9A6C9329AC4BC9B5, 8, 0xAE8B14860A799888),
}
"""The polynomial and the size of each CRC, and its check value (https://reveng.sourceforge.io/crc-catalogue)."""


def checksum(kind: str, content: bytes) -> bytes:
    """Return the checksum of the content, independently of the code under test."""
    if kind not in CRCS:
        return hashlib.new(kind, content).digest()
    polynomial, size, check = CRCS[kind]
    assert reflected_crc(polynomial, size, b"123456789") == check.to_bytes(size, "big")
    return reflected_crc(polynomial, size, content)


@pytest.mark.parametrize("kind", ["sha256", "sha1", "crc64nvme", "crc32c", "crc32"])
def test_the_content_has_the_checksum_of_the_store(
    store: FaultyStore, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind in ("crc64nvme", "crc32c"):
        pytest.importorskip("awscrt", reason="needs awscrt: make install EXTRAS=prep-data")
    content = CONTENTS["ratings_train.txt"]
    # Both files are the same, because the service sends one checksum.
    store.objects = {f"127.0.0.1/bucket/data/{name}": content for name in CONTENTS}
    store.headers = {f"x-amz-checksum-{kind}": encoded(checksum(kind, content))}
    # The rows of both files are the same, so that the keys are not unique. They were read.
    assert "the same key" in failure(store.uri("bucket/data"), tmp_path, capfd)[1]
    assert store.requests[0][2]["x-amz-checksum-mode"] == "ENABLED"
    store.objects = dict.fromkeys(store.objects, content[:-9] + b"x" * 9)
    code, message = failure(store.uri("bucket/data", "&region=other"), tmp_path, capfd)
    assert code == 75
    assert f"the content does not have the store's checksum ({kind})" in message


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-sha256": f"{encoded(bytes(32))}-2"},
        {"x-amz-checksum-crc32": encoded(bytes(4)), "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-crc64nvme": encoded(bytes(8)), "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-crc32c": f"{encoded(bytes(4))}-2"},
        {"x-amz-checksum-md5": encoded(bytes(16))},
    ],
)
def test_a_checksum_of_parts_or_of_another_kind_is_not_verified(
    store: FaultyStore, tmp_path: Path, headers: dict[str, str]
) -> None:
    store.headers = headers
    assert prepare("nsmc", store.uri("bucket/data"), tmp_path / "data") == 0
    assert Dataset.open(tmp_path / "data").manifest.train.rows == 800


@pytest.mark.parametrize("kind", ["crc64nvme", "crc32c"])
def test_without_awscrt_its_checksums_are_not_verified_but_a_weaker_one_is(
    store: FaultyStore,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setitem(sys.modules, "awscrt", None)
    store.headers = {f"x-amz-checksum-{kind}": encoded(bytes(8)), "x-amz-checksum-crc32": encoded(bytes(4))}
    assert "the store's checksum (crc32)" in failure(store.uri("bucket/data"), tmp_path, capfd)[1]
    del store.headers["x-amz-checksum-crc32"]
    assert prepare("nsmc", store.uri("bucket/data"), tmp_path / "data") == 0
    assert Dataset.open(tmp_path / "data").manifest.train.rows == 800
