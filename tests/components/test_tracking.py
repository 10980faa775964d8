"""The data of a dataset that is logged to MLflow."""

from __future__ import annotations

import json

from components.evaluate.tracking import dataset_profile
from tests.continuous_training.report.sample_data import classification


def test_statistics_beyond_the_limit_of_mlflow_are_omitted() -> None:
    manifest = classification().dataset
    complete = dataset_profile(manifest)
    assert json.loads(complete)["train"] == manifest.train.to_json()
    assert dataset_profile(manifest, len(complete)) == complete
    short = json.loads(dataset_profile(manifest, len(complete) - 1))
    assert short["train"] == {**manifest.train.to_json(), "statistics": {}}
