"""What the package may import, and which parts of it stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS = {"continuous_training.core.errors", "continuous_training.adapters.object_store"}
THIRD_PARTY = {"PIL", "numpy", "orjson", "prometheus_client", "python_multipart", "uvicorn", "uvloop"}


@pytest.mark.parametrize("path", sorted((ROOT / "serving").rglob("*.py")), ids=lambda path: path.name)
def test_a_module_imports_only_what_a_serving_image_holds(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    allowed = {*sys.stdlib_module_names, *THIRD_PARTY, *({"requests"} if path.name == "client.py" else ())}
    strangers = {name for name in found if name.partition(".")[0] not in allowed and name not in ADAPTERS}
    assert not strangers


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (
            "continuous_training.artifacts.handler_packaging, continuous_training.artifacts.golden_requests, continuous_training.serving.process.daemon",
            {"numpy", "orjson", "uvicorn", "requests"},
        ),
        (
            "continuous_training.serving.process.client",
            {"numpy", "orjson", "prometheus_client", "uvicorn", "uvloop"},
        ),
        (
            "continuous_training.artifacts.archive, continuous_training.serving.models.model",
            {"orjson", "uvicorn", "requests"},
        ),
        (
            "continuous_training.serving.process.server, continuous_training.serving.process.foreground",
            {"requests", "onnxruntime", "faiss"},
        ),
    ],
)
def test_a_step_need_not_install_what_it_does_not_use(modules: str, without: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not without & set(loaded)
