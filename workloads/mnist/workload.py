"""The workload mnist: handwritten digits of 28 x 28 pixels, a convolutional embedding, a FAISS index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from continuous_training.core.errors import UserError

from ..contract import (
    Checkpoints,
    Column,
    LoadContext,
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
from .picture_folder import is_picture_folder, read_picture_folder
from .pictures import INK, SIDE

PIXELS = SIDE * SIDE
DIGITS = tuple(range(10))
BATCH = 10_000
FILES = {"train": "train", "holdout": "t10k"}
"""The prefix of the file names of each split. The original test images are the holdout."""

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
"""Addresses of the original files, whose sha256 is verified. Other sources may have other files."""

_IMAGE = picture(SIDE, SIDE, INK, margin=4 / SIDE, centre="mass")
_PREDICTION = exactly(
    label={"type": "integer", "minimum": 0, "maximum": 9, "description": "the digit", "x-headline": True},
    confidence={
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "the share of neighbours with this label",
    },
    neighbours=list_of(
        {"type": "integer", "minimum": 0, "description": "number of a training image"}, NEIGHBOURS
    ),
    distances=list_of({"type": "number", "description": "squared distance in the embedding"}, NEIGHBOURS),
    optional={"pictures": list_of(_IMAGE, NEIGHBOURS), "labels": list_of({"type": "integer"}, NEIGHBOURS)},
)


class Mnist(Resumable):
    """A convolutional embedding, trained with an angular margin, and a vote of ten neighbours."""

    name = "mnist"
    summary = "handwritten digits, 28x28 pixels; a convolutional embedding with nearest neighbours"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    certainty = "confidence"
    default_source = sample_source = "mnist:sample"
    intended = "Classification of single handwritten digits, with similar training images as an explanation."
    limits = (
        "The model predicts a digit for any image, also for a letter or a scribble, with larger distances. "
        "It does not work for several digits in one image, or for lines on the paper."
    )
    handler = MnistHandler
    # The handler also accepts image files in base64. The page sends pixels.
    request_schema = one_or_many("image", "images", _IMAGE)
    answer_schema = exactly(predictions=list_of(_PREDICTION))
    minimum_rows = 1000
    extras = ("torch",)
    distributed = True
    columns = (
        Column(
            "id", "text", help="file and number in it, from 0; of a folder of pictures, the digest of the ink"
        ),
        Column("image", "bytes", help="ink from 0 to 255, 28 rows of 28"),
        Column("ink", "number", minimum=0, maximum=INK, help="mean of the image"),
        Column("label", "integer", values=DIGITS, help="the digit"),
    )
    own_parameters = (
        Parameter("epochs", 16, "passes over the training rows", minimum=1, maximum=200, shapes_data=False),
        Parameter(
            "learning_rate",
            0.002,
            "maximum of the one-cycle schedule",
            minimum=1e-6,
            maximum=1,
            shapes_data=False,
        ),
        Parameter(
            "angle",
            0.3,
            "angular margin of the loss in radians",
            minimum=0,
            maximum=1,
            shapes_data=False,
        ),
        Parameter(
            "precision",
            "auto",
            "arithmetic of training; auto: bfloat16 if the processor has instructions for it",
            choices=("auto", "bfloat16", "float32"),
            shapes_data=False,
        ),
    )
    rule = PromotionRule(metric="accuracy", floor=0.95, minimum_rows=300, slice_floor=0.85)

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the images of the four idx files in `source`, or of a folder with a subfolder per label.

        The test files of idx files are the holdout.
        """
        if is_picture_folder(source, DIGITS):
            for label, digits in read_picture_folder(source, DIGITS, context):
                if digits:
                    keys, inks = zip(*digits, strict=True)
                    columns = _columns(keys, np.stack(inks), np.full(len(keys), label))
                    yield Rows(pa.record_batch(columns), f"folder {label}")
            return
        location = str(Path(__file__).parent / "sample") if source == self.sample_source else source
        sha256 = SHA256 if location.rstrip("/") in ORIGINALS else {}
        for split, prefix in FILES.items():
            pictures = context.fetch(location, _names(f"{prefix}-images", 3), sha256)
            labels = context.fetch(location, _names(f"{prefix}-labels", 1), sha256)
            yield from self._rows(split, prefix, pictures, labels)

    def _rows(self, split: str, prefix: str, pictures: Path, labels: Path) -> Iterator[Rows]:
        images, digits = read_idx(pictures, 3), read_idx(labels, 1)
        if images.shape[1:] != (SIDE, SIDE):
            raise UserError(
                f"{pictures.name}: the images have {images.shape[1:]} pixels, not {SIDE} x {SIDE}"
            )
        if len(images) != len(digits):
            raise UserError(
                f"{pictures.name} has {len(images):,} images, but {labels.name} has {len(digits):,} labels; "
                "use two files with the same number of rows"
            )
        for begin in range(0, len(images), BATCH):
            part = images[begin : begin + BATCH]
            keys = [f"{prefix}-{begin + i:05d}" for i in range(len(part))]
            columns = _columns(keys, part, digits[begin : begin + BATCH])
            columns["split"] = pa.array([split] * len(part))
            yield Rows(pa.record_batch(columns), labels.name, begin + 1)

    def train(
        self,
        rows: pa.Table,
        values: Values,
        output: Path,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
    ) -> Training:
        """Train the embedding, export it, and write an index of the embedded training images."""
        import faiss

        from ..distributed import process_group
        from .export import embed, write_onnx, write_torchscript
        from .training import Hyperparameters, Trainer, has_bfloat16

        images, labels = _images(rows), rows[self.target].to_numpy()
        bfloat16 = values["precision"] == "bfloat16" or (values["precision"] == "auto" and has_bfloat16())
        hyperparameters = Hyperparameters(
            epochs=int(values["epochs"]),
            learning_rate=float(values["learning_rate"]),
            margin=float(values["angle"]),
            seed=int(values["seed"]),
            bfloat16=bfloat16,
        )
        with process_group() as group:
            trainer = Trainer(images, labels, len(DIGITS), hyperparameters, group)
            processes = f", in {group.world_size} processes" if group.world_size > 1 else ""
            arithmetic = "bfloat16" if bfloat16 else "float32"
            progress(
                f"{hyperparameters.epochs} epochs of {trainer.steps} steps, with {arithmetic}{processes}"
            )
            network = trainer.run(progress, checkpoints)
            if not group.is_first:
                return Training(trainer.curve)
        write_onnx(network, output / "embedding.onnx")
        write_torchscript(network, output / "embedding.pt")
        progress(f"indexing {len(labels):,} images")
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
        """Return the images: float32 [n, 28, 28]."""
        return {"image": _images(rows).astype(np.float32)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row's image."""
        return {"image": _images(row)[0].tolist()}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return one slice per digit."""
        labels = rows[self.target].to_numpy()
        return {f"digit {digit}": labels == digit for digit in DIGITS}

    def pictures(self, rows: pa.Table) -> np.ndarray:
        """Return the images: uint8 [n, 28, 28]."""
        return _images(rows)


def _columns(keys: Sequence[str], images: np.ndarray, labels: np.ndarray) -> dict[str, pa.Array]:
    """Return the columns of images, uint8 [n, 28, 28]."""
    flat = images.reshape(-1, PIXELS)
    return {
        "id": pa.array(keys),
        "image": pa.array([row.tobytes() for row in flat], pa.binary()),
        "ink": pa.array(flat.mean(axis=1)),
        "label": pa.array(labels.astype(np.int64)),
    }


def _names(stem: str, dimensions: int) -> list[str]:
    """Return the possible names of a file: gzipped, not gzipped, and with a dot as some tools write it."""
    return [f"{stem}-idx{dimensions}-ubyte{end}" for end in (".gz", "")] + [f"{stem}.idx{dimensions}-ubyte"]


def _images(rows: pa.Table) -> np.ndarray:
    """Return the column `image` as uint8 [n, 28, 28]."""
    return np.frombuffer(b"".join(rows["image"].to_pylist()), np.uint8).reshape(-1, SIDE, SIDE)


WORKLOAD = Mnist
