"""mpq's quantizer against onnxruntime's QuantizeLinear and DequantizeLinear, bit for bit.

Both get the same values and the same encodings at 4, 8 and 16 bits, signed and unsigned, per tensor
and per channel. mpq is asked through its commands: `y = MatMul(x, w)` with a configuration that
rounds `x` alone while `w` is the identity, or `w` alone while `x` is. A product with the identity is
exact, so `y` is what the quantizer gave. NaN and infinities are left out: the operators leave open
what they become.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import mpq

CHANNELS = 64
OPSET = 21
ZERO_POINT_TYPES = {
    (4, False): TensorProto.UINT4,
    (4, True): TensorProto.INT4,
    (8, False): TensorProto.UINT8,
    (8, True): TensorProto.INT8,
    (16, False): TensorProto.UINT16,
    (16, True): TensorProto.INT16,
}


@dataclass(frozen=True)
class Encoding:
    bits: int
    signed: bool
    # One of each, or one a column.
    scale: np.ndarray
    zero_point: np.ndarray

    @property
    def limits(self) -> tuple[int, int]:
        levels = 1 << self.bits
        return (-levels // 2, levels // 2 - 1) if self.signed else (0, levels - 1)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = (
            (end - self.zero_point).astype(np.float32) * self.scale for end in self.limits
        )
        return low, high

    def __str__(self) -> str:
        kind = "int" if self.signed else "uint"
        scales = f"{len(self.scale)} scales" if len(self.scale) > 1 else f"scale {self.scale[0]!s}"
        return f"{kind}{self.bits}, {scales}, zero point {self.zero_point[0]}"


def values(scales: np.ndarray, seed: int) -> np.ndarray:
    """`[N, CHANNELS]`: ties, their neighbors, far outside, denormals, any bits at all."""
    random = np.random.default_rng(seed)
    columns = np.broadcast_to(scales, CHANNELS).astype(np.float32)
    halves = random.integers(-140_000, 140_000, (512, CHANNELS)).astype(np.float32) / 2
    small = random.integers(-600, 600, (512, CHANNELS)).astype(np.float32) / 2
    with np.errstate(over="ignore", under="ignore"):
        ties = np.concatenate([halves, small]) * columns
        beside = [np.nextafter(ties, np.float32(end)) for end in (-np.inf, np.inf)]
        spread = random.normal(0, 90, (512, CHANNELS)).astype(np.float32) * columns
    bits = random.integers(0, 1 << 32, (512, CHANNELS), dtype=np.uint32)
    anything = bits.view(np.float32)
    denormal = (bits & 0x807F_FFFF).view(np.float32)
    limits = np.finfo(np.float32)
    edges = [0.0, -0.0, limits.max, limits.min, limits.tiny, -limits.tiny]
    edges = np.tile(np.array(edges, np.float32)[:, None], CHANNELS)
    x = np.concatenate([ties, *beside, spread, anything, denormal[:64], edges])
    return np.where(np.isfinite(x), x, np.float32(1))


def by_onnxruntime(x: np.ndarray, encoding: Encoding) -> np.ndarray:
    kind = ZERO_POINT_TYPES[encoding.bits, encoding.signed]
    per_channel = len(encoding.scale) > 1
    shape = [len(encoding.scale)] if per_channel else []
    initializers = [
        helper.make_tensor("scale", TensorProto.FLOAT, shape, encoding.scale.tolist()),
        helper.make_tensor("zero_point", kind, shape, encoding.zero_point.tolist()),
    ]
    operands = ["scale", "zero_point"]
    axis = {"axis": 1} if per_channel else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *operands], ["q"], **axis),
        helper.make_node("DequantizeLinear", ["q", *operands], ["y"], **axis),
    ]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", CHANNELS]) for end in "xy"]
    graph = helper.make_graph(nodes, "pair", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["y"], {"x": x})[0]


def product(weight: np.ndarray, path: Path) -> None:
    """Writes the model `y = MatMul(x, w)`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weight.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weight.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    graph = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.save(model, path)


class Subject:
    """mpq with a configuration whose model and encodings can be exchanged."""

    def __init__(self, binary: Path, folder: Path):
        self.binary, self.folder = binary, folder
        self.model = folder / "model.onnx"
        product(np.eye(CHANNELS, dtype=np.float32), self.model)
        calib = folder / "calib.npy"
        np.save(calib, np.linspace(-1, 1, 4 * CHANNELS, dtype=np.float32).reshape(4, -1))
        config = mpq.run(binary, "search", self.model, "--calib", calib, "--budget", "1")
        self.config = json.loads(config)

    def run(self, weight: np.ndarray, x: np.ndarray, encodings: dict) -> np.ndarray:
        """`x` times `weight`; `encodings` says which of the two is rounded."""
        product(weight, self.model)
        sha256 = hashlib.sha256(self.model.read_bytes()).hexdigest()
        model = self.config["model"] | {"sha256": sha256}
        encodings = {"activations": {}, "weights": {}} | encodings
        source, config = self.folder / "x.npy", self.folder / "config.json"
        np.save(source, x)
        config.write_text(json.dumps(self.config | {"model": model, "encodings": encodings}))
        result = self.folder / "y.npz"
        mpq.run(
            self.binary, "run", self.model, "--input", source, "--config", config, "-o", result
        )
        with np.load(result) as arrays:
            return arrays["y"]


