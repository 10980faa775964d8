"""The records of the run history keep their stored form, also records of earlier versions."""

from __future__ import annotations

import json
import tarfile

import pytest

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import (
    ROLLED_BACK,
    DataRecord,
    ProcessedInputs,
    RecordedVersion,
    RunRecord,
)
from continuous_training.core.json_object import JsonObject
from tests.compatibility.earlier_version import FIXTURES


@pytest.fixture(scope="module")
def stored() -> dict[str, str]:
    """The records of an earlier version by key."""
    with tarfile.open(FIXTURES / "local.tar.xz") as archive:
        members = [member for member in archive if member.isfile() and "/records/" in member.name]
        files = {member.name: archive.extractfile(member) for member in members}
        return {name.partition("/records/")[2]: file.read().decode() for name, file in files.items() if file}


def test_records_of_the_former_version_are_read_and_written_unchanged(stored: dict[str, str]) -> None:
    verdicts = set()
    for key, text in stored.items():
        document = JsonObject.parse(text, key, ArtifactError)
        record: RunRecord | ProcessedInputs | DataRecord
        if "/runs/" in key:
            record = RunRecord.from_json(document)
            verdicts.add(record.verdict)
        elif "/recipes/" in key:
            record = ProcessedInputs.from_json(document)
        else:
            record = DataRecord.from_json(document)
        assert record.to_json() == json.loads(text), key
    assert verdicts == {"promoted", "rejected", "unchanged", "rolled back"}


def test_a_withdrawn_version_is_not_named_as_served_until_it_is_reinstated() -> None:
    served = RunRecord(
        run="run-1",
        verdict="promoted",
        champion=RecordedVersion("1"),
        input_digest="abc",
        version="2",
        digest="d",
        endpoint="http://127.0.0.1/predict/a",
    )
    withdrawn = ProcessedInputs(served).withdraw("rollback-1")
    assert withdrawn.to_json() == {
        "run": "run-1",
        "verdict": ROLLED_BACK,
        "reasons": [],
        "champion": {"version": "1"},
        "recipe": "abc",
        "withdrawn": {
            "run": "rollback-1",
            "version": "2",
            "digest": "d",
            "endpoint": "http://127.0.0.1/predict/a",
        },
    }
    read = ProcessedInputs.from_json(JsonObject(withdrawn.to_json(), "record"))
    assert read.reinstate() == ProcessedInputs(served)
