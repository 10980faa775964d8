"""ONNX graphs that we write ourselves, node by node, because converters take longer to import than to run."""

from __future__ import annotations

import numpy as np


def linear_graph(
    name: str, shape: tuple[int, ...], weights: np.ndarray, bias: np.ndarray, dtype: type = np.float32
) -> bytes:
    """Return the graph of `flatten(x) @ weights + bias`, as bytes that are the same every time.

    `name` and `shape` are those of the input without its row axis; `weights` is [inputs, outputs] and
    `bias` [outputs]. The output is called `output`, [rows, outputs], in `dtype`.
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
