"""One version of a model, loaded from its folder and ready to answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from continuous_training.artifacts.bundle import BundleMetadata
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.serving.errors import RequestError
from continuous_training.serving.models.isolated_import import IsolatedPackage

Tensors = dict[str, np.ndarray]


@dataclass
class Model:
    """Answers requests with the files and the code of one folder, until it is unloaded."""

    name: str
    folder: Path
    metadata: BundleMetadata
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    handler: Any
    _code: IsolatedPackage = field(repr=False)

    def predict(self, request: Any) -> Any:
        """Answer one JSON request; RequestError (a ValueError) when the handler refuses it."""
        try:
            tensors = self.handler.preprocess(request)
        except ValueError as error:
            raise RequestError(str(error)) from error
        return self.handler.postprocess(self.handler.inference(tensors))

    @property
    def batch_rows(self) -> int | None:
        """The most rows that the handler wants in a batch (1: it gains nothing by one); None: any number."""
        rows = getattr(self.handler, "batch_rows", None)
        return rows if isinstance(rows, int) and rows > 0 else None

    def infer(self, tensors: Tensors) -> Tensors:
        """Answer rows given as tensors of `inputs` with tensors of `outputs`."""
        return dict(self.handler.inference(tensors))

    def unload(self) -> None:
        """Let go of the handler and its code; the model answers no more."""
        self.handler = None
        self._code.drop()


def load_model(folder: Path, threads: int = 1) -> Model:
    """Load the model in `folder`, running the code in that folder and no other copy of it.

    `threads` is how many one inference may use; a handler finds it in its own `threads`.

    The folder is a bundle or an unpacked archive: `model.json`, the model's files, and the handler's
    modules. Nothing is written there. ArchiveError when `model.json` or the handler is not as it
    should be; what the handler's own `load` raises passes through.
    """
    metadata = BundleMetadata.read(folder)
    signature = metadata.signature
    module, _, attribute = signature.handler.partition(":")
    code = IsolatedPackage(folder.resolve())
    try:
        handler = _handler_class(code, module, attribute, folder)()
        handler.threads = threads
        handler.load(folder.resolve())
    except BaseException:
        code.drop()
        raise
    inputs = [tensor.to_json() for tensor in signature.inputs]
    outputs = [tensor.to_json() for tensor in signature.outputs]
    return Model(signature.name, folder, metadata, inputs, outputs, handler, code)


def _handler_class(code: IsolatedPackage, module: str, attribute: str, folder: Path) -> Any:
    try:
        found = getattr(code.load(module), attribute, None)
    except ModuleNotFoundError as error:
        name = (error.name or "?").removeprefix(f"{code.package}.")
        raise ArchiveError(
            f"{folder}: the handler {module} needs the module {name}, which is neither in the bundle nor "
            f"installed; copy it with copy_handler, or install it where the model is served"
        ) from error
    except SyntaxError as error:
        raise ArchiveError(f"{folder}: the handler's code does not compile: {error}") from error
    if not isinstance(found, type):
        raise ArchiveError(f"{folder}: {module} defines no class {attribute}")
    return found
