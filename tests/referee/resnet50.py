"""A ResNet-50 with random weights: ten times the work of the small networks, in one file."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Blocks, their inner width, and the stride of the first.
STAGES = [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]


class Drawing:
    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, operator: str, inputs: list[str], **attributes: object) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def conv(self, x: str, shape: tuple[int, int], size: int, stride=1, gain=1.0) -> str:
        """`shape` is channels out and in. The gain is that of the power, after a Relu."""
        fan_in = shape[1] * size * size
        weights = self.random.standard_normal((*shape, size, size)) * np.sqrt(2 * gain / fan_in)
        name = f"conv_{len(self.nodes)}"
        inputs = [x, self.constant(f"{name}.weight", weights)]
        inputs.append(self.constant(f"{name}.bias", self.random.standard_normal(shape[0]) * 0.01))
        pads = [size // 2] * 4
        return self.node("Conv", inputs, kernel_shape=[size] * 2, strides=[stride] * 2, pads=pads)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def block(self, x: str, channels: int, width: int, stride: int) -> str:
        """Sums keep the power of what they are sums of: a tenth of it is new."""
        y = self.relu(self.conv(x, (width, channels), 1))
        y = self.relu(self.conv(y, (width, width), 3, stride))
        y = self.conv(y, (4 * width, width), 1, gain=0.1)
        if channels != 4 * width:
            x = self.conv(x, (4 * width, channels), 1, stride, gain=0.5)
        return self.relu(self.node("Add", [x, y]))


def write(path: Path, seed: int = 0) -> Path:
    drawing = Drawing(seed)
    x = drawing.relu(drawing.conv("input", (64, 3), 7, 2))
    x = drawing.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for blocks, width, stride in STAGES:
        for number in range(blocks):
            x = drawing.block(x, channels, width, stride if number == 0 else 1)
            channels = 4 * width
    x = drawing.node("Flatten", [drawing.node("GlobalAveragePool", [x])])
    weights = drawing.random.standard_normal((channels, 1000)) / np.sqrt(channels)
    x = drawing.node("Gemm", [x, drawing.constant("head.weight", weights)])
    graph = helper.make_graph(
        drawing.nodes,
        "resnet50",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", 1000])],
        drawing.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
