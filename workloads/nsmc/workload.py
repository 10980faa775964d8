"""The workload nsmc: Korean film reviews, hashed character n-grams and a convolutional network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.core.errors import UserError

from ..contract import (
    Column,
    LoadContext,
    Parameter,
    Progress,
    PromotionRule,
    Rows,
    StoredRows,
    Tensors,
    Training,
    Values,
    Workload,
)
from ..schemas import exactly, list_of
from .fast_model import train_fast
from .handler import LABELS, NsmcHandler
from .review_file import read_reviews

SAMPLE = "nsmc:sample"
ORIGINAL = "nsmc:original"
ADDRESS = "https://raw.githubusercontent.com/e9t/nsmc/cc0670e872d4ac27bfe36c87456783004b39ef6c"
"""The address of the corpus at its last commit."""

FILES = {"train": "ratings_train.txt", "holdout": "ratings_test.txt"}
SHA256 = {
    "ratings_train.txt": "e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
    "ratings_test.txt": "8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
}
LENGTHS = {"to 15 characters": (0, 15), "16 to 40 characters": (16, 40), "over 40 characters": (41, 10**9)}
SHARE = 0.3
"""The weight of the network in the deep model's score. The rest is the score of the fast model."""

_TEXTS = {**list_of({"type": "string"}), "minItems": 1, "description": "the reviews"}
_FAST = {
    "type": "boolean",
    "description": "use the fast model; if missing: the better model of this version",
}
# `text` may be one string, and use_fast is an alias of do_fast.
_ANY = {"anyOf": [_TEXTS, {"type": "string"}]}
_REQUEST = {
    "anyOf": [
        exactly(text=_TEXTS, optional={"do_fast": _FAST}),
        exactly(text=_ANY, optional={"do_fast": _FAST, "use_fast": _FAST}),
    ]
}
_PREDICTION = exactly(
    label={"enum": list(LABELS), "description": "the predicted class", "x-headline": True},
    probability={"type": "number", "minimum": 0, "maximum": 1, "description": "of the label"},
)

Batches = Callable[[], Iterable[pa.RecordBatch]]