def shortest(number: np.float32) -> float:
    """The double whose text is that of the float."""
    return float(str(number))


def activation_entry(encoding: Encoding) -> dict:
    (low,), (high,) = encoding.grid()
    return {
        "bits": encoding.bits,
        "signed": encoding.signed,
        "symmetric": encoding.signed and not encoding.zero_point.any(),
        "min": shortest(low),
        "max": shortest(high),
        "scale": shortest(encoding.scale[0]),
        "zero_point": int(encoding.zero_point[0]),
    }


def weight_entry(encoding: Encoding) -> dict:
    low, high = encoding.grid()
    return {
        "bits": encoding.bits,
        "signed": encoding.signed,
        "symmetric": encoding.signed and not encoding.zero_point.any(),
        "narrow": False,
        "axis": 1 if len(encoding.scale) > 1 else None,
        "min": list(map(shortest, low)),
        "max": list(map(shortest, high)),
        "scale": list(map(shortest, encoding.scale)),
        "zero_point": encoding.zero_point.tolist(),
    }


def encodings_of_tensors() -> list[Encoding]:
    scales = [1.0, 0.1, 1 / 3, 0.018659, 7e-4, 2.0**-20, 3e9]
    encodings = []
    for bits, signed in ZERO_POINT_TYPES:
        levels = 1 << bits
        low = -levels // 2 if signed else 0
        zero_points = [0] if signed else [low]
        zero_points += [low + levels // 3, low + levels - 1]
        for index, scale in enumerate(scales):
            zero_point = np.array([zero_points[index % len(zero_points)]])
            encodings.append(Encoding(bits, signed, np.array([scale], np.float32), zero_point))
    return encodings


def encodings_of_channels() -> list[Encoding]:
    random = np.random.default_rng(7)
    encodings = []
    for bits, signed in ZERO_POINT_TYPES:
        scale = np.exp(random.uniform(-12, 6, CHANNELS)).astype(np.float32)
        low = -(1 << bits) // 2 if signed else 0
        zero_point = low + random.integers(0, 1 << bits, CHANNELS)
        encodings.append(Encoding(bits, signed, scale, zero_point))
        if signed:
            encodings.append(Encoding(bits, signed, scale, np.zeros(CHANNELS, int)))
    return encodings


def same(what: str, encoding: Encoding, x: np.ndarray, found: np.ndarray) -> bool:
    expected = by_onnxruntime(x, encoding)
    differs = found.view(np.uint32) != expected.view(np.uint32)
    if not differs.any():
        return True
    row, column = np.argwhere(differs)[0]
    print(
        f"{what}, {encoding}: {differs.sum()} of {differs.size} differ, the first is "
        f"{x[row, column]!r}: {found[row, column]!r}, expected {expected[row, column]!r}"
    )
    return False


def activations(subject: Subject) -> list[bool]:
    identity = np.eye(CHANNELS, dtype=np.float32)
    results = []
    for seed, encoding in enumerate(encodings_of_tensors()):
        x = values(encoding.scale, seed)
        y = subject.run(identity, x, {"activations": {"x": activation_entry(encoding)}})
        results.append(same("activation", encoding, x, y))
    return results


def weights(subject: Subject) -> list[bool]:
    results = []
    for seed, encoding in enumerate(encodings_of_tensors()[::4] + encodings_of_channels()):
        # A third of the values: the identity has as many rows and columns as there are.
        x = values(encoding.scale, 1000 + seed)[seed % 3 :: 3]
        identity = np.eye(len(x), dtype=np.float32)
        y = subject.run(x, identity, {"weights": {"w": weight_entry(encoding)}})
        results.append(same("weight", encoding, x, y))
    return results


def main() -> None:
    options = mpq.parser(__doc__).parse_args()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(options.mpq, Path(folder))
        for what, results in [("activations", activations(subject)), ("weights", weights(subject))]:
            print(f"{what}: {sum(results)} of {len(results)} encodings equal onnxruntime's")
            good &= all(results)
    if not good:
        raise SystemExit("the quantizer differs from onnxruntime's")


if __name__ == "__main__":
    main()
