"""MNIST: handwritten digits of 28 x 28 pixels; a convolutional embedding under a FAISS index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from continuous_training.adapters.data_sources import fetch
from continuous_training.core.errors import UserError

from ..contract import (
    Checkpoints,
    Column,
    Parameter,
    Progress,
    PromotionRule,
    Resumable,
    Rows,
    Tensors,
    Training,
    Values,
)
from ..schemas import exactly, list_of, one_or_many, picture
from .gallery import write_gallery
from .handler import NEIGHBOURS, MnistHandler
from .idx import read_idx
from .pictures import INK, SIDE

PIXELS = SIDE * SIDE
DIGITS = tuple(range(10))
BATCH = 10_000
FILES = {"train": "train", "holdout": "t10k"}
"""What the files of each split begin with: the original test pictures are the ones held out."""

SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
ORIGINALS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
"""Addresses that hold the original files, which never change; what is elsewhere may be anyone's own."""

_IMAGE = picture(SIDE, SIDE, INK, margin=4 / SIDE, centre="mass")
_PREDICTION = exactly(
    label={"type": "integer", "minimum": 0, "maximum": 9, "description": "the digit", "x-headline": True},
    confidence={
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "the share of neighbours with it",
    },
    neighbours=list_of(
        {"type": "integer", "minimum": 0, "description": "number of a training picture"}, NEIGHBOURS
    ),
    distances=list_of({"type": "number", "description": "squared, in the embedding"}, NEIGHBOURS),
    optional={"pictures": list_of(_IMAGE, NEIGHBOURS), "labels": list_of({"type": "integer"}, NEIGHBOURS)},
)


