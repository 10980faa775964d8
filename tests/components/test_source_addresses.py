"""The run parameter `source` never leads to metadata services nor, in a cluster, to the pod or a Service."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workloads.nsmc.workload as nsmc
from continuous_training.adapters import download_cache
from tests import files_server
from tests.files_server import Files
from tests.s3 import ACCESS, Bucket

from .test_bad_rows import prepare

CONTENTS = {name: (Path(nsmc.__file__).parent / "sample" / name).read_bytes() for name in nsmc.FILES.values()}
DATABASE = "postgresql://{}/db"
BUCKET = "s3://bucket?endpoint={}&secure=false"
WEB = "https://{}/data"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download_cache, "FIRST_WAIT", 0.0)
    with files_server.serve(b"") as server:
        server.other_files = {f"/data/{name}": content for name, content in CONTENTS.items()}
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine would resolve the names itself."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.delenv("CT_SOURCE_HOSTS", raising=False)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ACCESS[1])
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def rejection(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Return the message with which prep-data rejects a source."""
    workload = "iris" if source.startswith("postgres") else "nsmc"
    assert prepare(workload, source, tmp_path / "data") == 2
    return capfd.readouterr().err


def no_connection(*arguments: Any, **_: Any) -> None:
    raise AssertionError(f"a connection to {arguments}")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166"])
@pytest.mark.parametrize("source", [WEB, BUCKET, DATABASE])
def test_metadata_addresses_are_rejected_before_a_connection(
    host: str, source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.util.connection.create_connection", no_connection)
    monkeypatch.setattr("psycopg.connect", no_connection)
    assert "a run parameter must not lead there" in rejection(source.format(host), tmp_path, capfd)


@pytest.mark.usefixtures("keys", "cluster")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]", "store.ns.svc", "10.100.0.7"])
@pytest.mark.parametrize("source", [WEB, BUCKET, DATABASE])
def test_the_pod_and_services_are_rejected_in_a_cluster(
    host: str, source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.util.connection.create_connection", no_connection)
    monkeypatch.setattr("psycopg.connect", no_connection)
    message = rejection(source.format(host), tmp_path, capfd)
    assert "only if the operator lists the host in CT_SOURCE_HOSTS" in message


@pytest.mark.usefixtures("cluster")
def test_a_unix_socket_is_this_pod(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "is this pod" in rejection("postgresql:///db?host=/var/run/postgresql", tmp_path, capfd)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("source", [WEB, BUCKET, DATABASE])
def test_a_name_that_resolves_to_a_metadata_address_is_rejected(
    source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def metadata(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("8.8.8.8", "169.254.169.254")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", metadata)
    monkeypatch.setattr("urllib3.util.connection.create_connection", no_connection)
    monkeypatch.setattr("psycopg.connect", no_connection)
    message = rejection(source.format("data.example.com"), tmp_path, capfd)
    assert "data.example.com (169.254.169.254) is a link-local" in message


@pytest.mark.usefixtures("cluster")
def test_a_short_name_that_the_search_domains_complete_is_a_service(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_name = "registry.kubeflow.svc.cluster.local"
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, full_name, ("10.244.0.9", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    assert f"{full_name} is a Service" in rejection("https://registry/data", tmp_path, capfd)


def test_the_second_answer_of_a_name_server_has_no_effect(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the query whose answer is checked is made, so a later answer cannot lead elsewhere."""
    resolve = socket.getaddrinfo
    ports: list[Any] = []

    def answer(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host == "localhost" and not options.get("flags"):
            raise AssertionError("a second query")
        ports.append(port)
        return resolve(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert prepare("nsmc", files.url.replace("127.0.0.1", "localhost"), tmp_path / "data") == 0
    assert ports


@pytest.mark.parametrize("location", ["https://169.254.169.254/latest", "https://metadata.google.internal/"])
def test_a_redirect_to_a_metadata_address_is_not_followed(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str], location: str
) -> None:
    files.statuses, files.headers = [302], {"Location": location}
    assert "a run parameter must not lead there" in rejection(files.url, tmp_path, capfd)
    assert len(files.requests) == 1


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("hosts", ["127.0.0.1", "127.0.0.0/8", "minio 127.0.0.1"])
def test_a_host_that_the_operator_lists_is_read(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    assert prepare("nsmc", files.url, tmp_path / "data") == 2
    monkeypatch.setenv("CT_SOURCE_HOSTS", hosts)
    assert prepare("nsmc", files.url, tmp_path / "data") == 0


@pytest.mark.usefixtures("cluster")
def test_a_redirect_from_a_listed_host_to_another_service_is_not_followed(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_SOURCE_HOSTS", "127.0.0.1")
    files.statuses, files.headers = [302], {"Location": "https://10.96.0.1/api/v1/secrets"}
    assert "10.96.0.1 is in the network 10.96.0.0/12 of the Services" in rejection(files.url, tmp_path, capfd)


@pytest.mark.usefixtures("keys", "cluster")
def test_a_listed_bucket_and_the_bucket_of_a_laptop_are_read(
    bucket: Bucket, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    prefix = bucket.folder / "some/prefix"
    prefix.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (prefix / name).write_bytes(content)
    assert "CT_SOURCE_HOSTS" in rejection(bucket.uri, tmp_path, capfd)
    monkeypatch.setenv("CT_SOURCE_HOSTS", "127.0.0.1")
    assert prepare("nsmc", bucket.uri, tmp_path / "data") == 0
    monkeypatch.delenv("CT_SOURCE_HOSTS")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert prepare("nsmc", bucket.uri, tmp_path / "data") == 0
