"""Add layers to an image without a build, so that the same input results in the same image id.

`docker build` writes the time of the build into the image, and without BuildKit no option prevents that. This
module writes the image itself, in the format of `docker save`:
https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.docker_cli import docker_result, run_docker
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json, JsonObject

from .layer import Layer

_INDEX = "manifest.json"
_OTHER_INDEXES = ("index.json", "oci-layout", "repositories")
"""Files of `docker save` that describe the base image."""
_KEPT = ("architecture", "os", "variant", "created")
_CREATED_BY = "python -m serving.package"


@dataclass(frozen=True)
class SavedImage:
    """The content of a file that `docker save` wrote: the configuration, and the names of the layers."""

    path: Path
    configuration: JsonObject
    layers: tuple[str, ...]

    @classmethod
    def save(cls, image: str, path: Path) -> SavedImage:
        """Write an image of the Docker engine to a file."""
        run_docker(["save", "--output", str(path), image], f"the image {image} could not be read from Docker")
        with tarfile.open(path) as tar:
            index = JsonObject(json.loads(_read(tar, _INDEX))[0], f"{_INDEX} of {image}")
            configuration = _read(tar, index.text("Config"))
        return cls(path, JsonObject.parse(configuration, image), index.text_list("Layers"))


def add_layers(image: str, layers: Sequence[Layer], labels: Mapping[str, str], settings: Json) -> str:
    """Create an image from `image` with more layers and labels and other settings, and return its id.

    `settings` are fields of `config` in the image specification; they replace those of the image. The time of
    creation is that of `image`. Raises UserError if Docker fails.
    """
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        base = SavedImage.save(image, Path(folder) / "base.tar")
        target = Path(folder) / "image.tar"
        configuration = _configuration(base.configuration, layers, labels, settings)
        _write_image(base, layers, configuration, target)
        base.path.unlink()
        failure = "the image could not be loaded into Docker; see the output of Docker above"
        output = docker_result(["load", "--quiet", "--input", str(target)], failure)
    match = re.search(r"sha256:[0-9a-f]{64}", output)
    if match is None:
        raise UserError(f"docker load printed no id of an image: {output!r}")
    return match[0]


def _configuration(
    base: JsonObject, layers: Sequence[Layer], labels: Mapping[str, str], settings: Json
) -> bytes:
    created = base.text("created")
    config = base.nested("config", {})
    config_with_labels = {**config.value, **settings, "Labels": {**config.texts("Labels", {}), **labels}}
    history = [*base.array("history", []), *({"created": created, "created_by": _CREATED_BY} for _ in layers)]
    diff_ids = [*base.nested("rootfs").text_list("diff_ids"), *(layer.diff_id for layer in layers)]
    document = {
        **{name: base.value[name] for name in _KEPT if name in base},
        "config": config_with_labels,
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _write_image(base: SavedImage, layers: Sequence[Layer], configuration: bytes, target: Path) -> None:
    """Write the layers of the base image, the other layers, the configuration and the index."""
    names = [f"{layer.diff_id.partition(':')[2]}.tar" for layer in layers]
    config_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    index = [{"Config": config_name, "RepoTags": None, "Layers": [*base.layers, *names]}]
    with tarfile.open(base.path) as source, tarfile.open(target, "w") as tar:
        for member in source:
            if member.name not in (_INDEX, *_OTHER_INDEXES):
                tar.addfile(member, source.extractfile(member) if member.isreg() else None)
        for name, layer in zip(names, layers, strict=True):
            tar.add(layer.path, name)
        _add(tar, config_name, configuration)
        _add(tar, _INDEX, json.dumps(index).encode())


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    if content is None:
        raise UserError(f"docker save wrote no file {name}; update Docker")
    return content.read()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
