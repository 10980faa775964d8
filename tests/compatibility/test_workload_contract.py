"""The documented names of the workload contract can be imported and called as in the earlier version."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import files_server

from .earlier_version import FIXTURES, ROOT, clean_environment, read_document, run_module

CONTRACT = read_document("contract.json")
"""By module: documented names with parameters, methods and attributes, and other importable names."""

INSPECT = """
import importlib, inspect, json, sys, warnings
import workloads

def parameters(value):
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return None

results = {}
for module, names in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        imported = importlib.import_module(module)
    results[module] = {"warnings": [w.category.__name__ for w in caught], "file": bool(imported), "names": {}}
    for name in names:
        value = getattr(imported, name, None)
        members = {member: getattr(value, member, None) for member in dir(value) if member[0] != "_"}
        bases = getattr(value, "__mro__", ())
        annotated = {key for base in bases for key in getattr(base, "__annotations__", {})}
        results[module]["names"][name] = value is not None and {
            "parameters": parameters(value),
            "methods": {key: parameters(member) for key, member in members.items() if callable(member)},
            "attributes": sorted({*members, *annotated}),
        }
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def contract_modules() -> dict[str, Any]:
    """The inspected modules of the contract, imported in a new process."""
    names_by_module = {module: list(names) for module, names in CONTRACT["documented"].items()}
    for module, names in CONTRACT["importable"].items():
        names_by_module.setdefault(module, []).extend(names)
    process = subprocess.run(
        [sys.executable, "-c", INSPECT],
        input=json.dumps(names_by_module),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return dict(json.loads(process.stdout))


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for part in CONTRACT.values() for module, names in part.items() for name in names],
)
def test_the_name_can_be_imported(contract_modules: dict[str, Any], module: str, name: str) -> None:
    assert contract_modules[module]["names"][name], f"from {module} import {name}"


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in CONTRACT["documented"].items() for name in names],
)
def test_the_name_has_the_documented_parameters_and_attributes(
    contract_modules: dict[str, Any], module: str, name: str
) -> None:
    documented, current = CONTRACT["documented"][module][name], contract_modules[module]["names"][name]
    if "parameters" in documented:
        # Additional parameters with defaults are allowed.
        assert current["parameters"][: len(documented["parameters"])] == documented["parameters"]
    for method, parameters in documented.get("methods", {}).items():
        assert current["methods"][method][: len(parameters)] == parameters, method
    assert set(documented.get("attributes", ())) <= set(current["attributes"])


def test_all_names_in_the_documentation_can_be_imported() -> None:
    """Check the current pages of the documentation."""
    pages = [ROOT / "docs" / "workloads.md", *(ROOT / "docs" / "workloads").glob("*.md")]
    lines = {
        line.strip()
        for page in pages
        for line in re.findall(r"^\s*(?:from|import) [a-z_.]+.*$", page.read_text(), re.MULTILINE)
        if re.match(
            r"\s*(?:from|import) (?:workloads|adapters|components|serving|continuous_training)\b", line
        )
    }
    names = {
        name.rstrip(".")
        for page in pages
        for name in re.findall(
            r"`((?:workloads|adapters|continuous_training)\.[A-Za-z_.]+)", page.read_text()
        )
    }
    assert lines
    assert names
    code = "import workloads, pkgutil\n" + "\n".join(lines)
    code += "".join(f"\npkgutil.resolve_name({name!r})" for name in names)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=clean_environment()
    )
    assert process.returncode == 0, process.stderr


@pytest.fixture
def workload(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment variables for the workload `former`, and the path of its data."""
    folder = tmp_path / "ours" / "workloads" / "former"
    folder.mkdir(parents=True)
    for path in (folder / "__init__.py", folder.parent / "__init__.py"):
        path.touch()
    for part in ("handler", "workload"):
        text = (FIXTURES / f"former_{part}.txt").read_text()
        (folder / f"{part}.py").write_text(text)
    rng = np.random.default_rng(0)
    growers = rng.integers(0, 3, 150)
    features = growers[:, None] + rng.normal(0, 0.3, (150, 13))
    rows = [
        ",".join([*map(str, row.round(6)), str(grower)])
        for row, grower in zip(features, growers, strict=True)
    ]
    (tmp_path / "wines.csv").write_text("\n".join(rows) + "\n")
    return clean_environment(PYTHONPATH=str(tmp_path / "ours")), tmp_path / "wines.csv"


def test_a_workload_with_the_earlier_imports_can_be_trained(
    workload: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    env, source = workload
    step = ("components.prep_data", "--workload", "former", "--output", tmp_path / "data")
    refused = run_module(*step, "--set", "source=missing", env=env, codes=(2,))
    assert "there are no wines" in refused.stderr
    run_module(*step, "--set", f"source={source}", env=env)
    train = ("components.train", "--workload", "former", "--data", tmp_path / "data")
    run_module(*train, "--output", tmp_path / "model", env=env)
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    assert description["handler"] == "workloads.former.handler:FormerHandler"
    assert (tmp_path / "model" / "workloads" / "former" / "handler.py").is_file()


def with_context(text: str) -> str:
    """Replace the former signature of `load` and the former `fetch` in the text of a workload."""
    text = text.replace("def load(self, source, values)", "def load(self, source, values, context)")
    return text.replace("= fetch(", "= context.fetch(").replace("from adapters.sources import fetch\n", "")


@pytest.mark.parametrize("current", [False, True], ids=["former signature", "current signature"])
def test_load_downloads_to_the_cache_with_both_signatures(
    workload: tuple[dict[str, str], Path], tmp_path: Path, current: bool
) -> None:
    """Only the former signature and the former function `fetch` cause a DeprecationWarning."""
    env, source = workload
    if current:
        module = tmp_path / "ours" / "workloads" / "former" / "workload.py"
        module.write_text(with_context(module.read_text()))
    env |= {"CT_CACHE": str(tmp_path / "cache"), "PYTHONWARNINGS": "default::DeprecationWarning"}
    command = ("components.prep_data", "--workload", "former", "--output", tmp_path / "data")
    with files_server.serve(b"") as files:
        files.other_files["/data/wines.csv"] = source.read_bytes()
        process = run_module(*command, "--set", f"source={files.url}", env=env)
    (copy,) = (tmp_path / "cache").rglob("wines.csv")
    assert copy.read_bytes() == source.read_bytes()
    assert "150 rows read and validated" in process.stderr
    assert "wines.csv is downloaded" in process.stderr
    warned = [part in process.stderr for part in ("load(source, values) is now", "fetch() is now")]
    assert warned == [not current] * 2
