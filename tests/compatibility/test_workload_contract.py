"""What the former version's documentation of workloads named can be imported and called as before."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .former import FIXTURES, ROOT, document, environment, python

CONTRACT = document("contract.json")
"""By module: documented names with parameters, methods and attributes, and names that others import."""

INSPECT = """
import importlib, inspect, json, sys, warnings
import workloads

def parameters(value):
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return None

found = {}
for module, names in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        imported = importlib.import_module(module)
    found[module] = {"warnings": [w.category.__name__ for w in caught], "file": bool(imported), "names": {}}
    for name in names:
        value = getattr(imported, name, None)
        members = {member: getattr(value, member, None) for member in dir(value) if member[0] != "_"}
        bases = getattr(value, "__mro__", ())
        annotated = {key for base in bases for key in getattr(base, "__annotations__", {})}
        found[module]["names"][name] = value is not None and {
            "parameters": parameters(value),
            "methods": {key: parameters(member) for key, member in members.items() if callable(member)},
            "attributes": sorted({*members, *annotated}),
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What a new process finds in the modules of the contract."""
    wanted = {module: list(names) for module, names in CONTRACT["documented"].items()}
    for module, names in CONTRACT["importable"].items():
        wanted.setdefault(module, []).extend(names)
    done = subprocess.run(
        [sys.executable, "-c", INSPECT],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for part in CONTRACT.values() for module, names in part.items() for name in names],
)
def test_the_name_can_be_imported(found: dict[str, Any], module: str, name: str) -> None:
    assert found[module]["names"][name], f"from {module} import {name}"


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in CONTRACT["documented"].items() for name in names],
)
def test_it_takes_and_has_what_it_did(found: dict[str, Any], module: str, name: str) -> None:
    former, now = CONTRACT["documented"][module][name], found[module]["names"][name]
    if "parameters" in former:
        # More may follow, with defaults.
        assert now["parameters"][: len(former["parameters"])] == former["parameters"]
    for method, parameters in former.get("methods", {}).items():
        assert now["methods"][method][: len(parameters)] == parameters, method
    assert set(former.get("attributes", ())) <= set(now["attributes"])


def test_all_imports_of_the_pages_work() -> None:
    """The pages as they are now, too."""
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
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def workload(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment in which the workload `former` is found, and its data."""
    folder = tmp_path / "ours" / "workloads" / "former"
    folder.mkdir(parents=True)
    for path in (folder / "__init__.py", folder.parent / "__init__.py"):
        path.touch()
    for part in ("handler", "workload"):
        text = (FIXTURES / f"former_{part}.txt").read_text()
        (folder / f"{part}.py").write_text(text)
    rng = np.random.default_rng(0)
    growers = rng.integers(0, 3, 150)
    measured = growers[:, None] + rng.normal(0, 0.3, (150, 13))
    rows = [
        ",".join([*map(str, row.round(6)), str(grower)])
        for row, grower in zip(measured, growers, strict=True)
    ]
    (tmp_path / "wines.csv").write_text("\n".join(rows) + "\n")
    return environment(PYTHONPATH=str(tmp_path / "ours")), tmp_path / "wines.csv"


def test_a_workload_with_the_former_imports_is_trained(
    workload: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    env, source = workload
    step = ("components.prep_data", "--workload", "former", "--output", tmp_path / "data")
    refused = python(*step, "--set", "source=missing", env=env, codes=(2,))
    assert "there are no wines" in refused.stderr
    python(*step, "--set", f"source={source}", env=env)
    train = ("components.train", "--workload", "former", "--data", tmp_path / "data")
    python(*train, "--output", tmp_path / "model", env=env)
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    assert description["handler"] == "workloads.former.handler:FormerHandler"
    assert (tmp_path / "model" / "workloads" / "former" / "handler.py").is_file()
