"""Random graphs with something broken in them: mpq has to say what is wrong, or run what is still right.

The graphs are those of `random_graphs.py`; each loses, doubles or gets a wrong input, output, attribute,
dimension, type or name. Whatever becomes of it, mpq must end with an answer or an error: no panic, no
hang, no more memory than it is allowed.
"""

import collections
import os
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

import mpq
from drawing import FAMILIES, Draw, Redraw
from random_graphs import NEWEST_OPSET, SECONDS, Case, drawn_graph, single

MEMORY_BYTES = 6 << 30
NUMBERS = [0, -1, 1, 2, 7, -(2**63), 2**63 - 1, 2**31, 2**32 + 1, -(2**31), 1 << 40]
FLOATS = [0.0, -1.0, float("nan"), float("inf"), 1e30, -1e-30]


def pick(random: np.random.Generator, choices: object) -> object:
    choices = list(choices)
    if not choices:
        raise Redraw
    return choices[int(random.integers(len(choices)))]


def lose_input(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, [node for node in graph.node if node.input])
    if random.random() < 0.5:
        node.input.pop()
    else:
        node.input[int(random.integers(len(node.input)))] = ""


def gain_input(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, graph.node)
    node.input.append(pick(random, [*node.input, "nowhere", ""]))


def swap_inputs(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, [node for node in graph.node if 1 < len(node.input)])
    names = list(node.input)
    del node.input[:]
    node.input.extend(names[i] for i in random.permutation(len(names)))


def gain_output(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, graph.node)
    node.output.append(pick(random, ["more", "", *node.output]))
    if random.random() < 0.5:
        graph.output.append(onnx.ValueInfoProto(name="more"))


def lose_output(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, [node for node in graph.node if node.output])
    if random.random() < 0.5:
        node.output.pop()
    else:
        node.output[0] = ""


def same_name(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, [node for node in graph.node if node.output])
    node.output[0] = pick(random, [*node.input, *graph.node[0].output, *graph.node[-1].output])


def cycle(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, [node for node in graph.node if node.input])
    node.input[0] = pick(random, graph.node[-1].output)


def attribute(random: np.random.Generator, graph: onnx.GraphProto) -> AttributeProto:
    return pick(random, [attribute for node in graph.node for attribute in node.attribute])


