"""Test the import rules of docs/architecture.md."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .imports import ROOT, Import, cycles, import_graph, imported_names, module_name, source_files

LAYERS = (
    {"pipelines"},
    {"serving", "components"},
    {"workloads"},
    {"continuous_training.operations", "continuous_training.trigger"},
    {"continuous_training.kubeflow", "continuous_training.report"},
    {"continuous_training.rollout", "continuous_training.evaluation"},
    {"continuous_training.serving"},
    {"continuous_training.adapters", "continuous_training.artifacts"},
    {"continuous_training.core"},
)
"""A package imports only packages of lower rows. Packages of the same row do not import each other.

There is one exception: adapters may import artifacts."""
SERVING_LAYERS = (
    {"process"},
    {"http", "page"},
    {"api"},
    {"models"},
)
PURE = {"continuous_training.evaluation": {"continuous_training.adapters", "continuous_training.serving"}}
FORBIDDEN = {
    "workloads": {"kfp", "kubernetes", "mlflow"},
    "continuous_training": {"kfp"},
    "continuous_training.serving": {"kubernetes", "mlflow", "torch", "sklearn", "starlette", "fastapi"},
}
PICKLES = {"pickle", "joblib", "dill", "cloudpickle"}
FILES = source_files()


def layer_of(module: str, layers: tuple[set[str], ...]) -> tuple[int, str] | None:
    for row, packages in enumerate(layers):
        for package in packages:
            if module == package or module.startswith(f"{package}."):
                return row, package
    return None


def violations() -> set[Import]:
    result = set()
    prefix = "continuous_training.serving."
    for edge in import_graph():
        pairs = [(layer_of(edge.importer, LAYERS), layer_of(edge.imported, LAYERS))]
        if edge.importer.startswith(prefix) and edge.imported.startswith(prefix):
            names = [name.removeprefix(prefix) for name in edge]
            pairs.append((layer_of(names[0], SERVING_LAYERS), layer_of(names[1], SERVING_LAYERS)))
        for importer, imported in pairs:
            if importer is None or imported is None or importer[1] == imported[1]:
                continue
            adapters_read_artifacts = (importer[1], imported[1]) == (
                "continuous_training.adapters",
                "continuous_training.artifacts",
            )
            upward = imported[0] <= importer[0] and not adapters_read_artifacts
            if upward or imported[1] in PURE.get(importer[1], set()):
                result.add(edge)
    return result


def test_every_layer_contains_modules() -> None:
    layers = {layer_of(module_name(path), LAYERS) for path in FILES}
    assert {layer[0] for layer in layers if layer} == set(range(len(LAYERS)))


def test_imports_follow_the_layers():
    assert violations() == set()


def test_there_are_no_circular_imports():
    assert cycles(import_graph()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_allowed_libraries(path):
    module, names = module_name(path), {name.split(".")[0] for name in imported_names(path)}
    for package, libraries in FORBIDDEN.items():
        if module == package or module.startswith(f"{package}."):
            assert not names & libraries
    assert not names & PICKLES


def test_only_entry_points_and_settings_read_the_environment():
    allowed = {"__main__.py", "settings.py"}
    result = [
        str(path.relative_to(ROOT))
        for path in FILES
        if path.name not in allowed
        and path.relative_to(ROOT).parts[0] != "pipelines"
        and any(name in path.read_text(encoding="utf-8") for name in ("os.getenv", "os.environ.get"))
    ]
    assert result == []


def loaded_modules(code: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", f"import sys, {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "name", sorted(path.parent.name for path in (ROOT / "workloads").glob("*/handler.py"))
)
def test_a_handler_loads_without_training_libraries(name):
    training_libraries = {"torch", "sklearn", "pandas", "pyarrow", "mlflow", "kfp", "onnx", "PIL"}
    assert not training_libraries & loaded_modules(f"workloads.{name}.handler")


@pytest.mark.parametrize("step", ["archive", "deploy_serving", "notify"])
def test_a_step_without_rows_starts_without_numpy_and_pyarrow(step):
    libraries = {"numpy", "pyarrow", "matplotlib", "kubernetes", "workloads"}
    assert not libraries & loaded_modules(f"components.{step}.__main__")


def test_the_server_starts_without_training_libraries():
    modules = (
        "process.background",
        "process.server",
        "process.application",
        "http.management",
        "models.loading",
    )
    training_libraries = {"torch", "sklearn", "pandas", "pyarrow", "mlflow", "kfp", "workloads"}
    assert not training_libraries & loaded_modules(
        ", ".join(f"continuous_training.serving.{name}" for name in modules)
    )
