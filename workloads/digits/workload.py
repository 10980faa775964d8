"""The workload digits: handwritten digits of 8x8 pixels, a learned linear embedding, nearest neighbours."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..contract import (
    Column,
    LoadContext,
    Parameter,
    Progress,
    PromotionRule,
    Rows,
    Tensors,
    Training,
    Values,
    Workload,
)
from ..csv_reader import CSV, distinct_rows, numbered_rows, read_numbers, scikit_learn_file, to_arrow
from ..onnx_graph import linear_graph
from ..schemas import exactly, list_of, one_or_many, picture
from .handler import BRIGHTEST, NEIGHBOURS, SIDE, DigitsHandler

PIXELS = SIDE * SIDE
PIXEL_NAMES = tuple(f"pixel_{row}_{column}" for row in range(SIDE) for column in range(SIDE))
"""The column names in scikit-learn."""

_IMAGE = picture(SIDE, SIDE, BRIGHTEST)
_PREDICTION = exactly(
    label={"type": "integer", "minimum": 0, "maximum": 9, "description": "the digit", "x-headline": True},
    neighbours=list_of(
        {"type": "integer", "minimum": 0, "description": "number of a training image"}, NEIGHBOURS
    ),
    distances=list_of({"type": "number", "description": "squared distance in the embedding"}, NEIGHBOURS),
    optional={
        "pictures": list_of(_IMAGE, NEIGHBOURS),
        "labels": list_of({"type": "integer"}, NEIGHBOURS),
    },
)


class Digits(Workload):
    """Neighbourhood components analysis (Goldberger et al., NIPS 2004) with a FAISS index."""

    name = "digits"
    summary = "handwritten digits, 8x8 pixels; a learned embedding with nearest neighbours"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    default_source = "sklearn:digits"
    handler = DigitsHandler
    minimum_rows = 500
    columns = (
        Column("id", "text", help="number in scikit-learn's copy, or digest of the row"),
        Column("image", "vector", minimum=0, maximum=BRIGHTEST, length=PIXELS, help="ink in 8 rows of 8"),
        Column("label", "integer", values=tuple(range(10)), help="the digit"),
    )
    own_parameters = (
        Parameter(
            "components", 32, "dimensions of the embedding", minimum=2, maximum=PIXELS, shapes_data=False
        ),
        Parameter(
            "max_iter",
            5,
            "steps of the optimiser; with more steps, the model overfits the training rows",
            minimum=1,
            maximum=500,
            shapes_data=False,
        ),
        Parameter(
            "source",
            "",
            f"{CSV}: pixel_0_0 to pixel_7_7, row by row, and label; empty: scikit-learn's copy",
        ),
    )
    intended = "A demonstration of the pipeline with real data: scanned, centred digits of 8x8 pixels."
    limits = (
        "The model was trained on images of one scanner, size and stroke width. It predicts a digit for any "
        "image; large distances indicate that the image is unlike the training images."
    )
    rule = PromotionRule(metric="accuracy", floor=0.95, minimum_rows=200, slice_floor=0.8)
    request_schema = one_or_many("image", "images", _IMAGE)
    answer_schema = exactly(predictions=list_of(_PREDICTION))

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the images of scikit-learn's copy, or each distinct row of CSV files."""
        if source == self.default_source:
            path, add_keys = scikit_learn_file("digits.csv.gz"), numbered_rows
        else:
            path, add_keys = source, partial(distinct_rows, drop_duplicates=context.drop_duplicates)
        names = (*PIXEL_NAMES, "label")
        blocks = read_numbers(
            path,
            names,
            integers=("label",),
            set_aside=context.set_aside,
            files=context.files,
            advance=context.advance,
        )
        for (origin, first, _, block), keys in add_keys(blocks):
            pixels = pa.array(block[:, :PIXELS].astype(np.float32).ravel())
            columns = [
                keys,
                pa.FixedSizeListArray.from_arrays(pixels, PIXELS),
                to_arrow(self.column("label"), block[:, PIXELS], origin, first),
            ]
            yield Rows(pa.record_batch(columns, schema=self.schema()), origin, first)

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Train the embedding, and write it with an index of the embedded training images."""
        import faiss
        from sklearn.neighbors import NeighborhoodComponentsAnalysis

        images, labels = self.tensors(rows)["image"], rows["label"].to_numpy()
        flat = images.reshape(len(images), PIXELS).astype(np.float64) / BRIGHTEST
        curve: list[dict[str, float]] = []

        def record_step(solution: np.ndarray, step: int) -> None:
            accuracy = _neighbour_accuracy(flat @ solution.reshape(-1, PIXELS).T, labels)
            curve.append({"step": step, "error": 1 - accuracy})
            progress(f"step {step}: for {accuracy:.1%} of the images, the nearest image has the same label")

        model = NeighborhoodComponentsAnalysis(
            n_components=int(values["components"]),
            init="pca",
            max_iter=int(values["max_iter"]),
            random_state=int(values["seed"]),
            callback=record_step,
        )
        with warnings.catch_warnings():
            # Reaching max_iter is intended, so the convergence warning is not a problem.
            warnings.filterwarnings("ignore", message="maximum number of iterations|.*CONVERGENCE")
            model.fit(flat, labels)

        weights = (model.components_.T / BRIGHTEST).astype(np.float32)
        embedded = images.reshape(len(images), PIXELS) @ weights
        index = faiss.IndexFlatL2(embedded.shape[1])
        index.add(np.ascontiguousarray(embedded))
        faiss.write_index(index, str(output / "index.faiss"))
        graph = linear_graph("image", (SIDE, SIDE), weights, np.zeros(weights.shape[1], np.float32))
        (output / "embedding.onnx").write_bytes(graph)
        np.save(output / "pictures.npy", np.rint(images).astype(np.uint8))
        (output / "labels.json").write_text(json.dumps(labels.tolist()))
        return Training(curve, {"indexed": len(labels)})

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the images: float32 [n, 8, 8]."""
        flat = rows["image"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return {"image": flat.astype(np.float32).reshape(-1, SIDE, SIDE)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row's image."""
        return {"image": self.tensors(row)["image"][0].astype(int).tolist()}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return one slice per digit."""
        labels = rows["label"].to_numpy()
        return {f"digit {digit}": labels == digit for digit in range(10)}

    def pictures(self, rows: pa.Table) -> np.ndarray:
        """Return the images in grey levels from 0 (paper) to 255 (ink)."""
        return (self.tensors(rows)["image"] * (255 / BRIGHTEST)).astype(np.uint8)


def _neighbour_accuracy(embedded: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the first 500 rows whose nearest neighbour among them has the same label."""
    sample, sample_labels = embedded[:500], labels[:500]
    squares = (sample**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * sample @ sample.T
    np.fill_diagonal(distances, np.inf)
    return float((sample_labels[distances.argmin(axis=1)] == sample_labels).mean())


WORKLOAD = Digits
