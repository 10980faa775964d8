"""Settings for the execution of each step on a cluster: the defaults, and a file that changes them."""

from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP as CONFIG_MAP
from continuous_training.kubeflow.object_names import STEPS_SECRET as SECRET
from pipelines.steps.settings_file import (
    DEFAULTS,
    Steps,
    add_steps_argument,
    read_steps,
    steps_from_arguments,
)

from .defaults import STEPS, USER, Environment, environment_of
from .settings import PipelineSettings, StepSettings, Toleration

__all__ = [
    "CONFIG_MAP",
    "DEFAULTS",
    "SECRET",
    "STEPS",
    "USER",
    "Environment",
    "PipelineSettings",
    "StepSettings",
    "Steps",
    "Toleration",
    "add_steps_argument",
    "environment_of",
    "read_steps",
    "steps_from_arguments",
]
