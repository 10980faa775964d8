"""The failure of a step, which the step records before its process ends."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.core.exit_codes import REVERTED
from continuous_training.core.json_object import Json, JsonObject


@dataclass(frozen=True)
class StepFailure:
    """The step that failed in a run, its exit code and its error message.

    Kubeflow Pipelines reports the exit code 1 for every failed step, and no message.
    """

    run: str
    step: str
    exit_code: int
    error: str

    @classmethod
    def from_json(cls, document: JsonObject) -> StepFailure:
        """Read a failure. Raises the document's error for a missing or damaged field."""
        return cls(
            document.text("run"), document.text("step"), document.integer("exit_code"), document.text("error")
        )

    def to_json(self) -> Json:
        """Return the stored fields."""
        return dict(vars(self))

    @property
    def verdict(self) -> str:
        """The verdict of the run."""
        return "reverted" if self.exit_code == REVERTED else "failed"
