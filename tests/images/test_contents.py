"""The content of each image without torch: distributions, programs, permissions, layers."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import docker
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.images import Images
from pipelines.steps.defaults import USER

from .conftest import HARDENED, TORCH_FREE

INSPECTION_SCRIPT = """
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
def content(engine: docker.DockerClient, images: Images, target: str) -> dict[str, Any]:
    """The result of the inspection script in the image."""
    result = json.loads(run(engine, images.of(target), "python", "-c", INSPECTION_SCRIPT))
    requires = {canonicalize_name(name): lines for name, lines in result["requires"].items()}
    return result | {"requires": requires}


def run(engine: docker.DockerClient, image: str, *command: str) -> str:
    """Run a command in the image, by default its entry point. Return the output."""
    options: dict[str, Any] = {"entrypoint": []} if command else {}
    return engine.containers.run(image, [*command], remove=True, **HARDENED, **options).decode()


def test_the_image_contains_exactly_the_distributions_of_its_extra(
    target: str, content: dict[str, Any]
) -> None:
    expected = required_distributions(content["requires"], content["python"], "continuous-training", target)
    assert set(content["requires"]) - expected == (set() if target == "serving" else {"kfp"})
    assert expected <= set(content["requires"])


def required_distributions(
    requires: dict[str, list[str]], python: str, name: str, extra: str = ""
) -> set[str]:
    """Return a distribution and its transitive requirements with an extra, for a version of Python."""
    environment = {"extra": extra, "python_full_version": python, "python_version": python.rpartition(".")[0]}
    names = {name}
    for line in requires.get(name, []):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            for required_extra in requirement.extras or {""}:
                names |= required_distributions(
                    requires, python, canonicalize_name(requirement.name), required_extra
                )
    return names


def test_training_libraries_are_only_in_the_training_images(target: str, content: dict[str, Any]) -> None:
    assert not {"torch", "mlflow"} & set(content["requires"])
    assert ("scikit-learn" in content["requires"]) == (target in {"prep-data", "train"})


def test_only_images_of_cluster_clients_contain_kubernetes(target: str, content: dict[str, Any]) -> None:
    assert ("kubernetes" in content["requires"]) == (target in {"train", "deploy-serving", "notify"})


def test_the_image_has_no_installer_and_only_tmp_is_writable(content: dict[str, Any]) -> None:
    assert content["user"] == [USER, USER]
    assert (content["modules"], content["programs"], content["writable"]) == ([], [], [TMP])


def test_the_entry_point_prints_its_usage(engine: docker.DockerClient, images: Images, target: str) -> None:
    module = "serving serve" if target == "serving" else f"components.{target.replace('-', '_')}"
    assert run(engine, images.of(target)).startswith(f"usage: python -m {module}")


def test_the_executor_of_kfp_is_in_the_images_of_steps(target: str, content: dict[str, Any]) -> None:
    assert content["executor"] == (target != "serving")


def test_labels(engine: docker.DockerClient, images: Images, target: str) -> None:
    image = engine.images.get(images.of(target))
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
    assert labels["title"] == target
    assert labels["description"]
    assert labels["version"] == metadata.version("continuous-training")
    print(f"{target}: {image.attrs['Size'] / 1e6:.0f} MB")


def test_images_share_the_layers_of_common_packages(engine: docker.DockerClient, images: Images) -> None:
    """The last and smallest layer contains the code; the layers below it are compared."""
    below = {step: engine.images.get(images.of(step)).attrs["RootFS"]["Layers"][:-1] for step in STEPS}
    for step in STEPS:
        inherited = below["notify"] if step == "notify" else below["archive"]
        assert below[step][: len(inherited)] == inherited
    assert below["deploy-serving"][:-1] == below["evaluate"]
    assert below["prep-data"][:-1] == below["train"][:-1]
