"""A validator of AIMET's encoding files, written from the description of the formats alone.

`real = (q + offset) scale` with unsigned q in 1.0.0 and 0.6.1; ONNX's zero points in 2.0.0.
"""

import numpy as np
import onnx

KEYS_1_0 = {"name", "dtype", "bw", "enc_type", "is_sym", "scale", "offset"}
KEYS_0_6_1 = {"bitwidth", "dtype", "is_symmetric", "min", "max", "scale", "offset"}
KEYS_2_0 = {"name", "output_dtype", "y_scale"}
OPTIONAL_2_0 = {"y_zero_point", "axis"}


def problems(form: str, file: dict, model: onnx.ModelProto, config: dict) -> list[str]:
    constants = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    tensors = {name for node in model.graph.node for name in node.output}
    tensors |= {value.name for value in model.graph.input}
    check = {"aimet-1.0": listed, "aimet-0.6.1": legacy, "aimet-2.0": newest}[form]
    found = check(file, constants, tensors)
    seen = {name: grid for name, grid in found if isinstance(grid, tuple)}
    texts = [f"--to {form}: `{name}`: {text}" for name, text in found if isinstance(text, str)]
    for kind in ("activations", "weights"):
        for name, encoding in config["encodings"][kind].items():
            half = 2 ** (encoding["bits"] - 1) if encoding["signed"] else 0
            scale = np.atleast_1d(np.asarray(encoding["scale"], np.float32))
            offset = -np.atleast_1d(encoding["zero_point"]) - half
            grid = seen.get(name)
            if grid is None:
                texts.append(f"--to {form}: `{name}` is not there")
            elif grid != (encoding["bits"], scale.tolist(), offset.tolist()):
                texts.append(f"--to {form}: `{name}` is {grid}, expected {encoding}")
    return texts


def single(values) -> list[float]:
    return np.asarray(values, np.float32).tolist()


def place(name: str, is_param: bool, n: int, constants: dict, tensors: set) -> list:
    """Whether there is such a tensor, and it may have so many channels."""
    if not is_param:
        known = name in tensors and n == 1
        return [] if known else [(name, f"is no activation with {n} scales")]
    if name not in constants:
        return [(name, "is no initializer")]
    if n != 1 and n not in constants[name]:
        return [(name, f"has {n} scales and shape {constants[name]}")]
    return []


def listed(file: dict, constants: dict, tensors: set):
    yield from version(file, "1.0.0", {"activation_encodings", "param_encodings"})
    names = set()
    for kind in ("activation_encodings", "param_encodings"):
        for entry in file[kind]:
            name, n = entry["name"], len(entry["scale"])
            if name in names:
                yield name, "is listed twice"
            names.add(name)
            if set(entry) != KEYS_1_0 or entry["dtype"] != "INT":
                yield name, f"has keys {sorted(entry)} and dtype {entry['dtype']}"
            per = {"PER_TENSOR": n == 1, "PER_CHANNEL": 1 <= n}
            if not per.get(entry["enc_type"], False) or len(entry["offset"]) != n:
                yield name, f"{entry['enc_type']} with {n} scales, {len(entry['offset'])} offsets"
            least = -(2 ** entry["bw"]) + 1
            if not all(least <= offset <= 0 for offset in entry["offset"]):
                yield name, f"offsets are {entry['offset']}"
            if entry["is_sym"] and set(entry["offset"]) != {-(2 ** (entry["bw"] - 1))}:
                yield name, f"symmetric with offsets {entry['offset']}"
            yield from place(name, kind == "param_encodings", n, constants, tensors)
            yield name, (entry["bw"], single(entry["scale"]), entry["offset"])


def legacy(file: dict, constants: dict, tensors: set):
    yield from version(file, "0.6.1", {"activation_encodings", "param_encodings"})
    for kind in ("activation_encodings", "param_encodings"):
        for name, channels in file[kind].items():
            yield from place(name, kind == "param_encodings", len(channels), constants, tensors)
            for entry in channels:
                if set(entry) != KEYS_0_6_1 or entry["dtype"] != "int":
                    yield name, f"has keys {sorted(entry)} and dtype {entry['dtype']}"
                if entry["is_symmetric"] not in ("True", "False"):
                    yield name, f"is_symmetric is {entry['is_symmetric']}"
                # The ends of the grid, in the precision of the scale.
                steps = 2 ** entry["bitwidth"] - 1
                ends = (entry["offset"], entry["offset"] + steps)
                for end, q in (("min", ends[0]), ("max", ends[1])):
                    if not abs(entry[end] / entry["scale"] - q) <= max(1e-6 * abs(q), 1e-6):
                        yield name, f"{end} is {entry[end]}, expected {q} x {entry['scale']}"
            scales = [entry["scale"] for entry in channels]
            offsets = [entry["offset"] for entry in channels]
            yield name, (channels[0]["bitwidth"], single(scales), offsets)


def newest(file: dict, constants: dict, tensors: set):
    yield from version(file, "2.0.0", {"encodings"})
    for entry in file["encodings"]:
        name, scales = entry["name"], np.atleast_1d(entry["y_scale"])
        keys = set(entry)
        if not KEYS_2_0 <= keys <= KEYS_2_0 | OPTIONAL_2_0:
            yield name, f"has keys {sorted(keys)}"
        signed, bits = dtype(entry["output_dtype"])
        yield from place(name, name in constants, len(scales), constants, tensors)
        axis = entry.get("axis")
        if axis is not None and constants[name][axis] != len(scales):
            yield name, f"has {len(scales)} scales along axis {axis} of {constants[name]}"
        if (axis is None) != np.isscalar(entry["y_scale"]):
            yield name, f"axis is {axis}, y_scale is {entry['y_scale']}"
        zero_points = np.broadcast_to(entry.get("y_zero_point", 0), scales.shape)
        if bits == 32:
            if not signed or zero_points.any():
                yield name, "is an int32 bias with a zero point"
            continue
        offsets = -zero_points - (2 ** (bits - 1) if signed else 0)
        yield name, (bits, single(scales), offsets.tolist())


def dtype(text: str) -> tuple[bool, int]:
    signed = text.startswith("int")
    return signed, int(text.removeprefix("int" if signed else "uint"))


def version(file: dict, expected: str, keys: set):
    if file["version"] != expected or set(file) != keys | {"version"}:
        yield "the file", f"has version {file['version']} and keys {sorted(file)}"
