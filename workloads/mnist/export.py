"""Export the trained module as ONNX (for ONNX Runtime) and TorchScript (for torch)."""

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
_TRACE_COUNTER = re.compile(rb"[./]___torch_mangle_\d+")


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
            # The newer exporter would add onnxscript to the dependencies.
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())


def write_torchscript(network: nn.Module, path: Path) -> None:
    """Write the module as TorchScript with reproducible bytes."""
    buffer = io.BytesIO()
    with _quiet(), torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(network, torch.zeros(2, SIDE, SIDE)))
        # torch writes the name of a file into its content, so save to memory.
        torch.jit.save(traced, buffer)
    _copy_reproducibly(buffer, path)


def _copy_reproducibly(archive: io.BytesIO, path: Path) -> None:
    """Copy a TorchScript archive without the parts that differ between two exports of a module.

    These are the paths of the source code, a counter of the modules that the process has traced, and a
    random id. torch can read the archive without them.
    """
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name.endswith((".debug_pkl", "/serialization_id")):
                continue
            content = source.read(name)
            if name.endswith((".py", ".pkl")):
                content = _TRACE_COUNTER.sub(b"", content)
            # No compression and a constant time, so the bytes do not depend on zlib or the clock.
            target.writestr(zipfile.ZipInfo(_TRACE_COUNTER.sub(b"", name.encode()).decode()), content)


def embed(network: nn.Module, images: np.ndarray, batch: int = 1000) -> np.ndarray:
    """Return the embeddings of images (uint8 [n, 28, 28]): float32 [n, 64]."""
    with torch.inference_mode():
        parts = (torch.tensor(images[i : i + batch]).float() for i in range(0, len(images), batch))
        return torch.cat([network(part) for part in parts]).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress torch's warnings that TorchScript and its exporter are deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
