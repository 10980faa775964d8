"""The tensor datatypes of the Open Inference Protocol v2 and their NumPy dtypes.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

NUMPY_DTYPES: dict[str, str] = {
    "BOOL": "bool",
    **{
        f"{protocol_name}{bits}": f"{numpy_name}{bits}"
        for protocol_name, numpy_name in (("INT", "int"), ("UINT", "uint"))
        for bits in (8, 16, 32, 64)
    },
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
"""The NumPy dtype of each datatype. BYTES tensors are object arrays of `str`."""
