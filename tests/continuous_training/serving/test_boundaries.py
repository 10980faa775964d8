"""What the package may import, and which parts of it stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
THIRD_PARTY = {"PIL", "numpy", "orjson", "prometheus_client", "python_multipart", "uvicorn", "uvloop"}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "continuous_training/serving").rglob("*.py")), ids=lambda path: path.name
)
def test_a_module_imports_only_what_a_serving_image_holds(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    allowed = {
        *sys.stdlib_module_names,
        *THIRD_PARTY,
        "continuous_training",
        *({"requests"} if path.name == "client.py" else ()),
    }
    strangers = {name for name in found if name.partition(".")[0] not in allowed}
    assert not strangers


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (
            "artifacts.handler_packaging artifacts.golden_requests serving.process.daemon",
            {"numpy", "orjson", "uvicorn", "requests"},
        ),
        (
            "serving.process.client",
            {"numpy", "orjson", "prometheus_client", "uvicorn", "uvloop"},
        ),
        (
            "artifacts.archive serving.models.model",
            {"orjson", "uvicorn", "requests"},
        ),
        (
            "serving.process.server serving.process.foreground",
            {"requests", "onnxruntime", "faiss"},
        ),
    ],
)
def test_a_step_need_not_install_what_it_does_not_use(modules: str, without: set[str]) -> None:
    names = ", ".join(f"continuous_training.{module}" for module in modules.split())
    code = f"import sys, {names}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not without & set(loaded)
