"""iris through the pipeline: its accuracy, and agreement with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.processes import run_measured
from workloads.iris.workload import Iris

from .pipeline import predict, run
from .table import Line, Table, interval

pytestmark = pytest.mark.full


def test_the_served_graph_and_scikit_learn_predict_the_same(state: Path, table: Table) -> None:
    pipeline_run, reference = run("iris", state), run_measured("benchmarks.reference_implementations", "iris")
    accuracy, iris = pipeline_run.result["metrics"]["accuracy"], Iris()
    train, holdout = (pipeline_run.dataset.read(split) for split in ("train", "holdout"))
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), cv=5, ensemble=False))
    model.fit(iris.tensors(train)["measurements"], train["species"].to_numpy())
    flowers = [iris.request(holdout.slice(i, 1))["flower"] for i in range(holdout.num_rows)]
    answers = predict(pipeline_run, {"flowers": flowers})["predictions"]
    served_probabilities = np.array(
        [[prediction["probabilities"][name] for name in model.classes_] for prediction in answers]
    )
    expected_probabilities = model.predict_proba(iris.tensors(holdout)["measurements"])
    difference = float(np.abs(served_probabilities - expected_probabilities).max())
    table.add(
        Line(
            f"accuracy on {holdout.num_rows} flowers",
            interval(accuracy, 3),
            "≥ 0.950",
            pipeline_run.process,
            "SVC, 20 random splits",
            f"{reference.output['accuracy']:.3f}",
            reference,
        ),
        Line("difference from scikit-learn's probabilities", f"{difference:.0e}", "≤ 1e-9"),
    )
    assert accuracy["value"] >= 0.95
    assert [prediction["species"] for prediction in answers] == model.classes_[
        expected_probabilities.argmax(axis=1)
    ].tolist()
    assert difference <= 1e-9
