"""Seeds of the fuzz targets, each in its folder: small models of every family of `tests/referee/families`,
arrays, tensors, images, and what mpq writes for a small network. They are drawn from one seed; `minimize`
then keeps what reaches new code.
"""

import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "referee"))

import mpq  # noqa: E402
import random_graphs  # noqa: E402
from drawing import FAMILIES, Draw, Redraw  # noqa: E402

MOST_BYTES = 1500
DRAWS = 6
TYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"]


def network() -> onnx.ModelProto:
    """Two convolutions, a sum, a product with a matrix."""
    random = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32).round(2), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "w4"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    weights = [weight("w1", 4, 3, 3, 3), weight("w2", 4, 1, 3, 3), weight("w3", 4, 3), weight("w4", 3)]
    graph = helper.make_graph(nodes, "network", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def models() -> dict[str, bytes]:
    """A node of every family, several times, and the graphs that no family draws."""
    found = {}
    families = [family for family in FAMILIES if family.oldest <= random_graphs.NEWEST_OPSET]
    for number, family in enumerate(families):
        drawn = 0
        for trial in range(8 * DRAWS):
            if drawn == DRAWS:
                break
            random = np.random.default_rng([number, trial])
            try:
                _, _, case = random_graphs.single(Draw(random), family)
            except Redraw:
                continue
            data = case.model.SerializeToString()
            if len(data) <= MOST_BYTES:
                drawn += 1
                found[f"{family.op}_{trial}"] = data
    return found | {name: model.SerializeToString() for name, model in subgraphs().items()}


def model(nodes, inputs, outputs, constants=(), functions=()) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(*info) for info in inputs]
    outputs = [onnx.ValueInfoProto(name=name) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
    graph = helper.make_graph(nodes, "g", infos, outputs, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def subgraphs() -> dict[str, onnx.ModelProto]:
    info = helper.make_tensor_value_info
    x = ("x", TensorProto.FLOAT, [2, 3])
    relu = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "t", [], [onnx.ValueInfoProto(name="t")])
    neg = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "e", [], [onnx.ValueInfoProto(name="e")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=relu, else_branch=neg)
    step = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["go"], ["on"]),
         helper.make_node("Identity", ["t"], ["u"])],
        "step", [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("s", *x[1:])],
        [onnx.ValueInfoProto(name=name) for name in ["on", "t", "u"]],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["n", "c", "x"], ["y", "z"], body=step)
    cell = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["t"]), helper.make_node("Identity", ["t"], ["u"])],
        "cell", [info("s", TensorProto.FLOAT, [3]), info("r", TensorProto.FLOAT, [3])],
        [onnx.ValueInfoProto(name=name) for name in ["t", "u"]],
    )  # fmt: skip
    scan = helper.make_node("Scan", ["z", "x"], ["y", "w"], body=cell, num_scan_inputs=1)
    function = helper.make_function(
        "f", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    return {
        "if": model([branch], [x, ("c", TensorProto.BOOL, [])], ["y"]),
        "if_known": model([branch], [x], ["y"], [("c", np.array(True))]),
        "loop": model([loop], [x], ["y", "z"], [("n", np.array(3)), ("c", np.array(True))]),
        "scan": model([scan], [x], ["y", "w"], [("z", np.zeros(3, np.float32))]),
        "function": model([helper.make_node("Twice", ["x"], ["y"], domain="f")], [x], ["y"], (), [function]),
        "sequence": model(
            [helper.make_node("SplitToSequence", ["x"], ["s"]), helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)],
            [x], ["y"],
        ),
        "network": network(),
    }  # fmt: skip


