"""The settings of a step and of the whole pipeline, and their validation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from continuous_training.core.errors import UserError

_CPU = r"[0-9]+m|[0-9]*\.?[0-9]+"
_MEMORY = r"[0-9]+([EPTGMK]i?)?"
_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_LABEL = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"


@dataclass(frozen=True)
class Toleration:
    """A toleration of a step's pod, with the field names of Kubernetes."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    tolerationSeconds: int | None = None  # noqa: N815 - the name in Kubernetes

    def __post_init__(self) -> None:
        _check_choice(self.operator, ("Equal", "Exists"), "operator")
        _check_choice(self.effect, ("", "NoSchedule", "PreferNoSchedule", "NoExecute"), "effect")
        if not self.key and self.operator != "Exists":
            raise UserError("a toleration without a key needs operator: Exists")
        if self.value and self.operator == "Exists":
            raise UserError("a toleration with operator: Exists has no value")

    def to_json(self) -> dict[str, Any]:
        """Return the toleration as in the spec of a pod."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value not in ("", None)}


@dataclass(frozen=True)
class StepSettings:
    """The settings of one step: quantities as in Kubernetes, times in seconds. See docs/steps.md."""

    timeout: int
    retries: int = 2
    backoff: int = 30
    cpu: str = "250m"
    cpu_limit: str = ""
    memory: str = "512Mi"
    memory_limit: str = ""
    accelerator: str = ""
    accelerators: int = 1
    shared_memory: str = ""
    nodes: int = 1
    training_runtime: str = "torch-distributed"
    user: int | None = 10001
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    from_config_map: Mapping[str, str] = field(default_factory=dict)
    from_secret: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_resources()
        self._check_names()

    def _check_numbers(self) -> None:
        minimums = {"timeout": 1, "retries": 0, "backoff": 1, "accelerators": 1, "nodes": 1}
        for name, minimum in minimums.items():
            if getattr(self, name) < minimum:
                raise UserError(f"{name}: {getattr(self, name)} is less than {minimum}")
        if self.user == 0:
            raise UserError("user: 0 is root, which the images do not support")

    def _check_resources(self) -> None:
        for name in ("cpu", "cpu_limit"):
            value, required = getattr(self, name), name == "cpu"
            _check_pattern(value, _CPU, name, "processors (2, 0.5 or 500m)", required=required)
        _check_pattern(self.memory, _MEMORY, "memory", "bytes (512Mi or 4Gi)", required=True)
        _check_pattern(self.memory_limit, f"{_MEMORY}|none", "memory_limit", "bytes (4Gi) or none")
        _check_pattern(self.shared_memory, _MEMORY, "shared_memory", "bytes (512Mi or 4Gi)")
        if self.cpu_limit and parse_cpu(self.cpu_limit) < parse_cpu(self.cpu):
            raise UserError(f"cpu_limit: {self.cpu_limit} is less than cpu, which is {self.cpu}")
        limit = self.effective_memory_limit
        if limit and parse_memory(limit) < parse_memory(self.memory):
            raise UserError(f"memory_limit: {self.memory_limit} is less than memory, which is {self.memory}")

    def _check_names(self) -> None:
        _check_pairs(self.node_selector, _LABEL, _VALUE, "node_selector")
        _check_pairs(self.labels, _LABEL, _VALUE, "labels")
        _check_pairs(self.annotations, _LABEL, ".*", "annotations")
        _check_pairs(self.environment, _VARIABLE, ".*", "environment")
        for name in ("from_config_map", "from_secret"):
            _check_pairs(getattr(self, name), _VARIABLE, rf"{_NAME}/[-._a-zA-Z0-9]+", name, "NAME/KEY")
        for secret in self.pull_secrets:
            _check_pattern(secret, _NAME, "pull_secrets", "the name of a Secret", required=True)

    @property
    def variable_names(self) -> set[str]:
        """The environment variables that the settings define, from any source."""
        return {*self.environment, *self.from_config_map, *self.from_secret}

    @property
    def effective_memory_limit(self) -> str:
        """The memory limit: by default twice the request; empty if the setting is `none`."""
        if self.memory_limit:
            return self.memory_limit.replace("none", "")
        number, unit = _split_quantity(self.memory)
        return f"{2 * number}{unit}"

    @property
    def max_duration(self) -> int:
        """The longest possible duration in seconds, with all attempts and the waits between them.

        Each attempt includes ten minutes for the scheduling of its pod and the pull of its image.
        """
        waits = sum(self.backoff << attempt for attempt in range(self.retries))
        return (self.retries + 1) * (self.timeout + 600) + waits


@dataclass(frozen=True)
class PipelineSettings:
    """How long the pods of a finished run are kept, in seconds. 0 keeps them until they are deleted."""

    keep_success: int = 24 * 3600
    keep_failure: int = 7 * 24 * 3600

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 0:
                raise UserError(f"{item.name}: {getattr(self, item.name)} is less than 0")


def parse_cpu(quantity: str) -> float:
    """Return the number of processors of a CPU quantity."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def parse_memory(quantity: str) -> int:
    """Return the bytes of a memory quantity."""
    number, unit = _split_quantity(quantity)
    base = 1024 if unit.endswith("i") else 1000
    return number * int(base ** (" KMGTPE".index(unit[0]) if unit else 0))


def _split_quantity(quantity: str) -> tuple[int, str]:
    number = quantity.rstrip("EPTGMKi")
    return int(number), quantity[len(number) :]


def _check_pattern(value: str, pattern: str, name: str, expected: str, *, required: bool = False) -> None:
    if not (re.fullmatch(pattern, value) if value else not required):
        raise UserError(f"{name}: {value!r} is not {expected}")


def _check_pairs(pairs: Mapping[str, str], key: str, value: str, name: str, expected: str = "") -> None:
    for left, right in pairs.items():
        if not re.fullmatch(key, left):
            raise UserError(f"{name}: {left!r} is not a valid name in Kubernetes")
        if not re.fullmatch(value, right, re.DOTALL):
            raise UserError(f"{name}, {left}: {right!r} is not {expected or 'a valid value in Kubernetes'}")


def _check_choice(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise UserError(f"{name}: {value!r} is not one of {', '.join(filter(None, allowed))}")
