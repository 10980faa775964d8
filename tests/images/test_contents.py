"""What is in each image without torch, and what is not."""

from __future__ import annotations

import json
from importlib import metadata

import docker
import pytest

from benchmarks.serving_image import closure
from pipelines.images import Images
from pipelines.steps import USER

from .conftest import HARDENED, TORCH_FREE

LOOK = """
import importlib.util, json, os, shutil, sys
from importlib import metadata
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "distributions": sorted(d.metadata["Name"].lower() for d in metadata.distributions()),
    "modules": [m for m in ("pip", "setuptools", "ensurepip", "pipelines") if importlib.util.find_spec(m)],
    "programs": [p for p in ("pip", "pip3", "gcc", "cc", "make", "uv", "git") if shutil.which(p)],
    "writable": [p for p in ("/", "/app", sys.prefix, os.path.expanduser("~")) if os.access(p, os.W_OK)],
}))
"""

TMP = "/tmp"  # noqa: S108
STEPS = [target for target in TORCH_FREE if target != "serving"]


@pytest.fixture(params=TORCH_FREE)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


def run(engine: docker.DockerClient, image: str, *command: str) -> str:
    return engine.containers.run(image, [*command], entrypoint=[], remove=True, **HARDENED).decode()


def test_it_holds_what_its_extra_names_and_no_more(
    engine: docker.DockerClient, images: Images, target: str
) -> None:
    found = json.loads(run(engine, images.of(target), "python", "-c", LOOK))
    expected = {*closure(extras=frozenset({target})), "continuous-training"}
    if target != "serving":
        expected.add("kfp")
    assert set(found["distributions"]) == expected
    print(f"{target}: {engine.images.get(images.of(target)).attrs['Size'] / 1e6:.0f} MB")


def test_it_can_install_nothing_and_write_to_tmp_alone(
    engine: docker.DockerClient, images: Images, target: str
) -> None:
    found = json.loads(run(engine, images.of(target), "python", "-c", LOOK))
    assert found["user"] == [USER, USER]
    assert (found["modules"], found["programs"], found["writable"]) == ([], [], [TMP])


@pytest.mark.parametrize("target", ["deploy-serving", "notify", "serving", "evaluate", "archive"])
def test_what_only_training_needs_is_elsewhere(
    engine: docker.DockerClient, images: Images, target: str
) -> None:
    found = json.loads(run(engine, images.of(target), "python", "-c", LOOK))["distributions"]
    assert not {"torch", "scikit-learn", "mlflow", "onnx"} & set(found)


@pytest.mark.parametrize("step", STEPS)
def test_its_step_tells_what_it_takes(engine: docker.DockerClient, images: Images, step: str) -> None:
    module = f"components.{step.replace('-', '_')}"
    image = images.of(step)
    told = run(engine, image, "python", "-m", module, "--help")
    assert told.startswith(f"usage: python -m {module}")
    # What the image says when nothing is asked of it, and what the executor of KFP says without a component.
    assert engine.containers.run(image, remove=True, **HARDENED).decode() == told
    executor = run(engine, image, "env", "_KFP_RUNTIME=true", "python3", "-m", "kfp.dsl.executor_main", "-h")
    assert "--executor_input" in executor


def test_the_server_tells_its_commands(engine: docker.DockerClient, images: Images) -> None:
    told = engine.containers.run(images.of("serving"), ["--help"], remove=True, **HARDENED).decode()
    assert "serve archives in the foreground" in told


def test_its_labels_say_what_it_is(engine: docker.DockerClient, images: Images, target: str) -> None:
    labels = engine.images.get(images.of(target)).labels
    told = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert told["title"] == target
    assert told["description"]
    assert told["version"] == metadata.version("continuous-training")


def test_what_several_images_hold_is_one_layer(engine: docker.DockerClient, images: Images) -> None:
    """All that is below the code, which is the last and the smallest."""
    below = {step: engine.images.get(images.of(step)).attrs["RootFS"]["Layers"][:-1] for step in STEPS}
    for step in STEPS:
        inherited = below["notify"] if step == "notify" else below["archive"]
        assert below[step][: len(inherited)] == inherited
    assert below["deploy-serving"][:-1] == below["evaluate"]