def external() -> dict[str, bytes]:
    """Models with constants in `w.bin`, and in places where they must not be."""
    found = {}
    entries = [
        {"location": "w.bin"}, {"location": "sub/w.bin", "offset": "8", "length": "16"},
        {"location": "link.bin", "offset": "4"}, {"location": "out.bin"}, {"location": "up/w.bin"},
        {"location": "../w.bin"}, {"location": "/etc/hostname"}, {"location": "loop.bin"}, {},
        {"location": "w.bin", "offset": "18446744073709551615", "length": "16"}, {"location": "sub"},
        {"location": "./w.bin", "offset": "49"}, {"location": "sub/../w.bin"}, {"location": "empty.bin"},
    ]  # fmt: skip
    for number, entry in enumerate(entries):
        for dtype, dims in [(TensorProto.UINT8, [16]), (TensorProto.FLOAT, [2, 2]), (TensorProto.INT4, [3])]:
            tensor = TensorProto(name="w", data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
            for key, value in entry.items():
                tensor.external_data.add(key=key, value=value)
            graph = helper.make_graph([], "g", [], [onnx.ValueInfoProto(name="w")], [tensor])
            opsets = [helper.make_opsetid("", 17)]
            found[f"{number}_{dtype}"] = helper.make_model(graph, opset_imports=opsets).SerializeToString()
    return found


def tensors() -> dict[str, bytes]:
    found = {}
    for code in range(1, 29):
        raw = TensorProto(name="x", data_type=code, dims=[2, 2], raw_data=bytes(range(32)))
        found[f"raw_{code}"] = raw.SerializeToString()
        for field, one in [
            ("float_data", 0.5), ("double_data", 0.5), ("int32_data", 1), ("int64_data", 1),
            ("uint64_data", 1), ("string_data", b"a"),
        ]:  # fmt: skip
            typed = TensorProto(data_type=code, dims=[2, 2])
            getattr(typed, field).extend([one] * 4)
            found[f"{field}_{code}"] = typed.SerializeToString()
    for name, array in [("f", np.eye(2, dtype=np.float32)), ("i", np.arange(3)), ("s", np.float16(1))]:
        found[name] = numpy_helper.from_array(np.asarray(array), name).SerializeToString()
    return found


def arrays() -> dict[str, bytes]:
    def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version)
        return file.getvalue()

    def npz(compression: int, **members: np.ndarray) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, array in members.items():
                with archive.open(f"{name}.npy", "w", force_zip64=name == "wide") as member:
                    member.write(npy(array))
        return file.getvalue()

    found = {}
    for kind in TYPES:
        array = np.arange(6).reshape(3, 2).astype(kind)
        found[f"npy_{kind}"] = npy(array)
        found[f"big_{kind}"] = npy(array.astype(array.dtype.newbyteorder(">")))
        found[f"fortran_{kind}"] = npy(np.asfortranarray(array))
        found[f"stored_{kind}"] = npz(zipfile.ZIP_STORED, x=array)
        found[f"packed_{kind}"] = npz(zipfile.ZIP_DEFLATED, x=array)
    x = np.ones((2, 2), np.float32)
    found["version_2"], found["version_3"] = npy(x, (2, 0)), npy(x, (3, 0))
    found["scalar"], found["empty"] = npy(np.float32(1)), npy(np.zeros((0, 2), np.float32))
    for name, compression in [("stored", zipfile.ZIP_STORED), ("packed", zipfile.ZIP_DEFLATED)]:
        found[f"two_{name}"] = npz(compression, x=x, y=np.arange(3))
        found[f"wide_{name}"] = npz(compression, wide=x)
        found[f"bomb_{name}"] = npz(compression, x=np.zeros((300, 2), np.float32))
    found["bzip2"] = npz(zipfile.ZIP_BZIP2, x=x)
    return found


