"""An image workload that trains with torch. The server does not import torch."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from continuous_training.core.errors import UserError
from continuous_training.serving.process import daemon
from pipelines.local_run.local_run import check_extras
from workloads.digits.workload import Digits

ROOT = Path(__file__).parents[2]

HANDLER = '''
"""Answers which half of a picture is darker."""
from pathlib import Path

import numpy as np

from ..handler import Handler, Tensor


class HalvesHandler(Handler):
    inputs = (Tensor("image", "FP32", (-1, 1, 4, 4)),)
    outputs = (Tensor("half", "INT64", (-1,)),)

    def load(self, folder: Path):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(folder / "net.onnx"))

    def preprocess(self, request):
        image = np.array(request["image"], dtype=np.float32)
        if image.shape != (4, 4):
            raise ValueError("an image is 4 rows of 4 numbers")
        return {"image": image[None, None]}

    def inference(self, tensors):
        (scores,) = self.session.run(None, {"image": tensors["image"]})
        return {"half": scores.argmax(axis=1)}

    def postprocess(self, tensors):
        return {"half": int(tensors["half"][0])}
'''

WORKLOAD = '''
"""Left or right: a convolution learned by torch, exported to ONNX."""
import io

import numpy as np
import pyarrow as pa

from workloads.contract import Column, PromotionRule, Rows, Training, Workload

from .handler import HalvesHandler


class Halves(Workload):
    name = "halves"
    summary = "which half of a picture is darker"
    task = "classification"
    key = "id"
    target = "half"
    prediction = "half"
    default_source = "made"
    handler = HalvesHandler
    extras = ("torch",)
    columns = (
        Column("id", "text"),
        Column("image", "vector", minimum=0, maximum=1, length=16),
        Column("half", "integer", values=(0, 1)),
    )
    rule = PromotionRule(metric="accuracy", floor=0.9, minimum_rows=40)

    def load(self, source, values, context):
        rng = np.random.default_rng(7)
        half = rng.integers(0, 2, 400)
        images = rng.uniform(0, 0.4, (400, 4, 4)).astype(np.float32)
        for image, side in zip(images, half):
            image[:, 2 * side : 2 * side + 2] += 0.5
        columns = [
            pa.array([str(i) for i in range(400)]),
            pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), 16),
            pa.array(half),
        ]
        yield Rows(pa.record_batch(columns, schema=self.schema()), "made")

    def train(self, rows, values, output, progress):
        import torch

        torch.manual_seed(int(values["seed"]))
        net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 2)
        )
        images = torch.from_numpy(self.tensors(rows)["image"])
        labels = torch.from_numpy(rows["half"].to_numpy().copy())
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        curve = []
        for epoch in range(1, 31):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            curve.append({"epoch": epoch, "loss": float(loss.detach())})
        buffer = io.BytesIO()
        torch.onnx.export(
            net.eval(), (images[:1],), buffer, input_names=["image"], dynamic_axes={"image": {0: "rows"}},
            dynamo=False,
        )
        (output / "net.onnx").write_bytes(buffer.getvalue())
        return Training(curve)

    def tensors(self, rows):
        flat = rows["image"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return {"image": flat.astype(np.float32).reshape(-1, 1, 4, 4)}

    def request(self, row):
        return {"image": self.tensors(row)["image"][0, 0].tolist()}


WORKLOAD = Halves
'''


@pytest.fixture
def environment(tmp_path):
    folder = tmp_path / "path" / "workloads" / "halves"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    for name, text in {"__init__": "", "handler": HANDLER, "workload": WORKLOAD}.items():
        (folder / f"{name}.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "path")}


def python(*arguments, env):
    process = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch: make install EXTRAS=torch"
)
def test_training_uses_torch_and_serving_does_not(environment, tmp_path):
    state = tmp_path / "state"
    try:
        output = python(
            "pipelines.run", "--workload", "halves", "--state", str(state), "--json", env=environment
        )
        result = json.loads(output)
        assert result["verdict"] == "promoted"
        answer = requests.post(result["endpoint"], json={"image": [[0, 0, 1, 1]] * 4}, timeout=10)
        assert answer.json() == {"half": 1}
        pid = daemon.start(state).pid
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    finally:
        daemon.stop(state)


def test_only_the_train_step_uses_the_image_with_torch(environment, tmp_path):
    python(
        "pipelines.compile",
        "--workload",
        "halves",
        "--tag",
        "abc",
        "--output",
        str(tmp_path),
        env=environment,
    )
    pipeline, _ = yaml.safe_load_all((tmp_path / "halves.yaml").read_text())
    images = {k: v["container"]["image"] for k, v in pipeline["deploymentSpec"]["executors"].items()}
    assert images["exec-train"] == "continuous-training/train-torch:abc"
    assert [name for name, image in images.items() if "torch" in image] == ["exec-train"]


def test_a_missing_extra_is_reported_with_the_command():
    class NeedsMore(Digits):
        extras = ("nosuchlibrary",)

    with pytest.raises(UserError, match="make install EXTRAS=nosuchlibrary"):
        check_extras(NeedsMore(), {})


def test_an_extra_is_required_only_by_parameters_that_need_it():
    class MayNeedMore(Digits):
        extras = ("nosuchlibrary",)

        def needs(self, values):
            return self.extras if values["components"] > 32 else ()

    check_extras(MayNeedMore(), {"components": 32})
    with pytest.raises(UserError, match="make install EXTRAS=nosuchlibrary"):
        check_extras(MayNeedMore(), {"components": 33})
