"""The settings of a step and of the whole pipeline, and their validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.kubeflow.config_file import ConfigModel, Text
from continuous_training.kubeflow.object_names import TRAINING_RUNTIME

_CPU_PATTERN = r"[0-9]+m|[0-9]*\.?[0-9]+"
_MEMORY_PATTERN = r"[0-9]+([EPTGMK]i?)?"
_NAME_PATTERN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_LABEL_PATTERN = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE_PATTERN = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"

Cpu = Annotated[str, Text(_CPU_PATTERN, "processors (2, 0.5 or 500m)")]
OptionalCpu = Annotated[str, Text(f"({_CPU_PATTERN})?", "processors (2, 0.5 or 500m)")]
Memory = Annotated[str, Text(_MEMORY_PATTERN, "bytes (512Mi or 4Gi)")]
OptionalMemory = Annotated[str, Text(f"({_MEMORY_PATTERN})?", "bytes (512Mi or 4Gi)")]
MemoryLimit = Annotated[str, Text(f"({_MEMORY_PATTERN}|none)?", "bytes (4Gi) or none")]
LabelName = Annotated[str, Text(_LABEL_PATTERN, "a valid name in Kubernetes")]
LabelValue = Annotated[str, Text(_VALUE_PATTERN, "a valid value in Kubernetes")]
Variable = Annotated[str, Text(r"[A-Za-z_][A-Za-z0-9_]*", "a valid name in Kubernetes")]
KeyReference = Annotated[str, Text(rf"{_NAME_PATTERN}/[-._a-zA-Z0-9]+", "NAME/KEY")]
SecretName = Annotated[str, Text(_NAME_PATTERN, "the name of a Secret")]
AnyText = Annotated[str, Text()]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]


class Toleration(ConfigModel):
    """A toleration of a step's pod, with the field names of Kubernetes."""

    key: AnyText = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: AnyText = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    tolerationSeconds: int | None = None  # noqa: N815 - the name in Kubernetes

    @model_validator(mode="after")
    def _check_operator(self) -> Toleration:
        if not self.key and self.operator != "Exists":
            raise UserError("a toleration without a key needs operator: Exists")
        if self.value and self.operator == "Exists":
            raise UserError("a toleration with operator: Exists has no value")
        return self

    def to_json(self) -> Json:
        """Return the toleration as in the spec of a pod."""
        return {name: value for name, value in self if value not in ("", None)}


def remove_defaults(schema: Json) -> None:
    """Remove the defaults from a schema: they are different for each step."""
    for properties in schema["properties"].values():
        properties.pop("default", None)


class StepSection(ConfigModel):
    """Settings of a step in a file: quantities as in Kubernetes, times in seconds. See docs/steps.md."""

    model_config = ConfigDict(json_schema_extra=remove_defaults)

    timeout: Positive = 3600
    """Seconds for one attempt."""
    retries: NonNegative = 2
    """Number of retries of a failed step."""
    backoff: Positive = 30
    """Seconds before the first retry; doubled before each further one."""
    cpu: Cpu = "250m"
    """The requested processors: 2, 0.5 or 500m."""
    cpu_limit: OptionalCpu = ""
    """The limit of processors. By default a step may use idle processors."""
    memory: Memory = "512Mi"
    """The requested memory: 512Mi or 4Gi."""
    memory_limit: MemoryLimit = ""
    """The memory at which the pod is killed; none for no limit. By default twice the request."""
    accelerator: AnyText = ""
    """The resource name of a GPU: nvidia.com/gpu."""
    accelerators: Positive = 1
    """Number of accelerators."""
    shared_memory: OptionalMemory = ""
    """Size of /dev/shm. It counts as memory."""
    user: int | None = 10001
    """The numeric user, or null if the cluster assigns one (OpenShift)."""
    node_selector: dict[LabelName, LabelValue] = Field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: list[Toleration] = Field(default_factory=list)
    """Tolerations, as in a pod."""
    labels: dict[LabelName, LabelValue] = Field(default_factory=dict)
    """Labels of the pod."""
    annotations: dict[LabelName, AnyText] = Field(default_factory=dict)
    """Annotations of the pod."""
    environment: dict[Variable, AnyText] = Field(default_factory=dict)
    """Environment variables with their values."""
    from_config_map: dict[Variable, KeyReference] = Field(default_factory=dict)
    """Environment variables from ConfigMaps, as NAME/KEY."""
    from_secret: dict[Variable, KeyReference] = Field(default_factory=dict)
    """Environment variables from Secrets, as NAME/KEY."""
    pull_secrets: list[SecretName] = Field(default_factory=list)
    """Image pull secrets."""

    @field_validator("user")
    @classmethod
    def _reject_root(cls, user: int | None) -> int | None:
        if user == 0:
            raise UserError("0 is root, which the images do not support")
        return user


class TrainSection(StepSection):
    """Settings of the step train."""

    nodes: Positive = 1
    """Number of nodes that train together. The other settings apply to each node."""
    training_runtime: AnyText = TRAINING_RUNTIME
    """A ClusterTrainingRuntime of Kubeflow Trainer. By default, the TrainingRuntime of the namespace."""


class StepSettings(TrainSection):
    """The complete settings of one step, with a value for each key."""

    @model_validator(mode="after")
    def _check_limits(self) -> StepSettings:
        if self.cpu_limit and parse_cpu(self.cpu_limit) < parse_cpu(self.cpu):
            raise UserError(f"cpu_limit: {self.cpu_limit} is less than cpu, which is {self.cpu}")
        limit = self.effective_memory_limit
        if limit and parse_memory(limit) < parse_memory(self.memory):
            raise UserError(f"memory_limit: {self.memory_limit} is less than memory, which is {self.memory}")
        return self

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


class PipelineSettings(ConfigModel):
    """How long the pods of a finished run are kept, in seconds. 0 keeps them until they are deleted."""

    keep_success: NonNegative = 24 * 3600
    """Seconds until the pods of a run that succeeded are deleted; 0 keeps them."""
    keep_failure: NonNegative = 7 * 24 * 3600
    """Seconds until the pods of a run that failed are deleted; 0 keeps them."""


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
