"""Exports of mpq, read by onnxruntime and by a validator of AIMET's formats.

For every configuration: the model with QuantizeLinear and DequantizeLinear is valid; every encoding
in it equals that of the configuration bit for bit; each operator alone, fed what mpq's simulation
has there, is at most one step off, on fewer than 1e-3 of its elements; of 16 bits, whose steps are
not much larger than the rounding of sums in float32, on as many as 4 ulps of the largest value are
of a step. The whole network without graph optimizations: its SQNR to the float network is that of
mpq's simulation within 0.2 dB, or within the spread that one ulp gives it (saturated outputs), and
the two are no further from each other than 3 dB more than onnxruntime is from itself when inputs,
biases and the scales of weights are changed by one ulp, up or down (the furthest of five times); a
quantizer turns the least difference into an occasional whole step, so that two right simulations
drift apart. (Inputs alone would often do nothing: they are rounded first.)
mpq's simulation has float biases, so both are looked at with --float-bias. What int32 biases change
is printed besides: the part of elements, and the SQNR. A bias is rounded to steps of the product of
two scales, and those of 4-bit weights are large: elements may be as many steps off as half of such a
step is. Then: AIMET's
encodings pass the validator, onnxruntime's `quantize_static` with the overrides gives the types
that they ask for, and all files are the same twice.
By default the digits of the examples; with --networks the real ones (`all` for all of them).
"""

import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import encodings_check
import mpq
from networks import Network, images, named
from overrides import quantize_static_with

SAMPLES = 64
FORMATS = [
    "qdq", "aimet-1.0", "aimet-0.6.1", "aimet-2.0", "ort-overrides", "exclude-list", "weights",
]


class Subject:
    """A model, one configuration of it, and what inputs it is looked at with."""

    def __init__(self, options, name: str, model: Path, config: Path, feeds: list[dict], work: Path):
        self.options, self.name, self.model, self.config = options, name, model, config
        self.work, self.feeds = work, feeds
        self.settings = json.loads(config.read_text())
        self.encodings = self.settings["encodings"]

    def has(self, form: str) -> bool:
        """onnxruntime's quantizer has three widths."""
        kinds = [self.encodings[kind] for kind in ("activations", "weights")]
        entries = [entry for kind in kinds for entry in kind.values()]
        return form != "ort-overrides" or all(entry["bits"] in (4, 8, 16) for entry in entries)

    def export(self, form: str, *flags: object) -> Path:
        path = self.work / f"{form}.out"
        args = ["--config", self.config, "--to", form, "-o", path, "-q", *flags]
        mpq.run(self.options.mpq, "export", self.model, *args)
        return path

    def simulated(self, model: Path, config: Path, feeds: dict) -> dict[str, np.ndarray]:
        inputs = []
        for number, (name, x) in enumerate(feeds.items()):
            source = self.work / f"{number}.npy"
            np.save(source, x)
            inputs += ["--input", f"{name}={source}"]
        result = self.work / "simulated.npz"
        args = [*inputs, "-o", result] + ([] if config is None else ["--config", config])
        mpq.run(self.options.mpq, "run", model, *args)
        with np.load(result) as arrays:
            return {name: arrays[name] for name in arrays.files}


def session(model, optimized: bool = False) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = model if isinstance(model, (str, Path)) else model.SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(opened: ort.InferenceSession, feeds: dict) -> dict[str, np.ndarray]:
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, feeds)))


def pooled(float_outputs: list[dict], others: list[dict]) -> float:
    """SQNR in dB: powers added over samples, noise-to-signal averaged over float outputs."""
    ratios = []
    for name, value in float_outputs[0].items():
        if value.dtype != np.float32:
            continue
        pairs = [(a[name].astype(np.float64), b[name]) for a, b in zip(float_outputs, others)]
        signal = sum((a**2).sum() for a, _ in pairs)
        ratios.append(sum(((a - b) ** 2).sum() for a, b in pairs) / signal)
    noise = np.mean(ratios)
    return np.inf if noise == 0 else -10 * np.log10(noise)


