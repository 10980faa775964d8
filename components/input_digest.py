"""The recipe: everything that decides what a run comes to, as one digest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from continuous_training.core.files import code_digest, digest_of
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads import discovery
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
            "code": code_digest(discovery.folder_of(workload)),
        }
    )
