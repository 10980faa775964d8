"""Load the champion's model from its archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.bundle import TrainingData
from continuous_training.core.errors import UserError
from continuous_training.core.temporary_files import system_folder
from continuous_training.serving.models.model import Model, load_model

from .absent_champion import check_absent_champion


@dataclass(frozen=True)
class Champion:
    """The served model version, and the model loaded from its archive."""

    version: ModelVersion
    model: Model

    @property
    def training_data(self) -> TrainingData:
        """The data that the champion was trained on."""
        return self.model.metadata.require_training(self.model.folder).data


@contextmanager
def open_champion(context: RunContext) -> Iterator[Champion | None]:
    """Yield the champion, or None if the workload has none; unload its model afterwards.

    Raises UserError if the champion's archive cannot be read, or if the registry lost the champion. In both
    cases no challenger is evaluated, and the served version stays.
    """
    workload = context.workload.name
    version = context.registry.champion(workload)
    if version is None:
        check_absent_champion(context)
        yield None
        return
    with system_folder("champion") as folder:
        model = _load(context, version, folder)
        try:
            yield Champion(version, model)
        finally:
            model.unload()


def _load(context: RunContext, version: ModelVersion, folder: Path) -> Model:
    try:
        path = context.store.fetch(version.archive, folder)
        archive_writer.unpack(path, folder / "model", version.digest)
        return load_model(folder / "model")
    except UserError as error:
        workload, number = context.workload.name, version.version
        command = context.next_command("pipelines.rollback", "--to", number)
        raise UserError(
            f"champion version {number} of {workload} cannot be loaded: {error}. No challenger can be "
            "compared with it, so none is promoted. Restore its archive. If the endpoint still serves this "
            f"version, this command restores it:\n{command}\nTo give the version up, so that the floors "
            "alone decide on the next model: set the tag retired_champion of the registered model "
            f"{workload} to {number}, and remove the alias"
        ) from error
