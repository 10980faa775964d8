"""KServe's Python model server, as a custom predictor of its V1 protocol."""

import os
from pathlib import Path

from kserve import Model, ModelServer

from continuous_training.serving.models.model import load_model


class Predictor(Model):
    """Predicts each instance with the archive's own handler."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.loaded = load_model(Path(os.environ["MODEL"]))
        self.ready = True

    def predict(self, payload: dict, headers: dict | None = None) -> dict:
        """Return `{"predictions": [...]}` for `{"instances": [...]}`."""
        return {"predictions": [self.loaded.predict(request) for request in payload["instances"]]}


if __name__ == "__main__":
    server = ModelServer(
        http_port=int(os.environ["PORT"]), enable_grpc=False, workers=1, access_log_format=None
    )
    server.start([Predictor("model")])
