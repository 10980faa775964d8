"""A model version, loaded from its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from continuous_training.artifacts.bundle import BundleMetadata, TensorSpec
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_limits import JsonLimits
from continuous_training.serving.models.isolated_import import IsolatedPackage
from continuous_training.serving.models.request_limits import json_limits
from continuous_training.serving.models.tensor_ranges import check_ranges

Tensors = dict[str, np.ndarray]


@dataclass
class Model:
    """A model with the files and the handler code of one folder."""

    name: str
    folder: Path
    metadata: BundleMetadata
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    handler: Any
    _code: IsolatedPackage = field(repr=False)

    def predict(self, request: Any) -> Any:
        """Return the response to a JSON request. RequestError if the handler rejects the request."""
        return self.handler.postprocess(self.handler.inference(self.preprocess(request)))

    def preprocess(self, request: Any) -> Tensors:
        """Return the input tensors of a JSON request. RequestError if the handler rejects the request."""
        try:
            tensors = dict(self.handler.preprocess(request))
        except ValueError as error:
            raise RequestError(str(error)) from error
        self.check_inputs(tensors)
        return tensors

    def check_inputs(self, tensors: Tensors) -> None:
        """Raise RequestError for an element outside its range, or if the handler rejects the tensors."""
        check_ranges(tensors, self.inputs)
        # The handlers of older archives do not have the method.
        if (check := getattr(self.handler, "check_inputs", None)) is None:
            return
        try:
            check(tensors)
        except ValueError as error:
            raise RequestError(str(error)) from error

    @cached_property
    def json_limits(self) -> JsonLimits:
        """The limits of the JSON body of one request."""
        return json_limits(self.inputs)

    @property
    def batch_rows(self) -> int | None:
        """The maximum rows per batch that the handler declares (1: no batching); None without a limit."""
        rows = getattr(self.handler, "batch_rows", None)
        return rows if isinstance(rows, int) and rows > 0 else None

    def infer(self, tensors: Tensors) -> Tensors:
        """Return the output tensors for n rows of the input tensors."""
        return dict(self.handler.inference(tensors))

    def unload(self) -> None:
        """Release the handler and its code. The model cannot be used afterwards."""
        self.handler = None
        self._code.unload()


def load_model(folder: Path, threads: int = 1) -> Model:
    """Load the model in `folder` with the handler code in that folder.

    The folder is a bundle or an unpacked archive: `model.json`, the model's files and the handler's
    modules. Nothing is written to it. `threads` is the number of threads of one inference; it is set as
    the handler's attribute `threads` before `load`. ArchiveError if `model.json` or the handler is invalid;
    exceptions of the handler's `load` are not wrapped.
    """
    metadata = BundleMetadata.read(folder)
    signature = metadata.signature
    module, _, class_name = signature.handler.partition(":")
    code = IsolatedPackage(folder.resolve())
    try:
        handler = _handler_class(code, module, class_name, folder)()
        handler.threads = threads
        handler.load(folder.resolve())
    except BaseException:
        code.unload()
        raise
    return Model(signature.name, folder, metadata, signature.inputs, signature.outputs, handler, code)


def _handler_class(code: IsolatedPackage, module: str, class_name: str, folder: Path) -> Any:
    try:
        handler_class = getattr(code.load(module), class_name, None)
    except ModuleNotFoundError as error:
        name = (error.name or "?").removeprefix(f"{code.package}.")
        raise ArchiveError(
            f"{folder}: the handler {module} needs the module {name}, which is neither in the bundle nor "
            f"installed; copy it with copy_handler, or install it where the model is served"
        ) from error
    except SyntaxError as error:
        raise ArchiveError(f"{folder}: the handler's code does not compile: {error}") from error
    if not isinstance(handler_class, type):
        raise ArchiveError(f"{folder}: {module} defines no class {class_name}")
    return handler_class
