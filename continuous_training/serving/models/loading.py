"""Loading of a model version from an archive, with a test of its golden requests."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_manifest import ArchiveManifest
from continuous_training.artifacts.archive_reader import unpack
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.serving.errors import VersionRejectedError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.inference_time import InferenceTime
from continuous_training.serving.models.model import Model, load_model
from continuous_training.serving.models.versions import LoadedVersion

_numbers = itertools.count(1)


def load_archive(
    archive: Path, digest: str, work_folder: Path, name: str | None = None, threads: int = 1
) -> LoadedVersion:
    """Unpack an archive below `work_folder`, load its model, and send it its golden requests.

    VersionRejectedError, with every reason, if the digest or the name differs, the handler fails to load,
    or a golden response differs; ArchiveError if the archive is damaged. The unpacked files are then removed.
    """
    folder = work_folder / f"{digest[:12]}-{next(_numbers)}"
    manifest = unpack(archive, folder, digest)
    try:
        if name is not None and manifest.name != name:
            raise VersionRejectedError(
                f"{archive} contains the model {manifest.name!r}, and {name!r} was requested"
            )
        model = _load(folder, manifest, archive, threads)
        try:
            inference_time = _check_golden_requests(model, manifest, archive)
        except BaseException:
            model.unload()
            raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return LoadedVersion(digest, archive, model, folder, inference_time)


def _load(folder: Path, manifest: ArchiveManifest, archive: Path, threads: int) -> Model:
    try:
        model = load_model(folder, threads)
    except ArchiveError:
        raise
    except (Exception, SystemExit) as error:
        raise VersionRejectedError(
            f"{archive}: its handler fails to load: {type(error).__name__}: {error}"
        ) from error
    for field in ("name", "handler", "inputs", "outputs"):
        if getattr(model.metadata.signature, field) != getattr(manifest.signature, field):
            model.unload()
            raise VersionRejectedError(
                f"{archive}: model.json and archive.json differ in {field!r}; write the archive again"
            )
    return model


def _check_golden_requests(model: Model, manifest: ArchiveManifest, archive: Path) -> InferenceTime:
    """Send the golden requests, which also warms the model up, and return the time that a request takes."""
    durations: list[float] = []

    def predict(request: Any) -> Any:
        start = time.monotonic()
        # The responses are encoded and decoded because a client receives JSON.
        response = decode(encode(model.predict(request)))
        durations.append(time.monotonic() - start)
        return response

    differences = manifest.golden.check(predict)
    if differences:
        examples = "; ".join(differences[:3])
        count = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise VersionRejectedError(
            f"{archive}: its responses to the golden requests differ: {examples}{count}", differences
        )
    # The first request of many models takes longer than all others.
    return InferenceTime(statistics.median(durations[1:] or durations or [0.0]))
