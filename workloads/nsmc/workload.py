"""Korean reviews of films, positive or negative: hashed character n-grams, and a convolution network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from continuous_training.adapters.data_sources import fetch
from continuous_training.core.errors import UserError

from ..contract import (
    Column,
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
from .reading import read_reviews

SAMPLE = "nsmc:sample"
ORIGINAL = "nsmc:original"
ADDRESS = "https://raw.githubusercontent.com/e9t/nsmc/cc0670e872d4ac27bfe36c87456783004b39ef6c"
"""Where the corpus is, at its last commit."""

FILES = {"train": "ratings_train.txt", "holdout": "ratings_test.txt"}
SHA256 = {
    "ratings_train.txt": "e03b7d14e9e41be8d464a28057cd25d7396c53e67aa7fd5f7e552c59b0ee2940",
    "ratings_test.txt": "8ac9f64052f11dbf6ae0acb5e038f03d90a76f0eda7820cfb3a92d02edfcebda",
}
LENGTHS = {"to 15 characters": (0, 15), "16 to 40 characters": (16, 40), "over 40 characters": (41, 10**9)}
SHARE = 0.3
"""The network's part in the deep model's score; the rest is the fast model's, less sure of itself."""

_TEXTS = {**list_of({"type": "string"}), "minItems": 1, "description": "the reviews"}
_FAST = {
    "type": "boolean",
    "description": "the fast model answers; left out: the better one that this version has",
}
# One text may stand without a list, and use_fast is another word for do_fast.
_ANY = {"anyOf": [_TEXTS, {"type": "string"}]}
_REQUEST = {
    "anyOf": [
        exactly(text=_TEXTS, optional={"do_fast": _FAST}),
        exactly(text=_ANY, optional={"do_fast": _FAST, "use_fast": _FAST}),
    ]
}
_PREDICTION = exactly(
    label={"enum": list(LABELS), "description": "what the review is", "x-headline": True},
    probability={"type": "number", "minimum": 0, "maximum": 1, "description": "of the label"},
)

Batches = Callable[[], Iterable[pa.RecordBatch]]


class Nsmc(Workload):
    """The Naver sentiment movie corpus (Park, 2015): 200,000 reviews, 50,000 of them its holdout."""

    name = "nsmc"
    summary = "Korean reviews of films, positive or negative; hashed n-grams and a convolution network"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    default_source = sample_source = SAMPLE
    intended = "Sorting short Korean reviews of films into positive and negative ones, many at a time."
    limits = (
        "Not for other languages, longer texts or reviews of other things. Its labels are the stars that the "
        "authors gave; reviews between good and bad are not in the corpus."
    )
    handler = NsmcHandler
    request_schema = _REQUEST
    answer_schema = exactly(predictions=list_of(_PREDICTION), model={"enum": ["fast", "deep"]})
    minimum_rows = 500
    extras = ("torch",)
    columns = (
        Column("id", "text", help="the review's own"),
        Column("document", "text", help="what was written"),
        Column("label", "integer", values=(0, 1), help="0 negative, 1 positive"),
    )
    own_parameters = (
        Parameter(
            "model",
            "fast",
            "fast: n-grams; deep: a network with them; both: deep, and fast for who asks for it",
            choices=("fast", "deep", "both"),
            shapes_data=False,
        ),
        Parameter("passes", 3, "of the fast model over the rows", minimum=1, maximum=50, shapes_data=False),
        Parameter(
            "deep_passes", 3, "of the deep model over the rows", minimum=0, maximum=50, shapes_data=False
        ),
        Parameter(
            "checkpoint",
            "",
            "a Hugging Face classifier (a folder, or a hub's name) in the place of the deep model's network; "
            "deep_passes=0 serves it as it is",
            shapes_data=False,
        ),
    )
    rule = PromotionRule(metric="accuracy", floor=0.6, minimum_rows=100, slice_floor=0.5, slice_rows=100)

    def needs(self, values: Values) -> tuple[str, ...]:
        """Training needs torch for the deep model only."""
        if values["model"] == "fast":
            return ()
        return (*self.extras, "hf") if values["checkpoint"] else self.extras

    def load(self, source: str, values: Values) -> Iterator[Rows]:
        """Yield the reviews of the corpus's two files; its test file is the holdout."""
        _check(values)
        place = {SAMPLE: str(Path(__file__).parent / "sample"), ORIGINAL: ADDRESS}.get(source, source)
        for split, name in FILES.items():
            path = fetch(place, (name, f"{name}.gz"), SHA256 if place == ADDRESS else None)
            for reviews in read_reviews(path):
                batch = pa.record_batch(reviews.columns, schema=self.schema())
                sides = pa.array([split]).take(pa.array(np.zeros(batch.num_rows, dtype=np.int64)))
                yield Rows(batch.append_column("split", sides), path.name, reviews.line)

    def train(self, rows: pa.Table, values: Values, output: Path, progress: Progress) -> Training:
        """Do as `train_stored` does, from a table."""
        return self._train(lambda: rows.to_batches(max_chunksize=10_000), values, output, progress)

    def train_stored(self, rows: StoredRows, values: Values, output: Path, progress: Progress) -> Training:
        """Train the models asked for; the fast one holds no more than some rows at a time."""
        return self._train(lambda: rows.batches(["document", "label"]), values, output, progress)

    def _train(self, batches: Batches, values: Values, output: Path, progress: Progress) -> Training:
        # A training by hand may have other values than the rows were loaded with.
        _check(values)
        seed, model = int(values["seed"]), str(values["model"])
        weights, curve = train_fast(batches(), int(values["passes"]), seed, output, progress)
        np.save(output / "weights.npy", weights, allow_pickle=False)
        notes: dict[str, Any] = {}
        if model != "fast":
            notes["fast curve"] = curve
            curve = self._train_deep(pa.Table.from_batches(batches()), values, output, progress)
        answers = ["fast", "deep"] if model == "both" else [model]
        plan = {"answers": answers, "share": SHARE}
        (output / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        return Training(curve, notes)

    def _train_deep(
        self, rows: pa.Table, values: Values, output: Path, progress: Progress
    ) -> list[dict[str, float]]:
        """Write the network or the checkpoint that the parameters name, trained; return its curve."""
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
        """Hand the documents over as they are; the version's better model answers."""
        texts = np.empty(rows.num_rows, dtype=object)
        texts[:] = rows["document"].to_pylist()
        return {"text": texts, "fast": np.zeros(rows.num_rows, dtype=bool)}

    def request(self, row: pa.Table) -> Any:
        """Ask about one review."""
        return {"text": row["document"].to_pylist()}

    def slices(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Judge short reviews and long ones on their own."""
        lengths = pc.utf8_length(rows["document"]).to_numpy()
        return {name: (lengths >= low) & (lengths <= high) for name, (low, high) in LENGTHS.items()}


def _check(values: Values) -> None:
    """Refuse parameters that contradict each other, before anything is read."""
    if values["checkpoint"] and values["model"] == "fast":
        raise UserError("parameter checkpoint: is for the deep model; add model=both or model=deep")
    if not values["checkpoint"] and not values["deep_passes"]:
        raise UserError(
            "parameter deep_passes: 0 is for a checkpoint that has learned; a new network has not"
        )


WORKLOAD = Nsmc
