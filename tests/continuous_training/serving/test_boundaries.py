"""The libraries that the server's modules import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
THIRD_PARTY = {
    "PIL",
    "httptools",
    "numpy",
    "orjson",
    "prometheus_client",
    "python_multipart",
    "uvicorn",
    "uvloop",
}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "continuous_training/serving").rglob("*.py")), ids=lambda path: path.name
)
def test_a_module_imports_only_libraries_of_the_serving_image(path: Path) -> None:
    imports = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imports.add(node.module or "")
    allowed = {
        *sys.stdlib_module_names,
        *THIRD_PARTY,
        "continuous_training",
        *({"requests"} if path.name == "client.py" else ()),
    }
    assert not {name for name in imports if name.partition(".")[0] not in allowed}


@pytest.mark.parametrize(
    ("modules", "excluded"),
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
            "artifacts.archive_writer serving.models.model",
            {"orjson", "uvicorn", "requests"},
        ),
        (
            "serving.process.server serving.process.foreground",
            {"requests", "onnxruntime", "faiss"},
        ),
    ],
)
def test_a_step_loads_only_the_libraries_that_it_uses(modules: str, excluded: set[str]) -> None:
    names = ", ".join(f"continuous_training.{module}" for module in modules.split())
    command = [sys.executable, "-c", f"import sys, {names}; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not excluded & set(loaded)
