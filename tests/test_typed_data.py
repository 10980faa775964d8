"""Test that data crosses package boundaries in types with named fields, not in `dict[str, Any]`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .imports import ROOT, source_files

UNTYPED = re.compile(r"(?:dict|Mapping)\[str, Any\]")
PRODUCT = ("continuous_training", "components", "pipelines", "serving")
PERMITTED = {
    "continuous_training/artifacts/torchserve_handler.py: handle": "TorchServe calls it with its own rows",
    "continuous_training/core/json_object.py: Json": "the alias for documents whose fields others define",
    "continuous_training/rollout/kubernetes/serving_objects.py: Manifest": "an object of Kubernetes",
    "continuous_training/adapters/kubernetes/client.py: Object": "an object of Kubernetes",
    "continuous_training/serving/models/schema_inference.py: Schema": "a JSON Schema",
    "continuous_training/report/templating.py: Variables": "the variables of a template",
    "continuous_training/serving/http/requests.py: Scope": "the ASGI protocol",
    "continuous_training/serving/http/requests.py: Receive": "the ASGI protocol",
    "continuous_training/serving/http/requests.py: Send": "the ASGI protocol",
    "continuous_training/kubeflow/schedules/schedule_file.py: parameters": "values before they are validated",
}
"""Public names with an untyped annotation, and the reason."""


def annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the annotations of public functions, fields and aliases, with the name that has them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            for annotation in [*(argument.annotation for argument in arguments), node.returns]:
                if annotation is not None:
                    yield node.name, annotation
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id, field.annotation
        elif isinstance(node, ast.Module):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    yield statement.targets[0].id, statement.value


def untyped_names() -> set[str]:
    paths = [path for path in source_files() if path.relative_to(ROOT).parts[0] in PRODUCT]
    return {
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name, annotation in annotations(ast.parse(path.read_text(encoding="utf-8")))
        if not name.startswith("_") and UNTYPED.search(ast.unparse(annotation))
    }


def test_public_names_have_typed_data() -> None:
    assert untyped_names() == set(PERMITTED)