class Nsmc(Workload):
    """The Naver sentiment movie corpus (Park, 2015): 200,000 reviews, of which 50,000 are the holdout."""

    name = "nsmc"
    summary = "Korean reviews of films, positive or negative; hashed n-grams and a convolution network"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    default_source = sample_source = SAMPLE
    intended = "Classification of many short Korean film reviews as positive or negative."
    limits = (
        "Not for other languages, longer texts or reviews of other products. The labels are derived from the "
        "stars that the authors gave; neutral reviews are not in the corpus."
    )
    handler = NsmcHandler
    request_schema = _REQUEST
    answer_schema = exactly(predictions=list_of(_PREDICTION), model={"enum": ["fast", "deep"]})
    minimum_rows = 500
    extras = ("torch",)
    columns = (
        Column("id", "text", help="the id of the review"),
        Column("document", "text", help="the text of the review"),
        Column("label", "integer", values=(0, 1), help="0 negative, 1 positive"),
    )
    own_parameters = (
        Parameter(
            "model",
            "fast",
            "fast: n-grams; deep: n-grams and a network; both: deep, and fast on request",
            choices=("fast", "deep", "both"),
            shapes_data=False,
        ),
        Parameter(
            "passes",
            3,
            "passes of the fast model over the rows",
            minimum=1,
            maximum=50,
            shapes_data=False,
        ),
        Parameter(
            "deep_passes",
            3,
            "passes of the deep model over the rows",
            minimum=0,
            maximum=50,
            shapes_data=False,
        ),
        Parameter(
            "checkpoint",
            "",
            "a Hugging Face classifier (a folder, or a name in the hub) instead of the deep model's network; "
            "deep_passes=0 serves it unchanged",
            shapes_data=False,
        ),
    )
    rule = PromotionRule(metric="accuracy", floor=0.6, minimum_rows=100, slice_floor=0.5, slice_rows=100)

    def needs(self, values: Values) -> tuple[str, ...]:
        """Return the extras for training: torch only for the deep model."""
        if values["model"] == "fast":
            return ()
        return (*self.extras, "hf") if values["checkpoint"] else self.extras

    def load(self, source: str, values: Values, context: LoadContext) -> Iterator[Rows]:
        """Yield the reviews of the two files of the corpus. The test file is the holdout."""
        _check_parameters(values)
        location = {SAMPLE: str(Path(__file__).parent / "sample"), ORIGINAL: ADDRESS}.get(source, source)
        for split, name in FILES.items():
            path = context.fetch(location, (name, f"{name}.gz"), SHA256 if location == ADDRESS else None)
            for reviews in read_reviews(path, context.set_aside):
                batch = pa.record_batch(reviews.columns, schema=self.schema())
                splits = pa.array([split]).take(pa.array(np.zeros(batch.num_rows, dtype=np.int64)))
                yield Rows(batch.append_column("split", splits), path.name, numbers=reviews.lines)

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Train as `train_stored` does, on a table."""
        return self._train(lambda: rows.to_batches(max_chunksize=10_000), values, output, progress)

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Train the selected models. The fast model reads the rows in batches."""
        return self._train(lambda: rows.batches(["document", "label"]), values, output, progress)

    def _train(self, batches: Batches, values: Values, output: Path, progress: Progress) -> Training:
        # `python -m components.train --set` can pass other values than prep-data checked.
        _check_parameters(values)
        seed, model = int(values["seed"]), str(values["model"])
        weights, curve = train_fast(batches(), int(values["passes"]), seed, output, progress)
        np.save(output / "weights.npy", weights, allow_pickle=False)
        notes: dict[str, Any] = {}
        if model != "fast":
            notes["fast curve"] = curve
            curve = self._train_deep(pa.Table.from_batches(batches()), values, output, progress)
        models = ["fast", "deep"] if model == "both" else [model]
        configuration = {"answers": models, "share": SHARE}
        (output / "plan.json").write_text(json.dumps(configuration), encoding="utf-8")
        return Training(curve, notes)

    def _train_deep(
        self, rows: pa.Table, values: Values, output: Path, progress: Progress
    ) -> list[dict[str, float]]:
        """Train the network or the checkpoint, write it to `output`, and return its learning curve."""
        checkpoint, passes, seed = (
            str(values["checkpoint"]),
            int(values["deep_passes"]),
            int(values["seed"]),
        )
        texts, labels = rows["document"].to_pylist(), rows["label"].to_numpy()
        if checkpoint:
            from .checkpoint import train_checkpoint

            graph, pieces, curve = train_checkpoint(checkpoint, texts, labels, passes, seed, progress)
            (output / "pieces.json").write_text(json.dumps(pieces, ensure_ascii=False), encoding="utf-8")
        else:
            from .deep_model import train_deep

            graph, curve = train_deep(texts, labels, passes, seed, progress)
        (output / "deep.onnx").write_bytes(graph)
        return curve

    def tensors(self, rows: pa.Table) -> Tensors:
        """Return the documents, for the better model of the version."""
        texts = np.empty(rows.num_rows, dtype=object)
        texts[:] = rows["document"].to_pylist()
        return {"text": texts, "fast": np.zeros(rows.num_rows, dtype=bool)}

    def request(self, row: pa.Table) -> Any:
        """Return a request with the row's review."""
        return {"text": row["document"].to_pylist()}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return slices by the length of the review."""
        lengths = pc.utf8_length(rows["document"]).to_numpy()
        return {name: (lengths >= low) & (lengths <= high) for name, (low, high) in LENGTHS.items()}


def _check_parameters(values: Values) -> None:
    """Raise UserError for parameters that contradict each other."""
    if values["checkpoint"] and values["model"] == "fast":
        raise UserError("parameter checkpoint: it is for the deep model; add model=both or model=deep")
    if not values["checkpoint"] and not values["deep_passes"]:
        raise UserError("parameter deep_passes: 0 is only allowed with a trained checkpoint; set checkpoint")


WORKLOAD = Nsmc