def dequantized_by(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The last DequantizeLinear of every activation and constant, by the tensor's name."""
    nodes = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            nodes[node.name.removesuffix("_DequantizeLinear")] = node
    return nodes


def check_encodings(subject: Subject, model: onnx.ModelProto) -> list[str]:
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    array = lambda name: numpy_helper.to_array(initializers[name])
    nodes = dequantized_by(model)
    problems = []
    for kind in ("activations", "weights"):
        for name, encoding in subject.encodings[kind].items():
            node = nodes.get(name)
            if node is None:
                problems.append(f"`{name}` has no DequantizeLinear")
                continue
            scale, zero_point = (array(part) for part in node.input[1:3])
            expected = np.atleast_1d(np.asarray(encoding["scale"], np.float32))
            if np.atleast_1d(scale).tobytes() != expected.tobytes():
                problems.append(f"scale of `{name}` is {scale}, expected {expected}")
            wanted = np.atleast_1d(encoding["zero_point"])
            if not np.array_equal(np.atleast_1d(zero_point).astype(np.int64), wanted):
                problems.append(f"zero point of `{name}` is {zero_point}, expected {wanted}")
            axis = {attribute.name: attribute.i for attribute in node.attribute}.get("axis")
            if axis != encoding.get("axis"):
                problems.append(f"axis of `{name}` is {axis}, expected {encoding.get('axis')}")
            if kind == "weights":
                problems += check_integers(name, array(node.input[0]), encoding)
    return problems


def check_integers(name: str, found: np.ndarray, encoding: dict) -> list[str]:
    levels = 2 ** encoding["bits"]
    least = (-levels // 2 + encoding["narrow"]) if encoding["signed"] else 0
    most = levels // 2 - 1 if encoding["signed"] else levels - 1
    found = found.astype(np.int64)
    if found.size and not (least <= found.min() and found.max() <= most):
        return [f"integers of `{name}` are {found.min()} to {found.max()}, expected {least} to {most}"]
    return []


def bias_steps(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """By activation half a step of the int32 bias that was added, to broadcast; functions of one input
    behind it, such as Relu, do not widen it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    steps = {}
    for name, last in dequantized_by(model).items():
        first = next((node for node in quantized if node.output[0] == last.input[0]), None)
        node = first and makers.get(first.input[0])
        while node and node.op_type in ("Relu", "Clip", "Sigmoid", "Tanh"):
            node = makers.get(node.input[0])
        if node is None or node.op_type not in ("Conv", "ConvTranspose", "Gemm") or len(node.input) < 3:
            continue
        bias = makers.get(node.input[2])
        stored = bias and constants.get(bias.input[0])
        if stored is not None and stored.data_type == onnx.TensorProto.INT32:
            scale = numpy_helper.to_array(constants[bias.input[1]]).reshape(-1)
            steps[name] = scale / 2 if node.op_type == "Gemm" else scale[:, None, None] / 2
    return steps


def check_alone(subject: Subject, path: Path, most: float) -> tuple[list[str], float]:
    """Every operator fed what the simulation has; the largest part of elements that differ."""
    model = onnx.load(path)
    nodes = dequantized_by(model)
    of_bias = bias_steps(model)
    activations = subject.encodings["activations"]
    feeds = subject.feeds[0]
    inner = inner_values(subject, feeds)
    infos = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inner}
    renamed = {}
    del model.graph.output[:]
    for name in activations:
        node = nodes[name]
        given = node.output[0]
        renamed[name] = given
        node.output[0] = f"{given}//computed"
        info = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
        model.graph.output.append(info)
        given_info = onnx.helper.make_tensor_value_info(
            given, onnx.TensorProto.FLOAT, [f"{given}//{axis}" for axis in range(inner[name].ndim)]
        )
        model.graph.input.append(given_info)
    del model.graph.value_info[:]
    given = {renamed[name]: inner[name] for name in activations}
    computed = run(session(model), {**feeds, **given})
    problems, worst = [], 0.0
    for name, encoding in activations.items():
        found, expected = computed[f"{renamed[name]}//computed"], inner[name]
        steps = np.rint((found - expected) / np.float32(encoding["scale"]))
        part = float(np.mean(steps != 0))
        worst = max(worst, part)
        ulps = 4 * np.finfo(np.float32).eps * np.abs(expected).max(initial=0) / encoding["scale"]
        bias_noise = of_bias.get(name, np.zeros(1)) / encoding["scale"]
        allowed = np.maximum(1, np.ceil(bias_noise + max(0.01, ulps)))
        if (np.abs(steps) > allowed).any() or not part < max(most, ulps):
            problems.append(
                f"`{name}`: {part:.1e} of {steps.size} elements differ, up to {np.abs(steps).max():.0f} steps"
            )
    return problems, worst


def inner_values(subject: Subject, feeds: dict) -> dict[str, np.ndarray]:
    """What mpq's simulation has in every activation that it rounds: outputs of a model of its own."""
    path = subject.work / "inner.onnx"
    flags = ["--float-model", path, "-q", "-o", subject.work / "unused"]
    args = ["--config", subject.config, "--to", "aimet-1.0", *flags]
    mpq.run(subject.options.mpq, "export", subject.model, *args)
    model = onnx.load(path)
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    for name in subject.encodings["activations"]:
        if name not in outputs | inputs:
            info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(info)
    # An input is rounded where it is read; that value has no name of its own.
    onnx.save(model, path)
    config = json.loads(subject.config.read_text())
    config["model"]["sha256"] = mpq.sha256(path)
    # That model is equalized, and has the corrected biases.
    config["settings"] |= {"equalize": False, "bias_correction": False}
    inner_config = subject.work / "inner.json"
    inner_config.write_text(json.dumps(config))
    values = subject.simulated(path, inner_config, feeds)
    for name in inputs & set(subject.encodings["activations"]):
        values[name] = rounded(feeds[name], subject.encodings["activations"][name])
    return values


def rounded(x: np.ndarray, encoding: dict) -> np.ndarray:
    scale, zero_point = np.float32(encoding["scale"]), encoding["zero_point"]
    levels = 2 ** encoding["bits"]
    least = -levels // 2 if encoding["signed"] else 0
    q = np.clip(np.rint(x / scale) + zero_point, least, least + levels - 1)
    return ((q - zero_point) * scale).astype(np.float32)


def check_whole(subject: Subject, path: Path, float_bias: Path) -> tuple[list[str], dict]:
    outputs = lambda opened, change: [run(opened, change(feeds)) for feeds in subject.feeds]
    same = lambda feeds: feeds
    floats = outputs(session(subject.model), same)
    theirs = outputs(session(float_bias), same)
    ours = [subject.simulated(subject.model, subject.config, feeds) for feeds in subject.feeds]
    nudged, spread = [], [pooled(floats, theirs)]
    for seed in range(5):
        random = np.random.default_rng(seed)
        opened = session(nudged_model(float_bias, random))
        found = outputs(opened, lambda feeds: nudged_inputs(feeds, random))
        nudged.append(pooled(theirs, found))
        spread.append(pooled(floats, found))
    figures = {
        "int32": pooled(floats, outputs(session(path), same)),
        "onnxruntime": pooled(floats, theirs),
        "mpq": pooled(floats, ours),
        "between": pooled(theirs, ours),
        "one ulp": min(nudged),
    }
    problems = []
    if not abs(figures["onnxruntime"] - figures["mpq"]) <= max(0.2, max(spread) - min(spread)):
        problems.append(f"SQNR is {figures['onnxruntime']:.2f} dB, that of mpq {figures['mpq']:.2f}")
    if not figures["between"] >= figures["one ulp"] - 3:
        problems.append(
            f"{figures['between']:.2f} dB from mpq, {figures['one ulp']:.2f} from itself after one ulp"
        )
    return problems, figures


def nudge(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every element one ulp larger or smaller."""
    return np.nextafter(x, random.choice(np.float32([-np.inf, np.inf]), x.shape))


def nudged_inputs(feeds: dict, random: np.random.Generator) -> dict:
    return {n: nudge(x, random) if x.dtype == np.float32 else x for n, x in feeds.items()}


def nudged_model(path: Path, random: np.random.Generator) -> onnx.ModelProto:
    """Other biases and scales of weights."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    kept, nudged = set(), set()
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            is_weight = node.input[0] in constants
            (nudged if is_weight else kept).add(node.input[1])
        elif node.op_type in ("Resize", "Upsample"):
            # One ulp less of a scale is a pixel less.
            kept.update(node.input[1:])
    for tensor in model.graph.initializer:
        is_bias = len(tensor.dims) == 1 and tensor.name not in kept
        if tensor.data_type == onnx.TensorProto.FLOAT and (is_bias or tensor.name in nudged):
            array = nudge(numpy_helper.to_array(tensor), random)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def check_files(subject: Subject, written: dict[str, Path]) -> list[str]:
    first = {form: path.read_bytes() for form, path in written.items()}
    problems = []
    for form in written:
        if subject.export(form).read_bytes() != first[form]:
            problems.append(f"--to {form} wrote another file the second time")
    original = onnx.load(subject.model, load_external_data=False)
    for form in ("qdq", "weights"):
        model = onnx.load(written[form])
        onnx.checker.check_model(model, full_check=True)
        same = ["producer_name", "producer_version", "doc_string", "metadata_props", "domain"]
        for field in same:
            if getattr(model, field) != getattr(original, field):
                problems.append(f"{field} of the model is lost, --to {form}")
        for field in ("input", "output"):
            ours, theirs = ([v.name for v in getattr(m.graph, field)] for m in (model, original))
            if ours != theirs:
                problems.append(f"{field}s are {ours}, expected {theirs}")
    return problems


def examine(subject: Subject) -> bool:
    written = {form: subject.export(form) for form in FORMATS if subject.has(form)}
    model = onnx.load(written["qdq"])
    problems = check_files(subject, written) + check_encodings(subject, model)
    with_float_bias = subject.work / "float_bias.onnx"
    with_float_bias.write_bytes(subject.export("qdq", "--float-bias").read_bytes())
    subject.export("qdq")
    found, alone = check_alone(subject, with_float_bias, most=1e-3)
    problems += found
    found, alone_int32 = check_alone(subject, written["qdq"], most=1)
    problems += found
    found, figures = check_whole(subject, written["qdq"], with_float_bias)
    problems += found
    for form in ("aimet-1.0", "aimet-0.6.1", "aimet-2.0"):
        float_model = subject.work / "inner.onnx"
        text = written[form].read_text()
        problems += encodings_check.problems(form, json.loads(text), onnx.load(float_model), subject.settings)
    if "ort-overrides" in written:
        problems += quantize_static_with(
            written["ort-overrides"], float_onnx(subject), subject.work, subject.feeds[0]
        )
    opset = model.opset_import[0].version
    print(
        f"{subject.name:30} {opset:5} {alone:9.1e} {alone_int32:9.1e} {figures['int32']:7.2f} "
        f"{figures['onnxruntime']:11.2f} {figures['mpq']:7.2f} {figures['between']:8.2f} "
        f"{figures['one ulp']:8.2f} {in_integers(subject, written['qdq']):>8}  "
        f"{'FAILED' if problems else 'ok'}",
        flush=True,
    )
    for problem in problems[:20]:
        print(f"  {problem[:300]}", flush=True)
    return not problems


# What onnxruntime makes of weighted operators that it runs in integers.
INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger"}
WEIGHTED = {"Conv", "FusedConv", "ConvTranspose", "Gemm", "MatMul", "FusedMatMul"}


def in_integers(subject: Subject, path: Path) -> str:
    """How many of the convolutions and matrix products onnxruntime runs in integers."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    optimized = subject.work / "optimized.onnx"
    options.optimized_model_filepath = str(optimized)
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(optimized).graph.node]
    integer = sum(kind in INTEGER for kind in kinds)
    return f"{integer}/{integer + sum(kind in WEIGHTED for kind in kinds)}"


def float_onnx(subject: Subject) -> Path:
    path = subject.work / "float.onnx"
    args = ["--config", subject.config, "--to", "ort-overrides", "--float-model", path, "-q"]
    mpq.run(subject.options.mpq, "export", subject.model, *args, "-o", subject.work / "unused")
    return path


def digits(options, work: Path) -> list[Subject]:
    folder = mpq.ROOT / "examples" / "digits"
    model = folder / "model.onnx"
    from PIL import Image

    paths = images(folder / "val")[:SAMPLES]
    pixels = [np.asarray(Image.open(path).convert("L"), np.float32) / 255 for path in paths]
    name = onnx.load(model).graph.input[0].name
    feeds = [{name: np.stack(pixels)[:, None]}]
    flags = ["--calib", folder / "calib", "--samples", "32"]
    return subjects(options, "digits", model, flags, feeds, work, DIGITS)


def old_model(options, work: Path) -> list[Subject]:
    """Of opset 11, with a subgraph, a Softmax over the second of two axes, and documentation."""
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    array = lambda name, *shape: numpy_helper.from_array(
        random.standard_normal(shape).astype(np.float32), name
    )
    floats = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def branch(name: str, operator: str):
        nodes = [
            helper.make_node(operator, ["relu"], [f"{name}_inner"], f"{name}_node"),
            helper.make_node("Add", [f"{name}_inner", "relu"], [f"{name}_out"], f"{name}_add"),
        ]
        output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [output])

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], "conv", doc_string="a convolution"),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("ReduceMean", ["relu"], ["mean"], "mean", keepdims=0),
        helper.make_node("Greater", ["mean", "threshold"], ["condition"], "greater"),
        helper.make_node(
            "If", ["condition"], ["if"], "if",
            then_branch=branch("then", "Sigmoid"), else_branch=branch("else", "Tanh"),
        ),
        helper.make_node("GlobalAveragePool", ["if"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat"),
        helper.make_node("MatMul", ["flat", "w2"], ["product"], "product"),
        helper.make_node("Softmax", ["product"], ["y"], "softmax", axis=1),
    ]
    weights = [array("w", 4, 3, 3, 3), array("b", 4), array("w2", 4, 5)]
    threshold = numpy_helper.from_array(np.float32(0.1), "threshold")
    graph = helper.make_graph(
        nodes, "old", [floats("x", "N", 3, 8, 8)], [floats("y", "N", 5)], [*weights, threshold],
        doc_string="a graph",
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 11)], producer_name="exports", ir_version=6
    )
    model.doc_string = "a model"
    model.metadata_props.add(key="kept", value="yes")
    work.mkdir(parents=True, exist_ok=True)
    path, calib = work / "old.onnx", work / "calib.npy"
    onnx.save(model, path)
    samples = random.standard_normal((80, 3, 8, 8)).astype(np.float32)
    np.save(calib, samples[:16])
    feeds = [{"x": sample[None]} for sample in samples[16:]]
    return subjects(options, "old model", path, ["--calib", calib], feeds, work, OLD)


# What the configurations are found with.
MIXED = ["--candidates", "W4A8,W8A8,W8A16", "--budget", "0.375"]
DIGITS = {
    "W8A8": ["--candidates", "W8A8", "--budget", "1"],
    "W4A8..W8A16": MIXED,
    "W6A6": ["--candidates", "W6A6", "--budget", "1"],
    "equalized, per tensor": [
        *MIXED, "--weights", "per-tensor", "--equalize", "--bias-correction",
    ],
    "W3A8..W8A12": ["--candidates", "W3A8,W8A8,W8A12", "--budget", "0.5"],
    "ort-cpu": ["--target", "ort-cpu", "--candidates", "W8A8,W8A16", "--budget", "0.7"],
    "tensorrt": ["--target", "tensorrt", "--candidates", "W8A8,W32A32", "--budget", "0.3"],
    "htp": ["--target", "htp", "--candidates", "W4A8,W8A8,W8A16", "--budget", "0.375"],
    "tflite": ["--target", "tflite", "--candidates", "W8A8,W8A16", "--budget", "0.7"],
}
OLD = {"W8A8..W8A16": ["--candidates", "W8A8,W8A16", "--budget", "0.7"]}
REAL = {"W8A8": DIGITS["W8A8"], "mixed": ["--candidates", "W4A8,W8A8,W8A16", "--budget", "0.4"]}


def subjects(options, name, model, flags, feeds, work, searches) -> list[Subject]:
    made = []
    for title, search in searches.items():
        place = work / name / title
        place.mkdir(parents=True, exist_ok=True)
        config = place / "config.json"
        if not config.exists():
            mpq.run(options.mpq, "search", model, *flags, *search, "-q", "-o", config)
        made.append(Subject(options, f"{name} {title}", model, config, feeds, place))
    return made


def real(options, network: Network, work: Path, more: list = []) -> list[Subject]:
    data, model = options.test_data, network.model(options.test_data)
    inputs = [value.name for value in session(model).get_inputs()]
    total = len(network.source.names(data))
    count = min(SAMPLES, total)
    batch = 8
    rows = [list(range(start, min(start + batch, count))) for start in range(0, count, batch)]
    feeds = [network.source.feeds(inputs, data, some) for some in rows]
    flags = [*network.calib("--calib", data, work), *network.flags, *more]
    return subjects(options, network.name, model, flags, feeds, work, REAL)


def main() -> None:
    logging.disable(logging.WARNING)
    options = mpq.parser(__doc__)
    options.add_argument("--test-data", type=Path, help="the folder of models and images")
    options.add_argument("--networks", metavar="A,B", help="real networks, `all` for all of them")
    options.add_argument("--work", type=Path, help="where configurations and files are kept")
    options = options.parse_args()
    columns = ("configuration", "opset", "alone", "int32", "int32", "onnxruntime", "mpq", "between", "one ulp", "integer")
    print("{:30} {:>5} {:>9} {:>9} {:>7} {:>11} {:>7} {:>8} {:>8} {:>8}".format(*columns))
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        if options.networks is None:
            small = digits(options, work) + old_model(options, work)
            results = [examine(subject) for subject in small]
        else:
            names = None if options.networks == "all" else options.networks
            results = [
                examine(subject)
                for network in named(names)
                for subject in real(options, network, work)
            ]
    if not all(results):
        raise SystemExit("exports are not what they should be")


if __name__ == "__main__":
    main()
