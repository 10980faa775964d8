"""An archive of a workload that is trained with its default parameters."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from components.prep_data.step import run as prepare
from components.train.step import run as train
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.golden_requests import GoldenRequest, GoldenSet
from continuous_training.serving.models.model import load_model
from workloads import discovery

from .contenders import REFERENCE_MODEL

ROOT = Path(__file__).parents[2]
GOLDEN = 64

_DATA = ROOT.parent / "shared" / "data"
_SOURCES = {
    "mnist": (_DATA / "mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"),
    "nsmc": (_DATA / "nsmc", "nsmc:original"),
}
"""The complete data sets: a directory next to the checkout, or the address to download them from."""


def train_archive(name: str, cache: Path) -> Path:
    """Prepare, train and archive a workload below `cache`. Reuse the archive if the code is unchanged.

    For nsmc, the reference implementation is trained on the same rows and written to `reference.joblib`.
    """
    folder = cache / f"{name}-{_code(name)}"
    if (folder / "complete").is_file():
        return next((folder / "store").glob("*.mar"))
    shutil.rmtree(folder, ignore_errors=True)
    workload, values = discovery.get(name), {}
    if name in _SOURCES:
        local, address = _SOURCES[name]
        values["source"] = str(local) if local.is_dir() else address
    prepare(workload, values, folder / "data", cache=cache / "files")
    train(workload, {}, folder / "data", folder / "model")
    model, holdout = load_model(folder / "model"), Dataset.open(folder / "data").read("holdout")
    requests = [workload.request(holdout.slice(row, 1)) for row in range(min(GOLDEN, holdout.num_rows))]
    golden = GoldenSet(tuple(GoldenRequest(request, model.predict(request)) for request in requests))
    written = archive_writer.write(folder / "model", folder / "store", golden=golden, provenance={}).path
    if name == "nsmc":
        _train_reference(folder / "data", written.with_name(REFERENCE_MODEL))
    (folder / "complete").touch()
    return written


def _code(name: str) -> str:
    """Return a digest of the code that creates the archive."""
    total = hashlib.sha256()
    modules = [*(ROOT / "workloads" / name).rglob("*.py"), *(ROOT / "workloads").glob("*.py")]
    for path in [*sorted(modules), Path(__file__)]:
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _train_reference(data: Path, path: Path) -> None:
    """Train the reference implementation: naive Bayes on the counts of the 100,000 most frequent words."""
    import joblib
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    rows = Dataset.open(data).read("train")
    vectoriser = CountVectorizer(max_features=100_000)
    counts = vectoriser.fit_transform(rows["document"].to_pylist())
    joblib.dump((vectoriser, MultinomialNB().fit(counts, rows["label"].to_numpy())), path)