class Mnist(Resumable):
    """A convolutional network that learns by angular margin; ten neighbours vote."""

    name = "mnist"
    summary = "handwritten digits, 28x28 pixels; a convolutional embedding with nearest neighbours"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    certainty = "confidence"
    default_source = sample_source = "mnist:sample"
    intended = (
        "reading single handwritten digits, 0 to 9, and showing the training pictures that an answer rests on"
    )
    limits = (
        "It takes every picture for a digit: a letter or a scribble gets a label too, at a greater distance. "
        "Several digits in one picture, or lines on the paper, are beyond it."
    )
    handler = MnistHandler
    # A picture's file in base64 is taken too; the page and uploads by form send pixels.
    request_schema = one_or_many("image", "images", _IMAGE)
    answer_schema = exactly(predictions=list_of(_PREDICTION))
    minimum_rows = 1000
    extras = ("torch",)
    distributed = True
    columns = (
        Column("id", "text", help="file and number in it, from 0"),
        Column("image", "bytes", help="ink from 0 to 255, 28 rows of 28"),
        Column("ink", "number", minimum=0, maximum=INK, help="mean of the image"),
        Column("label", "integer", values=DIGITS, help="the digit"),
    )
    own_parameters = (
        Parameter("epochs", 16, "passes over the training rows", minimum=1, maximum=200, shapes_data=False),
        Parameter(
            "learning_rate", 0.002, "the highest on the way", minimum=1e-6, maximum=1, shapes_data=False
        ),
        Parameter(
            "angle",
            0.3,
            "radians by which a picture must be nearer to its kind",
            minimum=0,
            maximum=1,
            shapes_data=False,
        ),
        Parameter(
            "precision",
            "auto",
            "arithmetic of training; auto: bfloat16 where the processor has it",
            choices=("auto", "bfloat16", "float32"),
            shapes_data=False,
        ),
    )
    rule = PromotionRule(metric="accuracy", floor=0.95, minimum_rows=300, slice_floor=0.85)

    def load(self, source: str, values: Values) -> Iterator[Rows]:
        """Yield the pictures of the four idx files at `source`, the test files' as the holdout."""
        place = str(Path(__file__).parent / "sample") if source == self.sample_source else source
        known = SHA256 if place.rstrip("/") in ORIGINALS else {}
        for split, prefix in FILES.items():
            pictures = fetch(place, _names(f"{prefix}-images", 3), known)
            labels = fetch(place, _names(f"{prefix}-labels", 1), known)
            yield from self._rows(split, prefix, pictures, labels)

    def _rows(self, split: str, prefix: str, pictures: Path, labels: Path) -> Iterator[Rows]:
        images, digits = read_idx(pictures, 3), read_idx(labels, 1)
        if images.shape[1:] != (SIDE, SIDE):
            raise UserError(
                f"{pictures.name}: its pictures are {images.shape[1:]} pixels, not {SIDE} x {SIDE}"
            )
        if len(images) != len(digits):
            raise UserError(
                f"{pictures.name} holds {len(images):,} pictures, and {labels.name} {len(digits):,} labels; "
                "they belong together one by one"
            )
        for begin in range(0, len(images), BATCH):
            part = images[begin : begin + BATCH].reshape(-1, PIXELS)
            columns = {
                "id": pa.array([f"{prefix}-{begin + i:05d}" for i in range(len(part))]),
                "image": pa.array([row.tobytes() for row in part], pa.binary()),
                "ink": pa.array(part.mean(axis=1)),
                "label": pa.array(digits[begin : begin + BATCH].astype(np.int64)),
                "split": pa.array([split] * len(part)),
            }
            yield Rows(pa.record_batch(columns), labels.name, begin + 1)

    def train(
        self,
        rows: pa.Table,
        values: Values,
        output: Path,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
    ) -> Training:
        """Learn the embedding, export it, and index the training pictures in it."""
        import faiss

        from ..distributed import process_group
        from .export import embed, write_onnx, write_torchscript
        from .training import Recipe, Trainer, has_bfloat16

        images, labels = _images(rows), rows[self.target].to_numpy()
        half = values["precision"] == "bfloat16" or (values["precision"] == "auto" and has_bfloat16())
        recipe = Recipe(
            epochs=int(values["epochs"]),
            rate=float(values["learning_rate"]),
            margin=float(values["angle"]),
            seed=int(values["seed"]),
            half=half,
        )
        with process_group() as group:
            trainer = Trainer(images, labels, len(DIGITS), recipe, group)
            among = f", among {group.world_size} processes" if group.world_size > 1 else ""
            arithmetic = "bfloat16" if half else "float32"
            progress(f"{recipe.epochs} epochs of {trainer.steps} steps, in {arithmetic}{among}")
            network = trainer.run(progress, checkpoints)
            if not group.is_first:
                return Training(trainer.curve)
        write_onnx(network, output / "embedding.onnx")
        write_torchscript(network, output / "embedding.pt")
        progress(f"indexing {len(labels):,} pictures")
        embedded = embed(network, images)
        index = faiss.IndexFlatL2(embedded.shape[1])
        index.add(embedded)
        faiss.write_index(index, str(output / "index.faiss"))
        (output / "labels.json").write_text(json.dumps(labels.tolist()))
        write_gallery(images, output)
        notes = {"indexed": len(labels), "precision": arithmetic}
        notes |= {"processes": group.world_size} if group.world_size > 1 else {}
        return Training(trainer.curve, notes)

    def tensors(self, rows: pa.Table) -> Tensors:
        """Stack the pictures: float32 [n, 28, 28]."""
        return {"image": _images(rows).astype(np.float32)}

    def request(self, row: pa.Table) -> Any:
        """Ask about one picture."""
        return {"image": _images(row)[0].tolist()}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Judge each digit on its own."""
        labels = rows[self.target].to_numpy()
        return {f"digit {digit}": labels == digit for digit in DIGITS}

    def pictures(self, rows: pa.Table) -> np.ndarray:
        """Return the pictures themselves."""
        return _images(rows)


def _names(stem: str, dimensions: int) -> list[str]:
    """Return what a file may be called: gzipped or not, and as unpacking by hand often leaves it."""
    return [f"{stem}-idx{dimensions}-ubyte{end}" for end in (".gz", "")] + [f"{stem}.idx{dimensions}-ubyte"]


def _images(rows: pa.Table) -> np.ndarray:
    """Return the column `image` as uint8 [n, 28, 28]."""
    return np.frombuffer(b"".join(rows["image"].to_pylist()), np.uint8).reshape(-1, SIDE, SIDE)


WORKLOAD = Mnist
