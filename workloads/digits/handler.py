"""The handler of the workload digits: the label of an image, and the most similar training images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..handler import Handler, Tensor, Tensors, check_images, check_row_count

SIDE = 8
BRIGHTEST = 16
NEIGHBOURS = 5


class DigitsHandler(Handler):
    """Predicts the majority label of the five nearest training images.

    A request is `{"image": [[...] x 8]}` or `{"images": [image, ...]}` with pixels from 0 (paper) to 16
    (ink). The response is `{"predictions": [{"label", "neighbours", "distances"}, ...]}`, one per image.
    """

    inputs = (Tensor("image", "FP32", (-1, SIDE, SIDE), minimum=0, maximum=BRIGHTEST),)
    outputs = (
        Tensor("label", "INT64", (-1,)),
        Tensor("neighbours", "INT64", (-1, NEIGHBOURS)),
        Tensor("distances", "FP32", (-1, NEIGHBOURS)),
    )

    def load(self, folder: Path) -> None:
        """Load the embedding (ONNX), the index of the training embeddings (FAISS) and their labels."""
        import faiss
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "embedding.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.index = faiss.read_index(str(folder / "index.faiss"))
        # The file is memory-mapped, because only `illustrate` reads it.
        self.pictures = np.load(folder / "pictures.npy", mmap_mode="r")
        self.labels = np.array(json.loads((folder / "labels.json").read_text()), dtype=np.int64)

    def preprocess(self, request: Any) -> Tensors:
        """Return the images of the request: float32 [n, 8, 8]."""
        if not isinstance(request, dict) or list(request) not in (["image"], ["images"]):
            raise ValueError('send {"image": [[...]]} or {"images": [...]}: 8 rows of 8 pixels each')
        pictures = [request["image"]] if "image" in request else request["images"]
        if not isinstance(pictures, list) or not pictures:
            raise ValueError("images must be a list with at least one image")
        check_row_count(pictures)
        check_images(pictures, SIDE)
        array = np.array(pictures)
        if array.dtype.kind not in "iuf":
            raise ValueError("an image is 8 rows of 8 numbers")
        if not self.inputs[0].contains(array):
            raise ValueError(f"a pixel is a number from 0 (paper) to {BRIGHTEST} (ink)")
        return {"image": array.astype(np.float32)}

    def inference(self, tensors: Tensors) -> Tensors:
        """Return the majority label of the neighbours. The nearest neighbour decides a tie."""
        (embedded,) = self.session.run(None, {"image": tensors["image"]})
        distances, neighbours = self.index.search(embedded, NEIGHBOURS)
        votes = self.labels[neighbours]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        labels = votes[np.arange(len(votes)), counts.argmax(axis=1)]
        return {"label": labels, "neighbours": neighbours, "distances": distances}

    def postprocess(self, tensors: Tensors) -> Any:
        """Return a response with one prediction per image."""
        columns = (tensors["label"], tensors["neighbours"], tensors["distances"])
        return {
            "predictions": [
                {"label": label, "neighbours": neighbours, "distances": distances}
                for label, neighbours, distances in zip(*(c.tolist() for c in columns), strict=True)
            ]
        }

    def illustrate(self, answer: Any) -> Any:
        """Add the image and the label of each neighbour."""
        return {"predictions": [{**p, **self._images_and_labels(p)} for p in answer["predictions"]]}

    def _images_and_labels(self, prediction: dict[str, Any]) -> dict[str, Any]:
        neighbours = prediction["neighbours"]
        pictures = self.pictures[neighbours].tolist()
        return {"pictures": pictures, "labels": self.labels[neighbours].tolist()}
