"""The Roles grant the permissions that the preflight requires, for each deployment target."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS
from continuous_training.rollout.kubernetes.required_permissions import Permission as RequiredPermission

from .audit import Permission, permissions_of_rules
from .rendering import MANIFESTS, of_kind


def required(rules: Iterable[RequiredPermission]) -> set[Permission]:
    return {
        Permission(resource.group, "/".join(part for part in (resource.plural, sub) if part), verb)
        for resource, sub, verbs in rules
        for verb in verbs
    }


def granted(path: Path) -> set[Permission]:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return {
        permission
        for role in of_kind(documents, "Role")
        for permission in permissions_of_rules(role["rules"])
    }


def test_the_base_grants_exactly_the_permissions_of_a_rollout_on_kubernetes() -> None:
    assert granted(MANIFESTS / "base/role.yaml") == required(REQUIRED_PERMISSIONS["kubernetes"])


def test_the_component_grants_exactly_the_additional_permissions_of_kserve() -> None:
    base = granted(MANIFESTS / "base/role.yaml")
    assert (
        granted(MANIFESTS / "components/kserve/role.yaml") == required(REQUIRED_PERMISSIONS["kserve"]) - base
    )
