"""Random nodes and small graphs, through mpq and onnxruntime.

Each case is drawn from the seed and its number alone: a node of one of the families in `families/`, or
a graph of up to ten of them with branches, several outputs, and constants that are now initializers, now
inputs. Where onnxruntime answers, mpq has to: the same types and shapes, the same values (integers and
what is exact bit for bit, floats within the family's tolerance). A refusal of onnxruntime for want of a
kernel, and one of mpq that says "not supported" of an operator that `mpq ops` does not list, is counted
and skipped. An answer where onnxruntime calls the model invalid is listed, as it may be either's mistake.
A panic or a hang is never right.
"""

import collections
import dataclasses
import os
import re
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

import families  # noqa: F401
import mpq
from drawing import EXACT_LIMIT, FAMILIES, Draw, Family, Node, Redraw, Tolerance, Value, largest

# The newest that onnxruntime 1.32 knows as released.
NEWEST_OPSET = min(onnx.defs.onnx_opset_version(), 26)
SECONDS = 20
TRIES = 8
GRAPH_SHARE = 0.25
MAX_NODES = 10
# Rounding once to the type, and for float64 the attributes that are float32.
TYPE_TOLERANCES = {
    np.dtype(np.float16): Tolerance(2.0**-10, 1e-3),
    np.dtype(np.float64): Tolerance(1e-11, 1e-12),
}
# Behind an inexact node every further one adds its error and may magnify those before.
GRAPH_TOLERANCE = Tolerance(1e-3, 1e-4)
HALF_GRAPH_TOLERANCE = Tolerance(2e-2, 2e-2)


@dataclass
class Case:
    """A graph with what goes in and what has to come out."""

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    label: str
    exact: dict[str, bool]
    tolerance: Tolerance
    scale: float


@dataclass
class Outcome:
    number: int
    # passed, failed, both refuse, no kernel, not supported, note
    kind: str
    label: str = ""
    said: str = ""
    ops: list[str] = field(default_factory=list)


class NoKernel(Exception):
    """onnxruntime does not implement it."""


class Invalid(Exception):
    """onnxruntime calls it an error."""


class Sketch:
    """A graph while it is being drawn."""

    def __init__(self, draw: Draw, opset: int):
        self.draw = draw
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.feeds: dict[str, np.ndarray] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.domains: set[str] = set()
        self.n_values = 0
        self.scale = 0.0

    def name(self) -> str:
        self.n_values += 1
        return f"v{self.n_values}"

    def add(self, drawn: Family, node: Node) -> list[str]:
        """The node's outputs."""
        names = []
        for position, value in enumerate(node.inputs):
            if value is None:
                names.append("")
            elif isinstance(value, Value):
                names.append(value.name)
            else:
                names.append(self.leaf(np.asarray(value), position in node.constants))
        outputs = [self.name() for _ in range(node.outputs)]
        self.nodes.append(helper.make_node(drawn.op, names, outputs, domain=drawn.domain, **node.attrs))
        self.domains.add(drawn.domain)
        arrays = [v.array if isinstance(v, Value) else v for v in node.inputs if v is not None]
        self.scale = max(self.scale, node.scale, largest(arrays))
        return outputs

    def leaf(self, array: np.ndarray, must_be_constant: bool) -> str:
        name = self.name()
        is_constant = must_be_constant or self.draw.chance(0.5)
        (self.constants if is_constant else self.feeds)[name] = array
        return name

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        """Always with an input, for mpq runs on something."""
        if not self.feeds:
            self.feeds["unread"] = np.zeros((), np.float32)

        def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, onnx_type(array), array.shape)

        graph = helper.make_graph(
            self.nodes,
            "random",
            [info(name, array) for name, array in self.feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted(self.domains - {""})]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def onnx_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def by_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, feeds)
    # Its exceptions have no common base.
    except Exception as error:
        text = str(error)
        if "NOT_IMPLEMENTED" in text or "not implemented" in text.lower():
            raise NoKernel(text) from None
        raise Invalid(text) from None


def single(draw: Draw, drawn: Family) -> tuple[Sketch, list[str], Case]:
    draw.begin(drawn, None, NEWEST_OPSET)
    sketch = Sketch(draw, draw.opset)
    node = drawn.draw(draw)
    outputs = sketch.add(drawn, node)
    case = Case(
        sketch.model(outputs),
        sketch.feeds,
        label(sketch),
        dict.fromkeys(outputs, drawn.exact),
        drawn.tolerance,
        sketch.scale,
    )
    return sketch, outputs, case


