"""Whether prep-data finds the inputs of a run unchanged, and the reasons that it reports otherwise."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyarrow.csv import write_csv

import workloads
from components import input_digest
from components.code_digests import module_digests
from components.former_input_digest import former_input_digest
from components.locked_packages import from_text, locked_packages, to_text
from components.prep_data.__main__ import in_pipeline
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.core import training_version
from pipelines.compile import compile_workload
from pipelines.images import Images
from workloads import discovery
from workloads.splits import SPLIT_PARAMETERS

ROOT = Path(__file__).parents[2]
PACKAGE = {"package/__init__.py", "package/first.py", "package/second.py"}
PACKAGES = "numpy==2.4.6,2.5.5 onnx==1.23.2"


@dataclass
class Output:
    """An output artifact of a KFP step."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Pipeline:
    """Runs prep-data of diabetes as a pipeline does, with a copy of the workloads and a state directory."""

    folder: Path
    packages: str = PACKAGES
    prepared: list[str] = field(default_factory=list)

    @property
    def records(self) -> RunHistory:
        return RunHistory(FolderStore(self.folder / "state" / "store"), "diabetes")

    def prepare(self, *parameters: str) -> Dataset | None:
        """Run prep-data. Return the dataset, or None if the inputs are unchanged."""
        run = f"run-{len(self.prepared) + 1}"
        data = Output(str(self.folder / run))
        self.prepared.append(data.path)
        changed = in_pipeline("diabetes", "\n".join(parameters), run, "", data, self.packages)
        return Dataset.open(Path(data.path)) if changed else None

    def complete(self, dataset: Dataset | None) -> None:
        """Record the inputs of a dataset as processed, as evaluate does."""
        assert dataset is not None
        self.record_processed(dataset.manifest.input_digest)

    def record_processed(self, digest: str) -> None:
        self.records.record_processed(digest, ProcessedInputs(RunRecord(run="run-x", verdict="rejected")))

    def reasons(self, *parameters: str) -> tuple[str, ...]:
        """Run prep-data, expect new inputs, and return the reasons."""
        dataset = self.prepare(*parameters)
        assert dataset is not None
        return dataset.manifest.reasons

    def edit(self, path: str) -> None:
        """Append a comment to a file of the copy."""
        with (self.folder / path).open("a", encoding="utf-8") as file:
            file.write("# changed\n")


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    shutil.copytree(ROOT / "workloads", tmp_path / "workloads", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(workloads, "__path__", [str(tmp_path / "workloads")])
    monkeypatch.setenv("CT_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("CT_STORE", raising=False)
    return Pipeline(tmp_path)


@pytest.fixture
def processed(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose inputs were processed, and found unchanged once."""
    pipeline.complete(pipeline.prepare())
    assert pipeline.prepare() is None
    return pipeline


@pytest.mark.parametrize(
    "path",
    ["workloads/csv_reader.py", "workloads/onnx_graph.py", "workloads/contract.py", "workloads/__init__.py"],
)
def test_a_change_of_an_imported_module_is_new(processed: Pipeline, path: str) -> None:
    processed.edit(path)
    assert processed.reasons() == (f"code: {path}",)


@pytest.mark.parametrize(
    "path", ["workloads/iris/workload.py", "workloads/distributed.py", "workloads/discovery.py"]
)
def test_a_change_of_a_module_that_the_workload_does_not_import_is_unchanged(
    processed: Pipeline, path: str
) -> None:
    processed.edit(path)
    assert processed.prepare() is None


def test_the_inputs_contain_no_module_of_the_library(processed: Pipeline) -> None:
    inputs = Dataset.open(Path(processed.prepared[0])).manifest.inputs
    assert inputs is not None
    assert {path.partition("/")[0] for path in inputs.modules} == {"workloads"}
    assert inputs.packages == {"numpy": "2.4.6,2.5.5", "onnx": "1.23.2"}


def test_a_new_training_version_is_new(processed: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_digest, "TRAINING_VERSION", training_version.TRAINING_VERSION + 1)
    assert processed.reasons() == ("library: training version 1 → 2",)


def test_another_locked_version_is_new(processed: Pipeline) -> None:
    processed.packages = "numpy==2.4.6,2.5.5 onnx==1.24.0 scipy==1.18.1"
    assert processed.reasons() == ("packages: onnx 1.23.2 → 1.24.0, scipy none → 1.18.1",)


def test_other_rows_parameters_and_rules_are_new(processed: Pipeline) -> None:
    rows = Dataset.open(Path(processed.prepared[0])).read("train").drop_columns(["id"])
    write_csv(rows, processed.folder / "rows.csv")
    assert processed.reasons(f"source={processed.folder / 'rows.csv'}", "features=bmi", "gate_floor=0.1") == (
        "data: the rows changed",
        "parameters: features all → bmi",
        "promotion rule: floor 0.2 → 0.1",
    )


def test_force_and_an_unfinished_run_are_reasons(processed: Pipeline) -> None:
    assert processed.reasons("force=true") == ("force=true",)
    processed.edit("workloads/csv_reader.py")
    assert processed.reasons() == ("code: workloads/csv_reader.py",)
    assert processed.reasons() == ("no run with the inputs of run run-4 has completed",)


def test_an_accepted_difference_is_evaluated_again_only_if_the_inputs_were_rejected(
    processed: Pipeline,
) -> None:
    assert processed.reasons("accept=another scanner") == ("accept=another scanner",)
    digest = Dataset.open(Path(processed.prepared[0])).manifest.input_digest
    processed.records.record_processed(digest, ProcessedInputs(RunRecord(run="run-x", verdict="promoted")))
    assert processed.prepare("accept=another scanner") is None


def test_zero_is_a_value_of_a_parameter_and_no_split_is_none(processed: Pipeline) -> None:
    inputs = Dataset.open(Path(processed.prepared[0])).manifest.inputs
    assert inputs is not None
    assert inputs.parameters["seed"] == 0
    assert not set(SPLIT_PARAMETERS) & set(inputs.parameters)
    assert "parameters: split_group none → id" in processed.reasons("split_group=id")


def test_the_first_run_has_no_reasons(pipeline: Pipeline) -> None:
    assert pipeline.reasons() == ()


class TestFormerVersion:
    """Records of a version whose input digest covered only the code in the workload's folder."""

    @pytest.fixture
    def upgraded(self, pipeline: Pipeline) -> Pipeline:
        """A state in which a former version processed the default inputs and those with `features=bmi`."""
        for parameters in ([], ["features=bmi"]):
            dataset = pipeline.prepare(*parameters)
            assert dataset is not None
            assert dataset.manifest.inputs is not None
            workload = discovery.get("diabetes")
            digest = former_input_digest(workload, dataset.manifest.parameters, dataset.manifest.inputs)
            pipeline.record_processed(str(digest))
        latest = pipeline.records.data()
        assert latest is not None
        pipeline.records.write_data(replace(latest, inputs=None, baseline=None))
        return pipeline

    def test_unchanged_inputs_stay_unchanged(self, upgraded: Pipeline) -> None:
        assert upgraded.prepare() is None
        assert upgraded.prepare("features=bmi") is None
        assert upgraded.prepare() is None

    @pytest.mark.parametrize("parameters", [(), ("features=bmi",)])
    def test_a_change_after_the_upgrade_is_new(self, upgraded: Pipeline, parameters: tuple[str, ...]) -> None:
        assert upgraded.prepare() is None
        upgraded.edit("workloads/csv_reader.py")
        assert "code: workloads/csv_reader.py" in upgraded.reasons(*parameters)

    def test_a_change_of_packages_after_the_upgrade_is_new(self, upgraded: Pipeline) -> None:
        assert upgraded.prepare() is None
        upgraded.packages = "numpy==3.0.0"
        assert upgraded.reasons("features=bmi")[1:] == (
            "packages: numpy 2.4.6,2.5.5 → 3.0.0, onnx 1.23.2 → none",
        )

    def test_other_inputs_are_new_and_the_reason_is_reported(self, upgraded: Pipeline) -> None:
        (reason,) = upgraded.reasons("features=bp")
        assert "run-2 was made by a former version" in reason

    def test_a_new_training_version_is_new(self, upgraded: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(input_digest, "TRAINING_VERSION", training_version.TRAINING_VERSION + 1)
        assert upgraded.prepare() is not None


def test_a_pipeline_that_a_former_version_compiled_passes_no_packages(pipeline: Pipeline) -> None:
    pipeline.packages = ""
    pipeline.complete(pipeline.prepare())
    assert pipeline.prepare() is None


class TestModules:
    """The modules that a workload imports."""

    @pytest.mark.parametrize(
        ("statement", "imported"),
        [
            ("from workloads import shared", {"shared.py"}),
            ("import workloads.shared as other", {"shared.py"}),
            ("from .. import shared", {"shared.py"}),
            ("from ..shared import name", {"shared.py"}),
            ("from ..shared import *", {"shared.py"}),
            ("def train():\n    from ..shared import name", {"shared.py"}),
            ("if TYPE_CHECKING:\n    import workloads.shared", {"shared.py"}),
            ("import importlib\nimportlib.import_module('workloads.shared')", {"shared.py"}),
            ("from importlib import import_module\nimport_module('..shared', __package__)", {"shared.py"}),
            ("from ..indirect import name", {"indirect.py", "shared.py"}),
            ("import workloads.package", {"package/__init__.py", "package/first.py"}),
            (
                "from ..package import second",
                PACKAGE,
            ),
            ("from ..package import *", PACKAGE),
            ("from ..namespace.third import name", {"namespace/third.py"}),
            ("from workloads.tables import CSV", {"csv_reader.py"}),
            ("import shared, numpy.linalg, workloads.missing", set()),
            ("from .... import shared", set()),
            ("this is not Python", set()),
        ],
    )
    def test_each_form_of_import(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, imported: set[str]
    ) -> None:
        files = {
            "mine/__init__.py": "", "mine/workload.py": "", "mine/more.py": statement, "shared.py": "",
            "indirect.py": "from workloads.shared import name", "package/__init__.py": "from .first import a",
            "package/first.py": "", "package/second.py": "", "namespace/third.py": "", "csv_reader.py": "",
        }  # fmt: skip
        for name, content in files.items():
            (tmp_path / "workloads" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "workloads" / name).write_text(content)
        monkeypatch.setattr(workloads, "__path__", [str(tmp_path / "workloads")])
        module = ModuleType("workloads.mine.workload")
        module.__file__ = str(tmp_path / "workloads/mine/workload.py")
        module.__package__ = "workloads.mine"
        monkeypatch.setitem(sys.modules, module.__name__, module)
        workload = type("Mine", (), {"__module__": module.__name__})()
        own = {"mine/__init__.py", "mine/workload.py", "mine/more.py"}
        expected = {f"workloads/{name}" for name in own | imported}
        assert set(module_digests(workload)) == expected


def test_the_compiled_pipeline_contains_the_locked_versions(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "constraints.txt").write_text("numpy==2\n    # via x\nmlflow==3\ntorch==2.13.0 ; a < 'b'\n")
    lock = "numpy==1 ; python < '3.12' \\\n    --hash=sha256:0\nnumpy==2 \\\n"
    (tmp_path / "locks/train.txt").write_text(lock)
    workload = discovery.get("mnist")
    assert locked_packages(workload, tmp_path) == {}
    (tmp_path / "locks/torch.txt").write_text("torch==2.13.0 ; a < 'b' \\\n")
    packages = locked_packages(workload, tmp_path)
    assert packages == {"numpy": "1,2", "torch": "2.13.0"}
    assert from_text(to_text(packages)) == packages
    text = compile_workload("mnist", Images()).text
    assert "torch==" in text
    assert "torch==" not in compile_workload("digits", Images()).text
    assert from_text(to_text(locked_packages(workload))) == locked_packages(workload)
