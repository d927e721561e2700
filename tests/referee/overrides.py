"""onnxruntime's quantizer with the overrides that mpq writes: does it give the types they ask for?"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

RAISED = 1.001
README = Path(__file__).resolve().parents[2] / "README.md"


def loader():
    """`load_overrides` of the README."""
    _, after = README.read_text().split("```python\n", 1)
    names = {}
    exec(after.split("```", 1)[0], names)
    return names["load_overrides"]


class Once(CalibrationDataReader):
    """One batch: the ranges do not matter where scales are given."""

    def __init__(self, feeds: dict):
        self.feeds = iter([feeds])

    def get_next(self):
        return next(self.feeds, None)


def quantize_static_with(path: Path, model: Path, work: Path, feeds: dict) -> list[str]:
    quantized = work / "quantize_static.onnx"
    try:
        quantize_static(
            model,
            quantized,
            Once({name: x[:1] for name, x in feeds.items()}),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": loader()(path)},
        )
    except Exception as error:
        return [f"quantize_static: {type(error).__name__}: {error}"]
    found = types(onnx.load(quantized))
    weights = {tensor.name for tensor in onnx.load(model).graph.initializer}
    problems, compared = [], 0
    for name, entries in json.loads(path.read_text()).items():
        for wanted, key in ((entries[0], name), (entries[0].get("convert"), f"{name}_convert")):
            if wanted is None or key not in found:
                continue
            compared += 1
            kind, scale = found[key]
            expected = wanted["quant_type"].removeprefix("Q").upper()
            if kind != expected:
                problems.append(f"quantize_static: `{key}` is {kind}, expected {expected}")
            scales = entries if key == name else [wanted]
            scales = np.asarray([each["scale"] for each in scales], np.float32)
            ratio = np.atleast_1d(scale).astype(np.float64) / scales
            # onnxruntime raises the scale of a weight where its bias is near the ends of int32.
            if not np.all((ratio == 1) | ((1 < ratio) & (ratio < RAISED) & (key in weights))):
                problems.append(f"quantize_static: scales of `{key}` are off by {ratio.min()} to {ratio.max()}")
    return problems if compared else ["quantize_static: nothing could be compared"]


def types(model: onnx.ModelProto) -> dict[str, tuple[str, np.ndarray]]:
    """Element type and scale of every tensor that has a DequantizeLinear."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            zero_point = initializers[node.input[2]]
            name = node.input[2].removesuffix("_zero_point")
            kind = onnx.TensorProto.DataType.Name(zero_point.data_type)
            found[name] = (kind, numpy_helper.to_array(initializers[node.input[1]]))
    return found
