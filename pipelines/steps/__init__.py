"""How each step runs on a cluster: settings with defaults in `defaults`, changed by a file (`file`)."""

from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP as CONFIG_MAP
from continuous_training.kubeflow.object_names import STEPS_SECRET as SECRET
from pipelines.steps.settings_file import DEFAULTS, Steps, add_steps_argument, read_steps, steps_of

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
    "steps_of",
]
