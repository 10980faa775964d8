"""The compiled pipelines: equal to the golden files, deterministic, and without faulty features of KFP."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from continuous_training.core.errors import UserError
from pipelines import compile as compile_command
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.steps.defaults import STEPS
from tests.pipelines import golden
from tests.pipelines.pods import count_pods
from workloads import discovery

ROOT = Path(__file__).parents[2]


def spec(text: str) -> tuple[dict, dict]:
    pipeline, platform = yaml.safe_load_all(text)
    return pipeline, platform


@pytest.fixture(params=golden.NAMES, scope="module")
def compiled(request):
    return spec(compile_workload(request.param, golden.IMAGES).text)


@pytest.mark.parametrize("name", sorted(golden.FILES))
def test_is_the_golden_file(name):
    expected = (golden.FOLDER / name).read_text(encoding="utf-8")
    assert golden.FILES[name]() == expected, "for an intended change: run make golden and review it"


def test_is_the_same_in_any_directory_and_process(tmp_path):
    texts = set()
    for folder in (ROOT, tmp_path):
        out = tmp_path / folder.name / "out"
        subprocess.run(
            [sys.executable, "-m", "pipelines.compile", "--workload", "digits", "--output", str(out)],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        texts.add((out / "digits.yaml").read_bytes())
    assert len(texts) == 1


def test_inputs_are_the_workloads_parameters(compiled):
    pipeline, _ = compiled
    inputs = pipeline["root"]["inputDefinitions"]["parameters"]
    workload = discovery.get(pipeline["pipelineInfo"]["name"])
    kinds = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", bool: "BOOLEAN"}
    assert {name: definition["parameterType"] for name, definition in inputs.items()} == {
        p.name: kinds[p.type] for p in workload.parameters()
    }


def test_every_step_has_a_timeout_and_an_unprivileged_user(compiled):
    _, platform = compiled
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name.removeprefix("exec-") for name in executors} == set(STEPS)
    for settings in executors.values():
        assert int(settings["activeDeadlineSeconds"]) > 0
        assert settings["securityContext"] == {"runAsNonRoot": True, "runAsUser": "10001"}


def test_uses_no_faulty_feature_of_kfp(compiled):
    pipeline, _ = compiled
    text = yaml.safe_dump(pipeline)
    assert "taskFinalStatus" not in text, "the status that KFP passes to an exit handler is often wrong"
    assert "OneOf" not in text
    assert "pip install" not in text
    assert ":latest" not in text


@pytest.mark.parametrize(
    ("outputs", "drivers", "launchers"),
    [
        ({"prep-data": True, "evaluate": True}, 8, 6),
        ({"prep-data": True, "evaluate": False}, 7, 4),
        ({"prep-data": False}, 5, 2),
    ],
    ids=["promoted", "rejected", "unchanged"],
)
def test_is_short(compiled, outputs, drivers, launchers):
    """docs/cluster.md lists these numbers."""
    assert count_pods(compiled[0], outputs) == {"drivers": drivers, "launchers": launchers}


def test_only_train_is_cached(compiled):
    pipeline, _ = compiled
    cached = set()
    for group in [pipeline["root"], *(c for c in pipeline["components"].values() if "dag" in c)]:
        for name, task in group["dag"]["tasks"].items():
            if task.get("cachingOptions", {}).get("enableCache"):
                cached.add(name)
    assert cached == {"train"}


def test_a_change_creates_another_version():
    images = golden.IMAGES
    same, other = (
        compile_workload("digits", images),
        compile_workload("digits", Images("elsewhere", "golden")),
    )
    assert same.version == compile_workload("digits", images).version
    assert same.version != other.version


def test_images_by_digest(tmp_path, capsys):
    digest = "sha256:" + "ab" * 32
    digests = tmp_path / "digests.json"
    digests.write_text(json.dumps({"train": digest}))
    arguments = [
        "--workload",
        "digits",
        "--registry",
        "r.example/ct/",
        "--tag",
        "abc",
        "--digests",
        str(digests),
    ]
    assert compile_command.main([*arguments, "--output", str(tmp_path)]) == 0
    executors = spec((tmp_path / "digits.yaml").read_text())[0]["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"]["image"] == f"r.example/ct/train@{digest}"
    assert executors["exec-evaluate"]["container"]["image"] == "r.example/ct/evaluate:abc"
    printed = capsys.readouterr()
    assert str(tmp_path / "digits.yaml") in printed.out
    assert "Upload pipeline" in printed.err


@pytest.mark.parametrize(
    ("assignment", "image"),
    [
        ("model=fast", "train"),
        ("model=deep", "train-torch"),
        # The model is not fixed, so a run may select a model that needs torch.
        ("passes=5", "train-torch"),
    ],
)
def test_fixed_parameters_are_no_inputs_and_select_the_image(tmp_path, assignment, image):
    arguments = ["--workload", "nsmc", "--set", assignment, "--tag", "abc", "--output", str(tmp_path)]
    assert compile_command.main(arguments) == 0
    pipeline, _ = spec((tmp_path / "nsmc.yaml").read_text())
    name, _, value = assignment.partition("=")
    assert name not in pipeline["root"]["inputDefinitions"]["parameters"]
    executors = pipeline["deploymentSpec"]["executors"]
    assert executors["exec-train"]["container"]["image"] == f"continuous-training/{image}:abc"
    tasks = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    for step in ("prep-data", "train"):
        lines = tasks[step]["inputs"]["parameters"]["parameters"]["runtimeValue"]["constant"].splitlines()
        assert f"{name}={value}" in lines
    prepare = tasks["prep-data"]["inputs"]["parameters"]
    assert prepare["train_image"]["runtimeValue"]["constant"] == image
    assert ("torch" in prepare["packages"]["runtimeValue"]["constant"]) is (image == "train-torch")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "nsmc", "--set", "model=large"], "one of fast, deep, both"),
        (["--workload", "digits", "--set", "model=fast"], "there is no run parameter 'model'"),
        (["--workload", "nothere"], f"registered are: {', '.join(golden.NAMES)}"),
        (["--tag", "latest"], "the image could change"),
        (["--tag", "a b"], "is not a valid tag"),
        (["--digests", "/nowhere.json"], "cannot be read"),
    ],
)
def test_refuses_with_a_reason_and_writes_nothing(arguments, message, tmp_path, capsys):
    assert compile_command.main([*arguments, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["mysql", "registry"])
def test_a_workload_with_the_name_of_a_service_of_another_owner_is_rejected(name):
    with pytest.raises(UserError, match=f"endpoint would be the Service {name}, which belongs to"):
        compile_workload(name, Images())


def test_without_arguments_compiles_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert compile_command.main([]) == 0
    assert sorted(path.name for path in Path("build/pipelines").iterdir()) == [
        f"{name}.yaml" for name in golden.NAMES
    ]
    assert "-m pipelines.run --workload" in capsys.readouterr().err
