"""The archive step: archives and versions are reproducible; a model that was not promoted is rejected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.archive.__main__ import main
from continuous_training.adapters.model_registry import CHALLENGER, Registry
from continuous_training.artifacts.archive_writer import read_manifest
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError

from .conftest import Line, replace_checksums


def test_the_archive_is_stored_under_its_digest_and_registered(line: Line) -> None:
    archived = line.up_to_archive("run-1")
    assert ArchivedModel.read(line.folder / "run-1/archive") == archived
    stored = line.store.root / archived.key
    assert archived.key == f"archives/{line.workload.name}/{archived.digest}.mar"
    assert digest_file(stored) == archived.digest
    local_archive = line.folder / f"run-1/archive/{line.workload.name}-{archived.digest[:12]}.mar"
    assert local_archive.read_bytes() == stored.read_bytes()
    version = line.registry.aliased(line.workload.name, CHALLENGER)
    assert version is not None
    assert (version.version, version.digest, version.archive) == ("1", archived.digest, archived.key)
    evaluation = json.loads((line.folder / "run-1/evaluation/evaluation.json").read_text())
    assert (archived.evaluated_champion, archived.reasons) == (None, tuple(evaluation["reasons"]))
    assert version.tags["recipe"] == archived.input_digest == evaluation["recipe"]
    assert version.tags["model_digest"] == evaluation["model_digest"]


def test_the_manifest_contains_the_origin_of_the_model(line: Line) -> None:
    archived = line.up_to_archive("run-1", fence="51")
    manifest = read_manifest(line.store.root / archived.key)
    dataset = json.loads((line.folder / "run-1/data/dataset.json").read_text())
    assert manifest.provenance["data"] == {
        "fingerprint": dataset["fingerprint"], "split_rule": dataset["split_rule"], "sample": False,
    }  # fmt: skip
    assert manifest.provenance["parameters"] == {"fence": 51.0, "seed": 0, "test_size": 0.2}
    golden = json.loads((line.folder / "run-1/evaluation/golden.json").read_text())
    assert manifest.golden.to_json() == golden


def test_the_same_bundle_gives_the_same_archive_and_version(line: Line) -> None:
    first = line.up_to_archive("run-1")
    repeated = line.archive("run-1")
    other = line.up_to_archive("run-2", as_of="2020-01-01", force="true")
    assert first == repeated
    assert (other.digest, other.version, other.key) == (first.digest, first.version, first.key)
    assert len(line.store.keys("archives")) == 1
    another = line.up_to_archive("run-3", fence="51")
    assert another.version == "2"
    assert another.digest != first.digest


def test_a_reproduced_champion_is_not_its_own_challenger(line: Line) -> None:
    line.promote("run-1")
    line.up_to_archive("run-2")
    assert line.registry.aliased(line.workload.name, CHALLENGER) is None


def test_a_rejected_model_is_not_archived(line: Line) -> None:
    line.promote("run-1")
    line.train("run-2", fence="70")
    line.evaluate("run-2")
    with pytest.raises(UserError, match="was rejected and is not archived: accuracy against champion 1"):
        line.archive("run-2")
    assert not (line.folder / "run-2/archive").exists()
    assert len(line.store.keys("archives")) == 1


def test_an_evaluation_of_another_model_is_rejected(line: Line) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    (line.folder / "run-1/model/fence.json").write_text("0")
    replace_checksums(line.folder / "run-1/model")
    with pytest.raises(UserError, match="is the evaluation of another model, not of"):
        line.archive("run-1")


def test_a_missing_evaluation_is_rejected(line: Line) -> None:
    line.train("run-1")
    with pytest.raises(UserError, match=r"there is no file .*evaluation\.json; run the evaluate step"):
        line.archive("run-1")


def test_mlflow_reads_the_signature_and_the_example(line: Line, tmp_path: Path) -> None:
    archived = line.up_to_archive("run-1")
    version = line.registry.find(line.workload.name, archived.digest)
    assert version is not None
    code = (
        "import json, sys, mlflow\n"
        "from mlflow.models import Model\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "client = mlflow.MlflowClient()\n"
        "version = client.get_model_version(sys.argv[2], sys.argv[3])\n"
        "path = mlflow.artifacts.download_artifacts(artifact_uri=version.source, dst_path=sys.argv[4])\n"
        "model = Model.load(path)\n"
        "print(json.dumps({'inputs': model.signature.inputs.to_dict(), 'flavors': model.flavors,\n"
        "    'outputs': model.signature.outputs.to_dict(), 'example': model.load_input_example(path)}))\n"
    )
    arguments = [line.registry.uri, line.workload.name, version.version, str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    logged = json.loads(process.stdout.splitlines()[-1])
    assert logged["inputs"] == [
        {"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}
    ]
    assert logged["outputs"] == [
        {"name": "label", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}
    ]
    assert logged["flavors"]["mar"]["archive_digest"] == archived.digest
    assert logged["example"] == read_manifest(line.store.root / archived.key).golden.requests[0].request


def test_the_command(
    line: Line, registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("CT_STORE", str(line.store.root))
    line.train("run-1")
    model, evaluation, output = (
        str(line.folder / "run-1" / part) for part in ("model", "evaluation", "archive")
    )
    arguments = ["--model", model, "--evaluation", evaluation, "--output", output]
    assert main(arguments) == 2
    assert "error: there is no" in capsys.readouterr().err
    line.evaluate("run-1")
    assert main(arguments) == 0
    archived = ArchivedModel.read(Path(output))
    expected = f"archive: {line.workload.name} version 1, sha256 {archived.digest}\n"
    assert capsys.readouterr().out.endswith(expected)