def drawn_graph(random: np.random.Generator, only: list[Family]) -> Case:
    """Node by node; onnxruntime says what each gives, so the next knows its shape."""
    draw = Draw(random, [])
    opset = draw.int(13, NEWEST_OPSET)
    sketch = Sketch(draw, opset)
    wanted = draw.int(3, MAX_NODES)
    for shape in [(1, 4, 6, 6), draw.shape(), (draw.int(1, 6), draw.int(1, 6))][: draw.int(1, 3)]:
        value = Value(sketch.name(), draw.array(np.float32, shape))
        sketch.feeds[value.name] = value.array
        draw.pool.append(value)
    for _ in range(20 * wanted):
        if len(sketch.nodes) == wanted:
            break
        drawn = draw.one_of(only)
        try:
            draw.begin(drawn, opset, NEWEST_OPSET)
            node = drawn.draw(draw)
        except Redraw:
            continue
        if any(isinstance(value, Value) for value in node.inputs) or draw.chance(0.02):
            grow(sketch, drawn, node)
    if not sketch.nodes:
        raise Redraw
    read = {name for node in sketch.nodes for name in node.input}
    outputs = [v.name for v in draw.pool if v.name not in read or draw.chance(0.2)]
    outputs = [name for name in outputs if name not in sketch.feeds] or [draw.pool[-1].name]
    exact = {v.name: v.exact for v in draw.pool}
    return Case(
        sketch.model(outputs), sketch.feeds, label(sketch), exact, GRAPH_TOLERANCE, sketch.scale
    )


def narrowed(case: Case) -> Case:
    """The same with every value as an output, in order: the first that is wrong is where to look."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    outputs = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return dataclasses.replace(case, model=model)


def grow(sketch: Sketch, drawn: Family, node: Node) -> None:
    """Adds the node if onnxruntime can run it and the numbers stay tame."""
    step = Sketch(sketch.draw, sketch.opset)
    step.n_values, step.scale = sketch.n_values, sketch.scale
    outputs = step.add(drawn, node)
    values = {v.name: v.array for v in node.inputs if isinstance(v, Value)}
    feeds = dict(step.feeds)
    step.feeds = {**step.feeds, **values}
    try:
        arrays = by_onnxruntime(step.model(outputs), step.feeds)
    except (NoKernel, Invalid):
        return
    for array in arrays:
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            return
        if array.size and array.dtype.kind in "fiu" and np.abs(array.astype(np.float64)).max() > EXACT_LIMIT:
            return
        if 20_000 < array.size or 5 < array.ndim:
            return
    sketch.nodes += step.nodes
    sketch.feeds |= feeds
    sketch.constants |= step.constants
    sketch.domains |= step.domains
    sketch.n_values, sketch.scale = step.n_values, max(step.scale, largest(arrays))
    # Whole numbers below the limit have exact sums; only a family that is exact throughout keeps
    # fractions exact.
    known = all(v.exact for v in node.inputs if isinstance(v, Value))
    for name, array in zip(outputs, arrays):
        is_float = array.dtype.kind == "f"
        exact = known and (drawn.exact or not is_float)
        sketch.draw.pool.append(Value(name, array, exact))


def label(sketch: Sketch) -> str:
    parts = []
    shapes = {name: f"{a.dtype}{list(a.shape)}" for name, a in {**sketch.feeds, **sketch.constants}.items()}
    small = {name: a for name, a in {**sketch.feeds, **sketch.constants}.items() if a.size <= 12}
    for node in sketch.nodes:
        inputs = [f"{n}:{shapes[n]}" if n in shapes else n or "-" for n in node.input]
        attrs = [f"{a.name}={attr_text(a)}" for a in node.attribute]
        parts.append(f"{node.op_type}({', '.join(inputs + attrs)}) -> {', '.join(node.output)}")
    values = [f"{n}={a.tolist()}" for n, a in small.items() if a.dtype.kind in "iu" and a.ndim < 2]
    return f"opset {sketch.opset}: " + "; ".join(parts + values)


def attr_text(attr: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attr)
    if isinstance(value, TensorProto):
        return f"tensor{list(value.dims)}"
    return value.decode() if isinstance(value, bytes) else str(value)


def widened(case: Case, expected: list[np.ndarray] | str) -> onnx.ModelProto:
    """The float16 outputs as float32, for mpq writes no float16."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    for output, array in zip(graph.output, expected if isinstance(expected, list) else []):
        if array.dtype == np.float16:
            wide = output.name + "_wide"
            graph.node.append(helper.make_node("Cast", [output.name], [wide], to=TensorProto.FLOAT))
            output.name = wide
    return model


