# ruff: noqa: E501
"""From an archive to a version that has proven itself, or to a refusal that leaves nothing behind."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from continuous_training.artifacts.archive_manifest import ArchiveManifest
from continuous_training.artifacts.archive_reader import unpack
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.serving.errors import VersionRejectedError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.model import Model, load_model
from continuous_training.serving.models.versions import LoadedVersion

_numbers = itertools.count(1)


def load_archive(
    archive: Path, digest: str, work: Path, name: str | None = None, threads: int = 1
) -> LoadedVersion:
    """Unpack an archive below `work`, load its model, and have it answer its golden requests.

    VersionRejectedError, with every reason, when a digest or a name is another one, the handler fails to load,
    or an answer differs; ArchiveError when the archive itself is not sound. Nothing is left then.
    """
    folder = work / f"{digest[:12]}-{next(_numbers)}"
    manifest = unpack(archive, folder, digest)
    try:
        if name is not None and manifest.name != name:
            raise VersionRejectedError(
                f"{archive} holds the model {manifest.name!r}, and {name!r} was asked for"
            )
        model = _load(folder, manifest, archive, threads)
        try:
            _prove(model, manifest, archive)
        except BaseException:
            model.unload()
            raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return LoadedVersion(digest, archive, model, folder)


def _load(folder: Path, manifest: ArchiveManifest, archive: Path, threads: int) -> Model:
    try:
        model = load_model(folder, threads)
    except ArchiveError:
        raise
    except (Exception, SystemExit) as error:
        raise VersionRejectedError(
            f"{archive}: its handler fails to load: {type(error).__name__}: {error}"
        ) from error
    for key in ("name", "handler", "inputs", "outputs"):
        if getattr(model.metadata.signature, key) != getattr(manifest.signature, key):
            model.unload()
            raise VersionRejectedError(
                f"{archive}: model.json and archive.json differ in {key!r}; write it again"
            )
    return model


def _prove(model: Model, manifest: ArchiveManifest, archive: Path) -> None:
    # Through JSON and back, since that is what a caller sees; the first answers also warm the model up.
    wrong = manifest.golden.check(lambda request: decode(encode(model.predict(request))))
    if wrong:
        shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise VersionRejectedError(f"{archive} does not repeat its golden answers: {shown}", wrong)
