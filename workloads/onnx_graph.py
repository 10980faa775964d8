"""ONNX graphs built node by node, because importing a converter takes longer than the conversion."""

from __future__ import annotations

import numpy as np


def linear_graph(
    name: str, shape: tuple[int, ...], weights: np.ndarray, bias: np.ndarray, dtype: type = np.float32
) -> bytes:
    """Return the graph of `flatten(x) @ weights + bias` as reproducible bytes.

    `name` and `shape` describe the input, without the row axis. `weights` is [inputs, outputs], `bias`
    [outputs]. The output `output` is [rows, outputs] of type `dtype`.
    """
    from onnx import checker, helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", [name], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["output"]),
        ],
        "linear",
        [helper.make_tensor_value_info(name, kind, ["rows", *shape])],
        [helper.make_tensor_value_info("output", kind, ["rows", weights.shape[1]])],
        [
            numpy_helper.from_array(weights.astype(dtype), "weights"),
            numpy_helper.from_array(bias.astype(dtype), "bias"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="continuous-training"
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())