def by_mpq(
    binary: Path, case: Case, expected: list[np.ndarray] | str, folder: Path
) -> subprocess.CompletedProcess:
    model = folder / "model.onnx"
    model.write_bytes(widened(case, expected).SerializeToString())
    command = [str(binary), "run", str(model), "--threads", "1", "--quiet"]
    command += ["-o", str(folder / "out.npz")]
    for name, array in case.feeds.items():
        path = folder / f"{name}.npy"
        np.save(path, array)
        command += ["--input", f"{name}={path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def difference(found: np.ndarray, expected: np.ndarray, exact: bool, case: Case) -> str | None:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype} {list(found.shape)}, expected {expected.dtype} {list(expected.shape)}"
    if expected.dtype.kind != "f" or exact:
        same = found == expected
        if expected.dtype.kind == "f":
            same |= np.isnan(found) & np.isnan(expected)
    else:
        same = is_close(found, expected, case)
    if np.all(same):
        return None
    bad = np.argwhere(~same)
    first = tuple(int(i) for i in bad[0])
    with np.errstate(all="ignore"):
        worst = float(np.nanmax(np.abs(found.astype(np.float64) - expected.astype(np.float64))[~same]))
    return (
        f"{expected.dtype} {list(expected.shape)} differs in {len(bad)} of {found.size}, first at "
        f"{list(first)}: {found[first]!r}, expected {expected[first]!r}, largest difference {worst:.3g}"
    )


def is_close(found: np.ndarray, expected: np.ndarray, case: Case) -> np.ndarray:
    tolerance = case.tolerance
    if case.tolerance != GRAPH_TOLERANCE:
        tolerance = TYPE_TOLERANCES.get(expected.dtype, tolerance)
    elif expected.dtype == np.float16:
        tolerance = HALF_GRAPH_TOLERANCE
    a, b = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        scale = max(case.scale, largest([expected]))
        limit = tolerance.rtol * np.abs(b) + tolerance.atol * scale
        close = np.abs(a - b) <= limit
    return close | (a == b) | (np.isnan(a) & np.isnan(b))


def check(number: int, case: Case, expected: list[np.ndarray] | str, options: "Options") -> Outcome:
    """`expected` is text if onnxruntime calls the model invalid."""
    ops = sorted({node.op_type for node in case.model.graph.node})
    outcome = Outcome(number, "passed", case.label, ops=ops)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        try:
            done = by_mpq(options.mpq, case, expected, folder)
        except subprocess.TimeoutExpired:
            return fail(outcome, f"no answer within {SECONDS} s")
        said = done.stderr.strip()
        if done.returncode not in (0, 2) or "panicked" in said:
            return fail(outcome, f"exit code {done.returncode}: {said}")
        if isinstance(expected, str):
            outcome.kind = "both refuse" if done.returncode else "note"
            outcome.said = expected
            return outcome
        if done.returncode == 2:
            if "operator is not supported" in said or "; supported: " in said:
                outcome.kind, outcome.said = "not supported", said
                return outcome
            return fail(outcome, said)
        found = np.load(folder / "out.npz")
        names = [output.name for output in case.model.graph.output]
        for name, array in zip(names, expected):
            got = found[name + "_wide"].astype(np.float16) if array.dtype == np.float16 else found[name]
            problem = difference(got, array, case.exact[name], case)
            if problem:
                return fail(outcome, f"{name}: {problem}")
    return outcome


def fail(outcome: Outcome, said: str) -> Outcome:
    outcome.kind, outcome.said = "failed", said
    return outcome


@dataclass(frozen=True)
class Options:
    mpq: Path
    seed: int
    only: str
    keep: Path | None = None


def chosen(options: Options) -> list[Family]:
    names = [name for name in options.only.split(",") if name]
    known = [f for f in FAMILIES if f.oldest <= NEWEST_OPSET]
    return [f for f in known if not names or f.op in names]


def run_case(number: int, options: Options) -> Outcome:
    random = np.random.default_rng([options.seed, number])
    pool = chosen(options)
    kind = None
    for _ in range(TRIES):
        try:
            if random.random() < GRAPH_SHARE:
                case = drawn_graph(random, pool)
            else:
                _, _, case = single(Draw(random), pool[number % len(pool)])
            kind = kind or Outcome(number, "no kernel", case.label)
            expected = by_onnxruntime(case.model, case.feeds)
        except Redraw:
            continue
        except NoKernel as error:
            kind = Outcome(number, "no kernel", case.label, str(error))
            continue
        except Invalid as error:
            expected = str(error)
        outcome = check(number, case, expected, options)
        if outcome.kind == "failed" and 1 < len(case.model.graph.node):
            case = narrowed(case)
            narrow = check(number, case, by_onnxruntime(case.model, case.feeds), options)
            return narrow if narrow.kind == "failed" else outcome
        return outcome
    return kind or Outcome(number, "nothing drawn", pool[number % len(pool)].op)


def quiet() -> None:
    ort.set_default_logger_severity(4)


def run_chunk(numbers: list[int], options: Options, progress: Path) -> list[Outcome]:
    """In a process of its own: onnxruntime may crash. The file says which case was the last."""
    outcomes = []
    for number in numbers:
        (progress / str(os.getpid())).write_text(str(number))
        outcomes.append(run_case(number, options))
    return outcomes


def run_all(numbers: list[int], options: Options) -> list[Outcome]:
    chunks = [numbers[i : i + 50] for i in range(0, len(numbers), 50)]
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder)
        try:
            with ProcessPoolExecutor(os.cpu_count(), initializer=quiet) as pool:
                jobs = [pool.submit(run_chunk, chunk, options, progress) for chunk in chunks]
                return [outcome for job in jobs for outcome in job.result()]
        except BrokenProcessPool:
            last = sorted(int(path.read_text()) for path in progress.iterdir())
            text = "\n".join(f"  --seed {options.seed} --case {n}" for n in last)
            raise SystemExit(f"onnxruntime crashed on one of\n{text}") from None


