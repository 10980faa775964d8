"""Who may know whom: the rooms of the house, held by what their modules import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("adapters", "workloads", "serving", "components", "pipelines")
MAY_IMPORT = {
    "adapters": {"adapters"},
    "workloads": {"adapters", "workloads"},
    "serving": {"adapters", "serving"},
    "components": {"adapters", "workloads", "serving", "components"},
    "pipelines": {"adapters", "workloads", "serving", "components", "pipelines"},
}
FORBIDDEN = {
    "workloads": {"kfp", "kubernetes", "mlflow"},
    "serving": {"kfp", "kubernetes", "mlflow", "torch", "sklearn", "starlette", "fastapi"},
}
PICKLES = {"pickle", "joblib", "dill", "cloudpickle"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_there_are_modules_in_every_room():
    assert {path.parts[0] for path in MODULES} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_its_room_may(path):
    room, found = path.parts[0], imports(ROOT / path)
    assert found & set(ROOMS) <= MAY_IMPORT[room], f"{path} knows too much"
    assert not found & FORBIDDEN.get(room, set()), f"{path} imports what its room must not hold"
    assert not found & PICKLES, f"{path}: nothing here is pickled"


def test_only_main_and_settings_read_the_environment():
    allowed = {"__main__.py", "settings.py"}
    reading = [
        str(path)
        for path in MODULES
        if path.name not in allowed
        and path.parts[0] != "pipelines"
        and any(word in (ROOT / path).read_text(encoding="utf-8") for word in ("os.getenv", "os.environ.get"))
    ]
    assert reading == []


@pytest.mark.parametrize(
    "name", sorted(path.parent.name for path in (ROOT / "workloads").glob("*/handler.py"))
)
def test_a_handler_loads_without_training_libraries(name):
    """The handler's module, as a serving image imports it, brings in none of what training needs."""
    code = (
        f"import sys, workloads.{name}.handler\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'pyarrow', 'mlflow', 'kfp', 'onnx', 'PIL'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_server_starts_without_training_libraries():
    """torch is installed where this test counts; the server must not even look at it."""
    code = (
        "import sys, continuous_training.serving.process.background, continuous_training.serving.process.server, continuous_training.serving.http.app, continuous_training.serving.http.management, continuous_training.serving.models.loading\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'pyarrow', 'mlflow', 'kfp', 'workloads'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
