"""What is in each image without torch, and what is not."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import docker
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.images import Images
from pipelines.steps import USER

from .conftest import HARDENED, TORCH_FREE

LOOK = """
import importlib.util, json, os, shutil, sys
from importlib import metadata
from typing import Any
os.environ["_KFP_RUNTIME"] = "true"
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "python": sys.version.partition(" ")[0],
    "requires": {d.metadata["Name"]: d.requires or [] for d in metadata.distributions()},
    "modules": [m for m in ("pip", "setuptools", "ensurepip", "pipelines") if importlib.util.find_spec(m)],
    "programs": [p for p in ("pip", "pip3", "gcc", "cc", "make", "uv", "git") if shutil.which(p)],
    "writable": [p for p in ("/", "/app", sys.prefix, os.path.expanduser("~")) if os.access(p, os.W_OK)],
    "executor": bool(importlib.util.find_spec("kfp") and importlib.import_module("kfp.dsl.executor_main")),
}))
"""

TMP = "/tmp"  # noqa: S108
STEPS = [target for target in TORCH_FREE if target != "serving"]


@pytest.fixture(params=TORCH_FREE, scope="module")
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def look(engine: docker.DockerClient, images: Images, target: str) -> dict[str, Any]:
    """What a process in the image finds there."""
    found = json.loads(run(engine, images.of(target), "python", "-c", LOOK))
    return found | {"requires": {canonicalize_name(name): its for name, its in found["requires"].items()}}


def run(engine: docker.DockerClient, image: str, *command: str) -> str:
    """Run a command in the image, or what the image runs by itself; returns what it prints."""
    more: dict[str, Any] = {"entrypoint": []} if command else {}
    return engine.containers.run(image, [*command], remove=True, **HARDENED, **more).decode()


def test_it_holds_what_its_extra_names_and_no_more(target: str, look: dict[str, Any]) -> None:
    wanted = needed(look["requires"], look["python"], "continuous-training", target)
    assert set(look["requires"]) - wanted == (set() if target == "serving" else {"kfp"})
    assert wanted <= set(look["requires"])


def needed(requires: dict[str, list[str]], python: str, name: str, extra: str = "") -> set[str]:
    """Return a distribution and all that it needs with an extra, on that version of Python."""
    environment = {"extra": extra, "python_full_version": python, "python_version": python.rpartition(".")[0]}
    found = {name}
    for line in requires.get(name, []):
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate(environment):
            for its in one.extras or {""}:
                found |= needed(requires, python, canonicalize_name(one.name), its)
    return found


def test_what_only_training_needs_is_elsewhere(target: str, look: dict[str, Any]) -> None:
    assert not {"torch", "mlflow"} & set(look["requires"])
    assert ("scikit-learn" in look["requires"]) == (target in {"prep-data", "train"})


def test_only_steps_that_talk_to_a_cluster_can(target: str, look: dict[str, Any]) -> None:
    assert ("kubernetes" in look["requires"]) == (target in {"train", "deploy-serving"})


def test_it_can_install_nothing_and_write_to_tmp_alone(look: dict[str, Any]) -> None:
    assert look["user"] == [USER, USER]
    assert (look["modules"], look["programs"], look["writable"]) == ([], [], [TMP])


def test_left_alone_it_tells_what_it_takes(engine: docker.DockerClient, images: Images, target: str) -> None:
    module = "serving serve" if target == "serving" else f"components.{target.replace('-', '_')}"
    assert run(engine, images.of(target)).startswith(f"usage: python -m {module}")


def test_a_step_can_be_run_by_the_executor(target: str, look: dict[str, Any]) -> None:
    assert look["executor"] == (target != "serving")


def test_its_labels_say_what_it_is(engine: docker.DockerClient, images: Images, target: str) -> None:
    image = engine.images.get(images.of(target))
    told = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
    assert told["title"] == target
    assert told["description"]
    assert told["version"] == metadata.version("continuous-training")
    print(f"{target}: {image.attrs['Size'] / 1e6:.0f} MB")


def test_what_several_images_hold_is_one_layer(engine: docker.DockerClient, images: Images) -> None:
    """All that is below the code, which is the last and the smallest."""
    below = {step: engine.images.get(images.of(step)).attrs["RootFS"]["Layers"][:-1] for step in STEPS}
    for step in STEPS:
        inherited = below["notify"] if step == "notify" else below["archive"]
        assert below[step][: len(inherited)] == inherited
    assert below["deploy-serving"][:-1] == below["evaluate"]
    assert below["prep-data"][:-1] == below["train"][:-1]
