"""prep-data rejects a run whose model needs more than the pipeline's image contains."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.prep_data.__main__ import in_pipeline
from components.train_image import check_train_image, image_extras
from continuous_training.core.errors import UserError
from workloads import discovery


def prepare(tmp_path: Path, parameters: str, image: str) -> bool:
    data = SimpleNamespace(path=str(tmp_path / "data"), metadata={})
    return in_pipeline("nsmc", parameters, "run-1", "", data, "", image)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CT_STORE", str(tmp_path / "store"))


@pytest.mark.parametrize("model", ["deep", "both"])
def test_a_model_that_the_image_cannot_train_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare(tmp_path, f"model={model}\nsource=sample", "train")
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step failed: ")]
    message = json.loads(line.removeprefix("step failed: "))["error"]
    assert "needs torch" in message
    assert "Use the pipeline with the image train-torch" in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("model", "image"),
    [("fast", "train"), ("fast", "train-torch"), ("deep", "train-torch"), ("deep", "")],
)
def test_a_sufficient_or_unknown_image_is_accepted(model: str, image: str) -> None:
    nsmc = discovery.get("nsmc")
    check_train_image(nsmc, nsmc.parse({"model": model}), image)


def test_an_extra_outside_the_workloads_extras_is_not_checked() -> None:
    nsmc = discovery.get("nsmc")
    values = nsmc.parse({"model": "deep", "checkpoint": "a-model"})
    assert nsmc.needs(values) == ("torch", "hf")
    check_train_image(nsmc, values, "train-torch")
    with pytest.raises(UserError, match="needs torch"):
        check_train_image(nsmc, values, "train")


def test_extras_of_fixed_parameters() -> None:
    nsmc, mnist = discovery.get("nsmc"), discovery.get("mnist")
    assert image_extras(nsmc, {}) == ("torch",)
    assert image_extras(nsmc, {"model": "fast"}) == ()
    assert image_extras(nsmc, {"model": "both"}) == ("torch",)
    assert image_extras(nsmc, {"passes": "5"}) == ("torch",)
    assert image_extras(mnist, {"seed": "1"}) == ("torch",)