def report(outcomes: list[Outcome], options: Options) -> None:
    count = collections.Counter(outcome.kind for outcome in outcomes)
    for kind in ("note", "failed"):
        for outcome in outcomes:
            if outcome.kind == kind:
                print(f"{kind}: --seed {options.seed} --case {outcome.number}\n  {outcome.label}")
                print(f"  {outcome.said}" if kind == "failed" else f"  onnxruntime: {outcome.said}")
    missing = collections.Counter(
        re.sub(r"node `?v?[0-9]*`? ?\((\w+).*\)(:| with inputs [^:]*:)", r"\1:", line.strip())
        for outcome in outcomes
        if outcome.kind == "not supported"
        for line in outcome.said.splitlines()
        if "operator is not supported" in line or "; supported: " in line
    )
    for said, n in sorted(missing.items()):
        print(f"not supported, {n} times: {said}")
    ran = {op for outcome in outcomes if outcome.kind == "passed" for op in outcome.ops}
    never = sorted({f.op for f in chosen(options)} - ran)
    if never:
        print("never compared: " + ", ".join(never))
    print(f"seed {options.seed}: " + ", ".join(f"{n} {kind}" for kind, n in count.most_common()))


def main() -> None:
    options = mpq.parser(__doc__)
    options.add_argument("--cases", type=int, default=6000, metavar="N", help="how many [default: 6000]")
    options.add_argument("--seed", type=int, default=1, metavar="N", help="of the draws [default: 1]")
    options.add_argument("--case", type=int, metavar="K", help="only this one")
    options.add_argument("--only", default="", metavar="A,B", help="only these operators")
    options.add_argument("--keep", type=Path, metavar="DIR", help="leave the files of --case here")
    given = options.parse_args()
    chosen_options = Options(given.mpq, given.seed, given.only, given.keep)
    if given.case is None:
        outcomes = run_all(list(range(given.cases)), chosen_options)
    else:
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
        outcomes = [run_case(given.case, chosen_options)]
        print(outcomes[0].label)
    report(outcomes, chosen_options)
    if any(outcome.kind == "failed" for outcome in outcomes):
        raise SystemExit("mpq and onnxruntime differ")


if __name__ == "__main__":
    main()
