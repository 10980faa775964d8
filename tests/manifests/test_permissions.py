"""The Roles allow what the look before a run asks for, by target."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from continuous_training.rollout.kubernetes.permissions import REQUIRED_PERMISSIONS, Permission

from .audit import Right, rights
from .rendering import MANIFESTS, of_kind


def needed(rules: Iterable[Permission]) -> set[Right]:
    return {
        Right(resource.group, "/".join(part for part in (resource.plural, sub) if part), verb)
        for resource, sub, verbs in rules
        for verb in verbs
    }


def allowed(path: Path) -> set[Right]:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return {right for role in of_kind(documents, "Role") for right in rights(role["rules"])}


def test_the_base_has_what_a_rollout_on_kubernetes_needs_and_no_more() -> None:
    assert allowed(MANIFESTS / "base/role.yaml") == needed(REQUIRED_PERMISSIONS["kubernetes"])


def test_the_component_adds_what_kserve_needs_beside_it() -> None:
    base = allowed(MANIFESTS / "base/role.yaml")
    assert allowed(MANIFESTS / "components/kserve/role.yaml") == needed(REQUIRED_PERMISSIONS["kserve"]) - base
