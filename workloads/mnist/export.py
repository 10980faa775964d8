"""The trained module as files that serve: ONNX for ONNX Runtime, TorchScript for torch."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .pictures import SIDE

_OPSET = 17
_COUNTED = re.compile(rb"[./]___torch_mangle_\d+")


def write_onnx(network: nn.Module, path: Path) -> None:
    """Write the module as ONNX: input `image` [rows, 28, 28], output `embedding` [rows, 64]."""
    buffer = io.BytesIO()
    with _quiet():
        torch.onnx.export(
            network,
            (torch.zeros(2, SIDE, SIDE),),
            buffer,  # type: ignore[arg-type]
            input_names=["image"],
            output_names=["embedding"],
            dynamic_axes={"image": {0: "rows"}, "embedding": {0: "rows"}},
            opset_version=_OPSET,
            # The newer exporter needs onnxscript, which nothing else here does.
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())


def write_torchscript(network: nn.Module, path: Path) -> None:
    """Write the module as TorchScript; the same module gives the same bytes."""
    buffer = io.BytesIO()
    with _quiet(), torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(network, torch.zeros(2, SIDE, SIDE)))
        # Into memory: a file's own name would become part of the bytes.
        torch.jit.save(traced, buffer)
    _copy_plain(buffer, path)


def _copy_plain(archive: io.BytesIO, path: Path) -> None:
    """Copy a TorchScript archive without what differs between two makings of it.

    That is where on this machine the code lay, a number that goes up with each module that the process has
    traced, and a random id. torch reads it without.
    """
    with zipfile.ZipFile(archive) as given, zipfile.ZipFile(path, "w") as plain:
        for name in given.namelist():
            if name.endswith((".debug_pkl", "/serialization_id")):
                continue
            content = given.read(name)
            if name.endswith((".py", ".pkl")):
                content = _COUNTED.sub(b"", content)
            # Stored, at the beginning of time: the same bytes whatever zlib and the clock say.
            plain.writestr(zipfile.ZipInfo(_COUNTED.sub(b"", name.encode()).decode()), content)


def embed(network: nn.Module, images: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Return the embeddings of uint8 pictures, [n, 28, 28]: float32 [n, 64]."""
    with torch.inference_mode():
        parts = (torch.tensor(images[i : i + batch]).float() for i in range(0, len(images), batch))
        return torch.cat([network(part) for part in parts]).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from telling everyone that TorchScript and its exporter are no longer developed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
