"""The server holds what its own OpenAPI document promises, whatever schemathesis makes of it."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.generation import GenerationMode


@pytest.fixture(scope="module")
def api(gallery: str) -> Any:
    config = schemathesis.Config.from_dict({"generation": {"allow-extra-parameters": False}})
    return schemathesis.openapi.from_url(f"{gallery}/openapi.json", config=config)


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_every_answer_is_as_documented(case: Any) -> None:
    """Valid or invalid requests: never a 500, and every answer is documented and of its schema."""
    case.call_and_validate(timeout=30)
