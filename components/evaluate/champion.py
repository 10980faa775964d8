"""Load the champion's model from its archive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.bundle import TrainingData
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import Model, load_model


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

    Raises UserError if the champion's archive cannot be read, or if the registry lost its versions. In both
    cases no challenger is evaluated, and the served version stays.
    """
    workload = context.workload.name
    version = context.registry.champion(workload)
    if version is None:
        _check_registry(context)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="champion-") as folder:
        model = _load(context, version, Path(folder))
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
        raise UserError(
            f"champion version {number} of {workload} cannot be loaded: {error}. No challenger can be "
            "compared with it, so none is promoted. Restore its archive, or remove the alias champion to "
            "decide by the floors alone. If the endpoint still serves this version, this command restores "
            f"the archive:\npython -m pipelines.rollback --workload {workload} --to {number}"
        ) from error


def _check_registry(context: RunContext) -> None:
    """Check that a workload without a champion never had one, or that its alias was removed.

    Raises UserError for a registry that lost its versions: with the floors alone, a worse model could replace
    the served one.
    """
    promoted = [record for record in context.history.runs() if record.verdict == "promoted"]
    if not promoted or context.registry.versions(context.workload.name):
        return
    last = promoted[-1]
    raise UserError(
        f"the registry {context.registry.uri} has no version of {context.workload.name}, but according to "
        f"the object store, run {last.run} promoted version {last.version} "
        f"({str(last.digest)[:12]}). The registry was lost, or it is another one. No model is evaluated, "
        "and the served version stays. Restore the registry. To start over instead, remove "
        f"{context.history.prefix} from the object store"
    )
