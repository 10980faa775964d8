from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_models import make_archive, make_bundle, write_package

from continuous_training.artifacts import archive
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model

GOLDEN: list[dict[str, Any]] = [{"request": {"x": [1]}, "answer": {"scale": 2, "y": [2.0]}}]


def test_the_same_input_gives_the_same_bytes_anywhere(tmp_path: Path) -> None:
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


def test_bytecode_stays_out(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    before = archive.write(bundle, tmp_path / "a", golden=GOLDEN, provenance={})
    write_package(bundle, {"toy/__pycache__/base.cpython-311.pyc": "x"})
    assert archive.write(bundle, tmp_path / "b", golden=GOLDEN, provenance={}).digest == before.digest


def test_unpacks_to_what_was_written(tmp_path: Path) -> None:
    made = make_archive(tmp_path)
    manifest = archive.unpack(made.path, tmp_path / "out", made.digest)
    assert manifest == archive.read_manifest(made.path)
    assert manifest["provenance"] == {"run": "test"}
    assert manifest["libraries"].keys() == {"numpy", "onnxruntime", "faiss", "pillow"}
    assert all(manifest["libraries"].values())
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {*manifest["files"], "archive.json"}
    model = load_model(tmp_path / "out")
    assert model.predict(manifest["golden"][0]["request"]) == manifest["golden"][0]["answer"]
    model.unload()


def test_torchserve_finds_a_handler_and_a_version_that_follows_from_the_content(tmp_path: Path) -> None:
    manifests = []
    for scale in (2, 2, 3):
        with zipfile.ZipFile(make_archive(tmp_path, scale=scale).path) as mar:
            manifests.append(json.loads(mar.read("MAR-INF/MANIFEST.json")))
    assert manifests[0] == manifests[1]
    assert manifests[0]["model"]["modelName"] == "toy"
    assert manifests[0]["model"]["handler"] == "torchserve_handler.py"
    assert manifests[0]["model"]["modelVersion"] != manifests[2]["model"]["modelVersion"]


def test_the_torchserve_handler_answers_a_batch_and_isolates_a_bad_request(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    write_package(
        bundle,
        {
            "toy/base.py": "class Base:\n    def handle(self, data, context=None):\n"
            "        return [self.postprocess(self.inference(self.preprocess(r['body']))) for r in data]\n"
        },
    )
    made = archive.write(bundle, tmp_path, golden=GOLDEN, provenance={})
    archive.unpack(made.path, tmp_path / "model_dir")
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
        answers = handler.handle([{"body": {"x": [1]}}, {"body": "?"}, {"body": {"x": [2]}}], context)
    finally:
        sys.path.remove(str(tmp_path / "model_dir"))
    assert [answers[0]["y"], answers[2]["y"]] == [[2.0], [4.0]]
    assert "send" in answers[1]["error"]
    assert statuses == {1: 400}


def write_reserved(bundle: Path) -> None:
    (bundle / "archive.json").write_text("{}")


def write_backslash(bundle: Path) -> None:
    (bundle / "a\\b").write_text("")


def write_case_clash(bundle: Path) -> None:
    (bundle / "Model.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (write_reserved, "the archive itself writes that name"),
        (write_backslash, "backslash"),
        (write_case_clash, "clashes"),
    ],
)
def test_refuses_to_write_what_could_not_be_read(tmp_path: Path, spoil: Any, message: str) -> None:
    bundle = make_bundle(tmp_path)
    spoil(bundle)
    with pytest.raises(UserError, match=message):
        archive.write(bundle, tmp_path / "out", golden=GOLDEN, provenance={})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("golden", "provenance", "message"),
    [
        ([], {}, "at least one"),
        ([{"request": 1}], {}, "at least one"),
        ([{"request": 1, "answer": float("nan")}], {}, "cannot be written as JSON"),
        (GOLDEN, {"when": object()}, "cannot be written as JSON"),
    ],
)
def test_refuses_golden_requests_that_prove_nothing(
    tmp_path: Path, golden: list[dict[str, Any]], provenance: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        archive.write(make_bundle(tmp_path), tmp_path / "out", golden=golden, provenance=provenance)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