def other_attribute_type(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    found = attribute(random, graph)
    value = pick(random, [1, 0.5, "text", [1, 2], [0.5], ["a", "b"], onnx.GraphProto()])
    if isinstance(value, onnx.GraphProto):
        value = helper.make_graph([], "inner", [], [])
    found.CopyFrom(helper.make_attribute(found.name, value))


def undeclared_attribute_type(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    attribute(random, graph).type = int(random.integers(0, 15))


def other_number(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    found = attribute(random, graph)
    if found.type == AttributeProto.INT:
        found.i = pick(random, NUMBERS)
    elif found.type == AttributeProto.INTS:
        ints = list(found.ints)
        kind = int(random.integers(4))
        if kind == 0 or not ints:
            ints.append(pick(random, NUMBERS))
        elif kind == 1:
            ints.pop()
        else:
            ints[int(random.integers(len(ints)))] = pick(random, NUMBERS)
        del found.ints[:]
        found.ints.extend(ints)
    elif found.type == AttributeProto.FLOAT:
        found.f = pick(random, FLOATS)
    else:
        found.s = b"strange"


def new_attribute(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    node = pick(random, graph.node)
    names = [attribute.name for node in graph.node for attribute in node.attribute]
    name = pick(random, [*names, "axis", "axes", "mode", "unknown", ""])
    node.attribute.append(helper.make_attribute(name or "x", pick(random, [*NUMBERS[:6], "text", [3]])))


def other_operator(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    pick(random, graph.node).op_type = pick(random, [family.op for family in FAMILIES])


def other_element(
    random: np.random.Generator, graph: onnx.GraphProto, kind: int, dtype: type, choices: list
) -> None:
    tensor = pick(random, [t for t in graph.initializer if t.data_type == kind and t.raw_data])
    # Another breakage may have cut the data.
    if len(tensor.raw_data) % np.dtype(dtype).itemsize:
        raise Redraw
    values = np.frombuffer(tensor.raw_data, dtype).copy()
    values[int(random.integers(len(values)))] = pick(random, choices)
    tensor.raw_data = values.tobytes()


def other_constant(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    """Axes, shapes and indices are small integers."""
    other_element(random, graph, TensorProto.INT64, np.int64, NUMBERS)


def other_scale(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    other_element(random, graph, TensorProto.FLOAT, np.float32, FLOATS)


def other_dims(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    tensor = pick(random, graph.initializer)
    dims = list(tensor.dims)
    if dims and random.random() < 0.7:
        dims[int(random.integers(len(dims)))] = pick(random, NUMBERS)
    else:
        dims += [pick(random, [1, 2, 0, 2**40])]
    del tensor.dims[:]
    tensor.dims.extend(dims)


def same_size(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    """The shape of a constant turned around: the data still fit."""
    tensor = pick(random, [t for t in graph.initializer if t.dims])
    dims = [tensor.dims[i] for i in random.permutation(len(tensor.dims))]
    if random.random() < 0.5:
        dims = [1, *dims] if random.random() < 0.5 else [int(np.prod(dims))]
    del tensor.dims[:]
    tensor.dims.extend(dims)


def other_type(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    pick(random, graph.initializer).data_type = int(random.integers(0, 30))


def no_data(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    tensor = pick(random, graph.initializer)
    tensor.ClearField("raw_data")
    if random.random() < 0.5:
        tensor.dims.append(1 << 29)


def empty_constant(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    tensor = pick(random, graph.initializer)
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.append(0)


def other_input(random: np.random.Generator, graph: onnx.GraphProto) -> None:
    shape = pick(random, graph.input).type.tensor_type.shape
    if shape.dim and random.random() < 0.7:
        pick(random, shape.dim).dim_value = pick(random, NUMBERS)
    else:
        shape.dim.add().dim_param = "n"


BREAKS = [
    lose_input, gain_input, swap_inputs, gain_output, lose_output, same_name, cycle, other_attribute_type,
    undeclared_attribute_type, other_number, other_number, other_number, new_attribute, other_operator,
    other_operator, other_constant, other_constant, other_scale, other_dims, same_size, same_size,
    other_type, no_data, empty_constant, other_input,
]  # fmt: skip


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def broken_case(seed: int, number: int) -> tuple[Case, list[str]]:
    random = np.random.default_rng([seed, number])
    families = [family for family in FAMILIES if family.oldest <= NEWEST_OPSET]
    while True:
        try:
            if random.random() < 0.1:
                case = drawn_graph(random, families)
            else:
                _, _, case = single(Draw(random), families[number % len(families)])
            names = []
            for _ in range(int(random.integers(1, 3))):
                breaker = pick(random, BREAKS)
                breaker(random, case.model.graph)
                names.append(breaker.__name__)
            return case, names
        except Redraw:
            continue


def complaint(binary: Path, seed: int, number: int, keep: Path | None = None) -> str | None:
    """What mpq should not have done."""
    case, names = broken_case(seed, number)
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        model = folder / "model.onnx"
        model.write_bytes(case.model.SerializeToString())
        inputs = []
        for name, array in case.feeds.items():
            np.save(folder / f"{name}.npy", array)
            inputs += ["--input", f"{name}={folder}/{name}.npy"]
        output = folder / "out.npz"
        run = ["run", model, "--threads", "1", "--quiet", "-o", output, *inputs]
        # `inspect` ends with 1 where a model cannot run.
        for command, codes in [(run, (0, 2)), (["inspect", model, "--quiet"], (0, 1, 2))]:
            try:
                done = subprocess.run(
                    [binary, *command], capture_output=True, text=True, timeout=SECONDS,
                    preexec_fn=limit_memory,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return f"{names} {case.label}\n  {command[0]}: no answer within {SECONDS} s"
            if done.returncode not in codes or "panicked" in done.stderr or len(done.stderr) > 10_000:
                text = f"exit code {done.returncode}: {done.stderr.strip()[:2000]}"
                return f"{names} {case.label}\n  {command[0]}: {text}"
            if keep:
                print(f"{names} {command[0]}: exit code {done.returncode}\n{done.stderr}", end="")
    return None


def main() -> None:
    options = mpq.parser(__doc__)
    options.add_argument("--cases", type=int, default=4000, metavar="N", help="how many [default: 4000]")
    options.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws [default: 1]")
    options.add_argument("--case", type=int, metavar="K", help="only this one")
    options.add_argument("--keep", type=Path, metavar="DIR", help="leave the files of --case here")
    options = options.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    numbers = range(options.cases) if options.case is None else [options.case]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda n: complaint(options.mpq, options.seed, n, options.keep), numbers)
        wrong = collections.Counter()
        for number, text in zip(numbers, found):
            if text:
                print(f"failed: --seed {options.seed} --case {number}\n  {text}")
                wrong["failed"] += 1
    print(f"seed {options.seed}: {len(numbers)} broken graphs, {wrong['failed']} failed")
    if wrong:
        sys.exit("mpq did not end with an answer or an error")


if __name__ == "__main__":
    main()
