"""Serves the archive that this file travels in under TorchServe, with the workload's own handler."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


class TorchServeHandler:
    """Delegates to the handler that `model.json` names; TorchServe makes one for each worker."""

    def initialize(self, context: Any) -> None:
        """Load the handler's code and the model from the folder that TorchServe unpacked."""
        folder = context.system_properties["model_dir"]
        if folder not in sys.path:
            sys.path.insert(0, folder)
        name = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))["handler"]
        module, _, attribute = name.partition(":")
        self.handler = getattr(import_module(module), attribute)()
        self.handler.load(Path(folder))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Answer a batch in one inference; a bad request in it gets a 400 and harms no other one."""
        try:
            return self.handler.handle(data, context)
        except ValueError:
            return [self._alone(row, index, context) for index, row in enumerate(data)]

    def _alone(self, row: dict[str, Any], index: int, context: Any) -> Any:
        try:
            return self.handler.handle([row], context)[0]
        except ValueError as error:
            context.set_response_status(code=400, phrase="Bad Request", idx=index)
            return {"error": str(error)}
