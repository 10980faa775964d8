"""iris, all of it, through the pipeline: as good as was asked, and as scikit-learn answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.processes import measured
from workloads.iris.workload import Iris

from .pipeline import ask, run
from .table import Line, Table, interval

pytestmark = pytest.mark.full


def test_the_served_graph_answers_as_scikit_learn_does(state: Path, table: Table) -> None:
    done, plain = run("iris", state), measured("benchmarks.reference_implementations", "iris")
    accuracy, iris = done.result["metrics"]["accuracy"], Iris()
    train, holdout = (done.dataset.read(split) for split in ("train", "holdout"))
    model = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), cv=5, ensemble=False))
    model.fit(iris.tensors(train)["measurements"], train["species"].to_numpy())
    flowers = [iris.request(holdout.slice(i, 1))["flower"] for i in range(holdout.num_rows)]
    answers = ask(done, {"flowers": flowers})["predictions"]
    ours = np.array([[one["probabilities"][name] for name in model.classes_] for one in answers])
    theirs = model.predict_proba(iris.tensors(holdout)["measurements"])
    apart = float(np.abs(ours - theirs).max())
    table.add(
        Line(
            f"accuracy on {holdout.num_rows} flowers",
            interval(accuracy, 3),
            "≥ 0.950",
            done.taken,
            "SVC, 20 random splits",
            f"{plain.told['accuracy']:.3f}",
            plain,
        ),
        Line("probabilities beside scikit-learn's", f"{apart:.0e} apart", "≤ 1e-9"),
    )
    assert accuracy["value"] >= 0.95
    assert [one["species"] for one in answers] == model.classes_[theirs.argmax(axis=1)].tolist()
    assert apart <= 1e-9
