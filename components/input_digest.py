"""The recipe: everything that decides what a run comes to, as one digest."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from continuous_training.core.files import digest_of, digest_of_folder
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads.contract import Workload

_NOT_DECIDING = {"source", "as_of", "force"}
"""Where rows come from and when does not matter once their content is known."""


def recipe_of(workload: Workload, values: dict[str, Any], fingerprint: str) -> str:
    """Return the digest of the rows' content, the parameters, the rule and the workload's code."""
    deciding = {n: v for n, v in values.items() if n not in _NOT_DECIDING and not is_gate_parameter(n)}
    return digest_of(
        {
            "workload": workload.name,
            "data": fingerprint,
            "parameters": deciding,
            "rule": asdict(workload.rule_of(values)),
            "code": code_digest(workload),
        }
    )


def code_digest(workload: Workload) -> str:
    """Return the digest of the Python files in the workload's folder."""
    module = sys.modules[type(workload).__module__]
    return digest_of_folder(Path(str(module.__file__)).parent, "**/*.py")