def images() -> dict[str, bytes]:
    random = np.random.default_rng(3)
    rgb = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    large = Image.fromarray(np.repeat(np.repeat(rgb, 3, 0), 2, 1))
    found = {}

    def add(name: str, image: Image.Image, kind: str, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found[name] = file.getvalue()

    exact = Image.fromarray(rgb)
    for mode in ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"]:
        image = Image.fromarray(rgb[..., 0].astype(np.uint16) << 7) if mode == "I;16" else exact.convert(mode)
        for kind in ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"]:
            try:
                add(f"{mode}_{kind}".replace(";", ""), image, kind)
            except (OSError, ValueError, KeyError):
                continue
    for name, image in [("exact", exact), ("large", large)]:
        for subsampling in ["4:4:4", "4:2:2", "4:2:0"]:
            options = {"subsampling": subsampling, "quality": 70}
            label = subsampling.replace(":", "")
            add(f"jpeg_{name}_{label}", image, "JPEG", **options)
            add(f"progressive_{name}_{label}", image, "JPEG", progressive=True, **options)
        add(f"restart_{name}", image, "JPEG", restart_marker_blocks=1)
        add(f"optimized_{name}", image, "JPEG", optimize=True)
        add(f"lossless_{name}", image, "WEBP", lossless=True)
        for compression in ["tiff_lzw", "tiff_deflate", "packbits"]:
            add(f"{compression}_{name}", image, "TIFF", compression=compression)
    add("interlaced", exact, "PNG", interlace=True)
    return found


def results(binary: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What mpq writes for the network: configurations, and sensitivity lists."""
    configs, lists = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(network().SerializeToString())
        data = ["--calib", "noise", "--samples", "2", "--threads", "1", "--quiet"]
        for target in ["generic", "htp", "ort-cpu", "tflite", "tensorrt"]:
            flags = [*data, "--target", target]
            wide = [] if target in ("ort-cpu", "tensorrt", "tflite") else ["--candidates", "W4A8,W8A8,W8A16"]
            try:
                lists[target] = mpq.run(binary, "sensitivity", path, *flags, *wide).encode()
                configs[target] = mpq.run(binary, "search", path, *flags, *wide, "--budget", "0.9").encode()
            except mpq.Refused as error:
                print(f"no seed of {target}: {str(error).splitlines()[-1]}")
        for strategy in ["knapsack", "best"]:
            flags = [*data, "--strategy", strategy, "--budget", "0.7"]
            configs[strategy] = mpq.run(binary, "search", path, *flags).encode()
        configs["quality"] = mpq.run(binary, "search", path, *data, "--min-sqnr", "10").encode()
    return configs, lists


def targets() -> dict[str, bytes]:
    """Those that are built in, under other names, and configurations in the form of AIMET."""
    found = {}
    for path in sorted((FOLDER.parents[1] / "src/quant/targets").glob("*.json")):
        target = json.loads(path.read_text())
        target["name"] = "mine"
        found[path.stem] = json.dumps(target).encode()
        for key in ["description", "source"]:
            target.pop(key, None)
        found[f"{path.stem}_short"] = json.dumps(target).encode()
    aimet = {
        "defaults": {
            "hw_version": "V73", "ops": {"is_output_quantized": "True"},
            "params": {"is_quantized": "True", "is_symmetric": "True"},
            "strict_symmetric": "False", "unsigned_symmetric": "False", "per_channel_quantization": "True",
            "supported_kernels": [
                {"activation": {"bitwidth": 8, "dtype": "int"}, "param": {"bitwidth": 4, "dtype": "int"}}
            ],
        },
        "params": {"bias": {"is_quantized": "False"}},
        "op_type": {
            "Gemm": {"is_input_quantized": "True", "per_channel_quantization": "False"},
            "Softmax": {"encoding_constraints": {"min": 0.0, "max": 1.0}},
            "Conv": {"supported_kernels": [
                {"activation": {"bitwidth": 16, "dtype": "int"}, "param": {"bitwidth": 8, "dtype": "int"}}
            ]},
        },
        "supergroups": [{"op_list": ["Conv", "Relu"]}, {"op_list": ["Gemm", "Relu"]}],
        "model_input": {"is_input_quantized": "True"}, "model_output": {},
    }  # fmt: skip
    found["aimet"] = json.dumps(aimet).encode()
    for key in aimet:
        found[f"aimet_without_{key}"] = json.dumps({k: v for k, v in aimet.items() if k != key}).encode()
    return found


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    options.add_argument("--into", type=Path, default=FOLDER / "seeds", help="where their folders go")
    options = options.parse_args()
    (FOLDER / "network.onnx").write_bytes(network().SerializeToString())
    configs, lists = results(options.mpq)
    graphs = models()
    for name, seeds in {
        "model": graphs, "run": graphs, "external": external(), "pb": tensors(), "arrays": arrays(),
        "image": images(), "config": configs, "sensitivity": lists, "target": targets(),
    }.items():  # fmt: skip
        folder = options.into / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for seed, data in seeds.items():
            (folder / seed).write_bytes(data)
        print(f"{name}: {len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")


if __name__ == "__main__":
    main()
