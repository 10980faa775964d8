"""Where a version comes from: its run, its data, its code, its parameters and its evaluation."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.bundle import METADATA, BundleMetadata, TrainingData
from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.measurements import Interval
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.files import plain
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value, Values
from continuous_training.operations.read_evaluation import read_evaluation

PRUNED = "archive_pruned"
"""The tag of a version whose archive was removed: JSON with the time, and with the data that trace needs."""

_MAX_METADATA_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class ArchiveContents:
    """The metadata in an archive. `problem` is the reason if the archive cannot be read.

    `digest` is that of the stored bytes. `code`, `modules`, `parameters` and `input_digest` are the
    provenance of the model; None or empty in an archive without them.
    """

    digest: str = ""
    data: TrainingData | None = None
    code: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    parameters: Values | None = None
    input_digest: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def read_contents(store: ObjectStore, key: str) -> ArchiveContents:
    """Return the metadata in the archive under `key`."""
    with tempfile.TemporaryDirectory(prefix="contents-") as folder:
        try:
            path = store.fetch(key, Path(folder))
            digest = digest_file(path)
            manifest = archive_writer.read_manifest(path)
            provenance = JsonObject(manifest.provenance, f"{path}: provenance", ArchiveError)
            return ArchiveContents(
                digest=digest,
                data=read_metadata(path).require_training(path).data,
                code=provenance.optional_text("code"),
                modules=provenance.texts("modules", {}),
                parameters=provenance.scalars("parameters") if "parameters" in provenance else None,
                input_digest=provenance.optional_text("recipe"),
                libraries=manifest.libraries,
            )
        except (UserError, zipfile.BadZipFile, KeyError) as error:
            return ArchiveContents(problem=str(error))


def describe_rows(data: TrainingData) -> Json:
    """Return the description of the training rows without the statistics, as prune stores it in a tag."""
    return {name: value for name, value in data.to_json().items() if name != "statistics"}


def read_metadata(path: Path) -> BundleMetadata:
    """Return the `model.json` in the archive at `path`."""
    with zipfile.ZipFile(path) as opened, opened.open(METADATA) as member:
        return BundleMetadata.from_json(
            JsonObject.parse(member.read(_MAX_METADATA_BYTES), f"{path}: {METADATA}", ArchiveError)
        )


@dataclass(frozen=True)
class StoredArchive:
    """The state of an archive in the object store.

    `size` is in bytes, None if the archive is missing. `intact` says whether it has the registered digest.
    `pruned` is the time at which prune removed it.
    """

    key: str
    size: int | None
    intact: bool | None
    problem: str | None = None
    pruned: str | None = None

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        return {
            "key": self.key,
            "bytes": self.size,
            "intact": self.intact,
            "trouble": self.problem,
            "pruned": self.pruned,
        }


@dataclass(frozen=True)
class DataLineage:
    """The dataset of a version: fingerprint, numbers of rows, source, time of reading, rule of the split."""

    fingerprint: str | None
    train_rows: int | None
    holdout_rows: int | None
    source: str | None = None
    as_of: str | None = None
    split_rule: str | None = None

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        return {
            "fingerprint": self.fingerprint,
            "rows": {"train": self.train_rows, "holdout": self.holdout_rows},
            "source": self.source,
            "as_of": self.as_of,
            "split_rule": self.split_rule,
        }


@dataclass(frozen=True)
class DefeatedChampion:
    """The champion to which a version was compared when it was promoted, and the measured improvement.

    `confidence` is that of the interval of the improvement.
    """

    version: str
    digest: str
    difference: Interval | None
    confidence: float

    def to_json(self) -> Json:
        """Return the fields under their keys in --json, without the confidence."""
        difference = self.difference and asdict(self.difference)
        return {"version": self.version, "digest": self.digest, "difference": difference}


@dataclass(frozen=True)
class Lineage:
    """The origin of a version. A value that is not known is None.

    `code` is the digest of the workload's folder, and `modules` are the sha256 of its modules by path (empty
    for older versions).
    `statistics` describes each column of the training rows. `metric` is the primary metric, and `metrics` are
    those of the version on the holdout. `defeated` is None for the first version of a workload.
    """

    run: str | None
    mlflow_run: str | None
    code: str | None
    modules: Mapping[str, str]
    input_digest: str | None
    model_digest: str | None
    data: DataLineage
    statistics: Mapping[str, ColumnStatistics] | None
    parameters: Mapping[str, Value] | None
    libraries: Mapping[str, str] | None
    metric: str | None
    metrics: Mapping[str, Interval]
    defeated: DefeatedChampion | None
    reasons: tuple[str, ...] | None
    archive: StoredArchive

    def to_json(self) -> Json:
        """Return the fields under their keys in --json, without the statistics."""
        content = {
            "run": self.run,
            "mlflow_run": self.mlflow_run,
            "code": self.code,
            "recipe": self.input_digest,
            "model_digest": self.model_digest,
            "data": self.data.to_json(),
            "parameters": None if self.parameters is None else dict(self.parameters),
            "libraries": None if self.libraries is None else dict(self.libraries),
            "metric": self.metric,
            "metrics": {name: asdict(interval) for name, interval in self.metrics.items()},
            "against": self.defeated.to_json() if self.defeated else None,
            "reasons": None if self.reasons is None else list(self.reasons),
            "archive": self.archive.to_json(),
        }
        json_ready: Json = plain(content)
        return json_ready


def read_lineage(version: ModelVersion, registry: Registry, store: ObjectStore) -> Lineage:
    """Return the origin of a version from its tags, its archive and its evaluation.

    The evaluation is the `evaluation.json` of the MLflow run that registered the version. If the archive was
    pruned, the description of the training rows comes from the tag that prune has written.
    """
    evaluation = read_evaluation(version, registry)
    pruned = json.loads(version.tags.get(PRUNED, "{}"))
    size = store.size(version.archive)
    contents = ArchiveContents() if size is None else read_contents(store, version.archive)
    data = contents.data
    described = describe_rows(data) if data else pruned.get("data") or {}
    intact = contents.digest == version.digest and not contents.problem
    return Lineage(
        run=version.tags.get("pipeline_run"),
        mlflow_run=version.run_id or None,
        code=version.tags.get("code"),
        modules=evaluation.modules if evaluation else contents.modules,
        input_digest=version.tags.get("recipe"),
        model_digest=version.tags.get("model_digest"),
        data=_data_lineage(version, described, evaluation),
        statistics=(data.statistics or None) if data else None,
        parameters=(evaluation and evaluation.parameters) or contents.parameters,
        libraries=contents.libraries or pruned.get("libraries"),
        metric=evaluation.rule.get("metric") if evaluation else None,
        metrics=evaluation.metrics if evaluation else {},
        defeated=_defeated_champion(evaluation),
        reasons=evaluation.reasons if evaluation else None,
        archive=StoredArchive(
            key=version.archive,
            size=size,
            intact=None if size is None else intact,
            problem=contents.problem or None,
            pruned=pruned.get("when"),
        ),
    )


def _data_lineage(version: ModelVersion, data: Json, evaluation: Evaluation | None) -> DataLineage:
    fingerprint = version.tags.get("data_fingerprint")
    evaluated = evaluation.data if evaluation else None
    if evaluated and evaluated.fingerprint != fingerprint:
        # A transferred version was evaluated on other data than it was trained on.
        evaluated = None
    return DataLineage(
        fingerprint=fingerprint,
        train_rows=data.get("rows"),
        holdout_rows=evaluation.rows if evaluation else None,
        source=evaluated.source if evaluated else None,
        as_of=evaluated.as_of if evaluated else None,
        split_rule=(evaluated and evaluated.split_rule) or data.get("split_rule"),
    )


def _defeated_champion(evaluation: Evaluation | None) -> DefeatedChampion | None:
    if evaluation is None or evaluation.champion is None:
        return None
    champion = evaluation.champion
    return DefeatedChampion(
        champion.version, champion.digest, evaluation.difference, evaluation.bootstrap.confidence
    )
