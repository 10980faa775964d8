"""What can be set for a step and for the whole pipeline; what cannot be is refused with the reason."""

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
    """A taint that a step's pod puts up with, spelt as in a pod."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    tolerationSeconds: int | None = None  # noqa: N815 - Kubernetes' own name

    def __post_init__(self) -> None:
        _among(self.operator, ("Equal", "Exists"), "operator")
        _among(self.effect, ("", "NoSchedule", "PreferNoSchedule", "NoExecute"), "effect")
        if not self.key and self.operator != "Exists":
            raise UserError("a toleration without a key needs operator: Exists")
        if self.value and self.operator == "Exists":
            raise UserError("a toleration with operator: Exists has no value")

    def to_json(self) -> dict[str, Any]:
        """Return it as Kubernetes has it."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in told.items() if value not in ("", None)}


@dataclass(frozen=True)
class StepSettings:
    """How one step runs: quantities as Kubernetes writes them, times in seconds; see docs/steps.md."""

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
        for name, least in (
            ("timeout", 1),
            ("retries", 0),
            ("backoff", 1),
            ("accelerators", 1),
            ("nodes", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"{name}: {getattr(self, name)} is less than {least}")
        for name in ("cpu", "cpu_limit"):
            _matching(getattr(self, name), _CPU, name, "processors (2, 0.5 or 500m)", needed=name == "cpu")
        _matching(self.memory, _MEMORY, "memory", "bytes (512Mi or 4Gi)", needed=True)
        _matching(self.memory_limit, f"{_MEMORY}|none", "memory_limit", "bytes (4Gi) or none")
        _matching(self.shared_memory, _MEMORY, "shared_memory", "bytes (512Mi or 4Gi)")
        if self.cpu_limit and processors(self.cpu_limit) < processors(self.cpu):
            raise UserError(f"cpu_limit: {self.cpu_limit} is less than cpu, which is {self.cpu}")
        if self.most_memory and size(self.most_memory) < size(self.memory):
            raise UserError(f"memory_limit: {self.memory_limit} is less than memory, which is {self.memory}")
        if self.user == 0:
            raise UserError("user: 0 is root, which the images are not made for")
        _pairs(self.node_selector, _LABEL, _VALUE, "node_selector")
        _pairs(self.labels, _LABEL, _VALUE, "labels")
        _pairs(self.annotations, _LABEL, ".*", "annotations")
        _pairs(self.environment, _VARIABLE, ".*", "environment")
        for name in ("from_config_map", "from_secret"):
            _pairs(getattr(self, name), _VARIABLE, rf"{_NAME}/[-._a-zA-Z0-9]+", name, "NAME/KEY")
        for secret in self.pull_secrets:
            _matching(secret, _NAME, "pull_secrets", "the name of a Secret", needed=True)

    @property
    def most_memory(self) -> str:
        """The memory limit: twice the request where none was set, empty where there is to be none."""
        if self.memory_limit:
            return self.memory_limit.replace("none", "")
        number, unit = _parts(self.memory)
        return f"{2 * number}{unit}"

    @property
    def longest(self) -> int:
        """Seconds that the step may take at most, all tries and the waits between them included.

        A try waits for a processor and an image besides: ten minutes are reckoned for that.
        """
        waits = sum(self.backoff * 2**number for number in range(self.retries))
        return (self.retries + 1) * (self.timeout + 600) + waits


@dataclass(frozen=True)
class PipelineSettings:
    """How long a finished run's pods are kept, in seconds; 0 keeps them until somebody removes them."""

    keep_success: int = 24 * 3600
    keep_failure: int = 7 * 24 * 3600

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 0:
                raise UserError(f"{item.name}: {getattr(self, item.name)} is less than 0")


def processors(quantity: str) -> float:
    """Return a quantity of processors as a number."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def size(quantity: str) -> int:
    """Return a quantity of memory in bytes."""
    number, unit = _parts(quantity)
    base = 1024 if unit.endswith("i") else 1000
    return number * int(base ** (" KMGTPE".index(unit[0]) if unit else 0))


def _parts(quantity: str) -> tuple[int, str]:
    number = quantity.rstrip("EPTGMKi")
    return int(number), quantity[len(number) :]


def _matching(value: str, pattern: str, name: str, what: str, *, needed: bool = False) -> None:
    if not (re.fullmatch(pattern, value) if value else not needed):
        raise UserError(f"{name}: {value!r} is not {what}")


def _pairs(pairs: Mapping[str, str], key: str, value: str, name: str, what: str = "") -> None:
    for left, right in pairs.items():
        if not re.fullmatch(key, left):
            raise UserError(f"{name}: {left!r} is not a name that Kubernetes takes here")
        if not re.fullmatch(value, right, re.DOTALL):
            raise UserError(
                f"{name}, {left}: {right!r} is not {what or 'a value that Kubernetes takes here'}"
            )


def _among(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise UserError(f"{name}: {value!r} is none of {', '.join(filter(None, allowed))}")
