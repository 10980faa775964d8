"""The input digest: one digest of everything that decides the result of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from continuous_training.core.digest import code_digest, digest_of
from continuous_training.evaluation.promotion_rule import is_gate_parameter
from workloads import discovery
from workloads.contract import Workload

_EXCLUDED = {"source", "as_of", "force"}
"""The source and the time of the rows do not matter, because the fingerprint covers their content."""


def input_digest_of(workload: Workload, values: dict[str, Any], fingerprint: str) -> str:
    """Return the digest of fingerprint, run parameters, promotion rule and the workload's code."""
    relevant = {n: v for n, v in values.items() if n not in _EXCLUDED and not is_gate_parameter(n)}
    return digest_of(
        {
            "workload": workload.name,
            "data": fingerprint,
            "parameters": relevant,
            "rule": asdict(workload.rule_of(values)),
            "code": code_digest(discovery.folder_of(workload)),
        }
    )
