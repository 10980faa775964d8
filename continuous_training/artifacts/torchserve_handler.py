"""The TorchServe handler of an archive. It calls the workload's own handler, which is in the same archive."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


class TorchServeHandler:
    """Delegates to the handler that `model.json` names. TorchServe creates one instance per worker."""

    def initialize(self, context: Any) -> None:
        """Load the handler's code and the model from the folder of the unpacked archive."""
        folder = context.system_properties["model_dir"]
        if folder not in sys.path:
            sys.path.insert(0, folder)
        name = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))["handler"]
        module, _, attribute = name.partition(":")
        self.handler = getattr(import_module(module), attribute)()
        self.handler.load(Path(folder))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Respond to a batch with one inference. An invalid request gets status 400 and affects no other."""
        try:
            return list(self.handler.handle(data, context))
        except ValueError:
            return [self._handle_one(row, index, context) for index, row in enumerate(data)]

    def _handle_one(self, row: dict[str, Any], index: int, context: Any) -> Any:
        try:
            return self.handler.handle([row], context)[0]
        except ValueError as error:
            context.set_response_status(code=400, phrase="Bad Request", idx=index)
            return {"error": str(error)}
