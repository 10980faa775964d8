from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.bundle import BundleMetadata
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model
from tests.continuous_training.serving.toy_models import make_archive, make_bundle, write_package

GOLDEN = GoldenSet.from_json([{"request": {"x": [1]}, "answer": {"scale": 2, "y": [2.0]}}])


def test_the_same_input_gives_the_same_bytes_in_every_folder(tmp_path: Path) -> None:
    first = make_archive(tmp_path / "here")
    second = make_archive(tmp_path / "there")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.digest == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert first.path.name == f"toy-{first.digest[:12]}.mar"
    assert make_archive(tmp_path / "here", scale=3).digest != first.digest
    assert sorted(p.name for p in first.path.parent.iterdir() if p.name == first.path.name) == [
        first.path.name
    ]
    assert not [p for p in first.path.parent.iterdir() if p.name.startswith(".")]


def test_bytecode_is_not_archived(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    before = archive_writer.write(bundle, tmp_path / "a", golden=GOLDEN, provenance={})
    write_package(bundle, {"toy/__pycache__/base.cpython-311.pyc": "x"})
    assert archive_writer.write(bundle, tmp_path / "b", golden=GOLDEN, provenance={}).digest == before.digest


def test_unpack_returns_the_files_that_were_written(tmp_path: Path) -> None:
    written = make_archive(tmp_path)
    manifest = archive_writer.unpack(written.path, tmp_path / "out", written.digest)
    assert manifest == archive_writer.read_manifest(written.path)
    assert manifest.provenance == {"run": "test"}
    assert manifest.libraries.keys() == {"numpy", "onnxruntime", "faiss", "pillow"}
    assert all(manifest.libraries.values())
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert files == {*manifest.files, "archive.json"}
    model = load_model(tmp_path / "out")
    first = manifest.golden.requests[0]
    assert model.predict(first.request) == first.response
    model.unload()


def test_the_torchserve_manifest_names_the_handler_and_a_version_derived_from_the_content(
    tmp_path: Path,
) -> None:
    manifests = []
    for scale in (2, 2, 3):
        with zipfile.ZipFile(make_archive(tmp_path, scale=scale).path) as mar:
            manifests.append(json.loads(mar.read("MAR-INF/MANIFEST.json")))
    assert manifests[0] == manifests[1]
    assert manifests[0]["model"]["modelName"] == "toy"
    assert manifests[0]["model"]["handler"] == "torchserve_handler.py"
    assert manifests[0]["model"]["modelVersion"] != manifests[2]["model"]["modelVersion"]


def test_the_torchserve_handler_responds_to_a_batch_and_isolates_an_invalid_request(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    write_package(
        bundle,
        {
            "toy/base.py": "class Base:\n    def handle(self, data, context=None):\n"
            "        return [self.postprocess(self.inference(self.preprocess(r['body']))) for r in data]\n"
        },
    )
    written = archive_writer.write(bundle, tmp_path, golden=GOLDEN, provenance={})
    archive_writer.unpack(written.path, tmp_path / "model_dir")
    source = (tmp_path / "model_dir/torchserve_handler.py").read_text()
    scope: dict[str, Any] = {}
    exec(compile(source, "torchserve_handler.py", "exec"), scope)  # noqa: S102
    statuses: dict[int, int] = {}
    context = SimpleNamespace(
        system_properties={"model_dir": str(tmp_path / "model_dir")},
        set_response_status=lambda code, idx, **_: statuses.__setitem__(idx, code),
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]
    handler = scope["TorchServeHandler"]()
    try:
        handler.initialize(context)
        responses = handler.handle([{"body": {"x": [1]}}, {"body": "?"}, {"body": {"x": [2]}}], context)
    finally:
        sys.path.remove(str(tmp_path / "model_dir"))
    assert [responses[0]["y"], responses[2]["y"]] == [[2.0], [4.0]]
    assert "send" in responses[1]["error"]
    assert statuses == {1: 400}


def write_reserved(bundle: Path) -> None:
    (bundle / "archive.json").write_text("{}")


def write_backslash(bundle: Path) -> None:
    (bundle / "a\\b").write_text("")


def write_case_clash(bundle: Path) -> None:
    (bundle / "Model.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write_reserved, "the name is reserved for the archive's own file"),
        (write_backslash, "backslash"),
        (write_case_clash, "clashes"),
    ],
)
def test_a_bundle_with_an_unsafe_file_name_is_rejected(tmp_path: Path, damage: Any, message: str) -> None:
    bundle = make_bundle(tmp_path)
    damage(bundle)
    with pytest.raises(UserError, match=message):
        archive_writer.write(bundle, tmp_path / "out", golden=GOLDEN, provenance={})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("golden", "provenance", "message"),
    [
        ([], {}, "at least one"),
        ([{"request": 1}], {}, r"golden\[0\].answer is missing"),
        ([{"request": 1, "answer": float("nan")}], {}, "cannot be written as JSON"),
        (GOLDEN.to_json(), {"when": object()}, "cannot be written as JSON"),
    ],
)
def test_invalid_golden_requests_or_provenance_are_rejected(
    tmp_path: Path, golden: list[dict[str, Any]], provenance: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        archive_writer.write(
            make_bundle(tmp_path), tmp_path / "out", golden=GoldenSet.from_json(golden), provenance=provenance
        )
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_model_json_is_read_and_damage_names_file_and_field(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    path = bundle / "model.json"
    content = json.loads(path.read_text())
    assert BundleMetadata.read(bundle).signature.to_json() == content
    for change, field in (
        ({"handler": "no handler"}, "handler"),
        ({"name": None}, "name"),
        ({"inputs": []}, "inputs"),
        ({"outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1"]}]}, r"outputs\[0\].shape"),
        ({"recipe": "a", "code": "b", "parameters": {}}, "data"),
        ({"format": 2}, "format"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ArchiveError, match=f"model.json: {field} is"):
            BundleMetadata.read(bundle)


def test_the_metadata_of_a_training_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    path = bundle / "model.json"
    data = {
        "fingerprint": "f",
        "rows": 3,
        "sample": True,
        "split_rule": "r",
        "statistics": {"x": {"kind": "number", "rows": 3, "mean": 0.5}},
    }
    training = {
        "data": data | {"holdout": {"rows": 1, "fingerprint": "g"}}, "parameters": {"seed": 1}, "recipe": "a",
        "prepared": "b", "code": "c", "curve": [{"loss": 0.5}], "notes": {"rows": 3},
        "modules": {"workloads/digits/workload.py": "d"},
    }  # fmt: skip
    text = {"summary": "s", "request_schema": {"type": "object"}, "answer_schema": {}}
    content = json.loads(path.read_text()) | training | text
    path.write_text(json.dumps(content))
    metadata = BundleMetadata.read(bundle)
    assert metadata.to_json() == content
    older = {key: value for key, value in content.items() if key not in {"prepared", "modules"}}
    older["data"] = data
    path.write_text(json.dumps(older))
    record = BundleMetadata.read(bundle).require_training(bundle)
    assert (record.prepared_input_digest, record.data.holdout, record.modules) == ("a", None, {})
