"""prep-data states which files may be incomplete, and verifies expected digests and row counts."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import workloads.nsmc.workload as nsmc
from continuous_training.adapters import download_cache
from continuous_training.artifacts.dataset import Dataset
from tests import files_server
from tests.files_server import Files

from .test_bad_rows import patients, prepare, write_csv

CONTENTS = {name: (Path(nsmc.__file__).parent / "sample" / name).read_bytes() for name in nsmc.FILES.values()}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
TRAIN = CONTENTS["ratings_train.txt"]
CUT = TRAIN.index(b"\n", 2 * len(TRAIN) // 3) + 1
"""The end of a line."""
BOTH = ",".join(f"{name}={digest}" for name, digest in DIGESTS.items())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """A server that sends no length, and closes the connection at the end."""
    monkeypatch.setenv("CT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download_cache, "FIRST_WAIT", 0.0)
    with files_server.serve(b"") as server:
        server.length = False
        server.other_files = {f"/data/{name}": content for name, content in CONTENTS.items()}
        yield server


def incomplete(output: Path) -> list[str]:
    document = json.loads((output / "dataset.json").read_text())
    return list(document.get("source_files", {}).get("incomplete", []))


@pytest.mark.parametrize("cuts", [[], [CUT]])
def test_a_file_without_a_length_is_reported_in_manifest_and_log(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str], cuts: list[int | None]
) -> None:
    files.cuts = [*cuts]
    addresses = [f"{files.url}/ratings_train.txt", f"{files.url}/ratings_test.txt"]
    # The second time, the server answers that the copy in the cache is the current version.
    for _ in range(2):
        assert prepare("nsmc", files.url, tmp_path / "data") == 0
        assert incomplete(tmp_path / "data") == addresses
        errors = capfd.readouterr().err
        assert all(f"the server sent {address} without a length" in errors for address in addresses)
    rows = Dataset.open(tmp_path / "data").manifest.train.rows
    assert rows == 800 if not cuts else rows < 800


def test_the_end_of_a_chunked_and_of_a_gzipped_file_is_known(files: Files, tmp_path: Path) -> None:
    files.chunked = True
    assert prepare("nsmc", files.url, tmp_path / "data") == 0
    assert incomplete(tmp_path / "data") == []
    files.chunked, files.etag = False, '"two"'
    files.other_files = {f"{path}.gz": gzip.compress(content) for path, content in files.other_files.items()}
    assert prepare("nsmc", files.url, tmp_path / "data") == 0
    assert incomplete(tmp_path / "data") == []


def test_a_chunked_file_that_is_cut_is_downloaded_again(files: Files, tmp_path: Path) -> None:
    files.chunked, files.cuts = True, [CUT]
    assert prepare("nsmc", files.url, tmp_path / "data") == 0
    assert Dataset.open(tmp_path / "data").manifest.train.rows == 800


def test_a_file_that_is_cut_does_not_have_the_expected_digest(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files.etag, files.cuts = "", [CUT]
    assert prepare("nsmc", files.url, tmp_path / "data", f"sha256={BOTH}") == 2
    assert f"ratings_train.txt is not the expected file: {CUT:,} bytes" in capfd.readouterr().err
    assert prepare("nsmc", files.url, tmp_path / "data", f"sha256={BOTH}") == 0
    assert incomplete(tmp_path / "data") == []
    assert Dataset.open(tmp_path / "data").manifest.train.rows == 800


def test_a_file_that_is_cut_does_not_have_the_expected_rows(
    files: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files.etag, files.cuts = "", [CUT]
    assert prepare("nsmc", files.url, tmp_path / "data", "expected_rows=1000") == 2
    assert "rows, but expected_rows is 1,000. Check whether the source is complete" in capfd.readouterr().err
    assert prepare("nsmc", files.url, tmp_path / "data", "expected_rows=1000") == 0
    assert incomplete(tmp_path / "data") == [f"{files.url}/ratings_{part}.txt" for part in ("train", "test")]


def test_duplicates_are_counted_and_belong_to_the_expected_rows(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header, *rows = patients()
    write_csv(folder / "a.csv", [header, *rows, ["x", *rows[0][1:]]])
    write_csv(folder / "b.csv", [header, *rows[:5], rows[7]])
    settings = ("bad_rows=1", "expected_rows=449")
    assert prepare("diabetes", folder, tmp_path / "data", *settings) == 0
    assert json.loads((tmp_path / "data/dataset.json").read_text())["duplicates"] == 6
    assert "6 rows are equal to earlier ones" in capfd.readouterr().err
    assert prepare("diabetes", folder, tmp_path / "data", "bad_rows=1", "expected_rows=443") == 2
    assert "has 449 rows, but expected_rows is 443" in capfd.readouterr().err
    (folder / "b.csv").unlink()
    assert prepare("diabetes", folder, tmp_path / "data", "bad_rows=1", "expected_rows=443") == 0
    assert "duplicates" not in json.loads((tmp_path / "data/dataset.json").read_text())


def test_the_digests_of_local_files_are_verified(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    header, *rows = patients()
    write_csv(folder / "a.csv", [header, *rows[:220]])
    write_csv(folder / "dt=1/b.csv", [header, *rows[220:]])
    first, second = (
        hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("a.csv", "dt=1/b.csv")
    )

    def error(source: Path, digests: str) -> str:
        """Return the message of an error, or an empty text."""
        code = prepare("diabetes", source, tmp_path / "data", f"sha256={digests}", "force=true")
        message = capfd.readouterr().err.partition("error: ")[2]
        assert code == (2 if message else 0)
        return message

    assert not error(folder, f"a.csv={first}")
    assert not error(folder / "a.csv", first)
    assert f"a.csv is not the expected file: it has {(folder / 'a.csv').stat().st_size:,} bytes" in error(
        folder, f"a.csv={second}"
    )
    assert "is not the expected file" in error(folder / "a.csv", second)
    assert "c.csv was not read from the source" in error(folder, f"a.csv={first},c.csv={second}")
    assert "the file was not read from the source sklearn:diabetes" in error(Path("sklearn:diabetes"), first)
    (folder / "dt=1/b.csv").write_bytes((folder / "a.csv").read_bytes())
    assert "the source has several files; set sha256=a.csv=DIGEST,dt=1/b.csv=DIGEST" in error(folder, first)


@pytest.mark.parametrize("digests", ["abc", "a.csv=abc", "a.csv=", f"{'0' * 64},{'0' * 64}"])
def test_an_invalid_digest_is_rejected(tmp_path: Path, digests: str) -> None:
    assert prepare("nsmc", "nsmc:sample", tmp_path / "data", f"sha256={digests}") == 2


def test_the_parameters_of_the_source_are_no_inputs_of_the_training(tmp_path: Path) -> None:
    assert prepare("nsmc", "nsmc:sample", tmp_path / "a") == 0
    assert prepare("nsmc", "nsmc:sample", tmp_path / "b", "expected_rows=1000", f"sha256={BOTH}") == 0
    digests = {Dataset.open(tmp_path / name).manifest.input_digest for name in ("a", "b")}
    assert len(digests) == 1
