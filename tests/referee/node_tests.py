"""The ONNX project's own tests, through `mpq run --check`.

The data lie in the `onnx` package: node, simple, pytorch-converted, pytorch-operator and light. Newer
packages have the node tests as code instead, which is run here: so the same script tests against the
package of `requirements.txt` and against that of `newest.txt`, with the newest opsets. Left out are only strings, sequences, optionals, sparse tensors, other domains than ONNX's own, training and
random operators. mpq has to answer each of the others with "equal" (exit code 0) or, for those that
`node_tests.txt` lists as refused, with "not supported" (2). Tests that are listed as corrected have wrong
data in that version of the package and right ones in a later one. Any other wrong result, a crash or a
run of more than a minute is never right, nor is a line of the list that is no longer needed.
"""

import collections
import math
import os
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper

import mpq

SUITES = ["node", "simple", "pytorch-converted", "pytorch-operator", "light"]
EXCEPTIONS = Path(__file__).with_suffix(".txt")
LEAST_PASSED = 0.98
SECONDS = 60

RANDOM = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}
TEXT = {"RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"}
DOMAINS = {"", "ai.onnx"}

# The absolute difference allowed where the expected values have float32 rounding errors in place of zeros.
NOISY = {"test_dft_inverse": 1e-6, "test_dft_inverse_opset19": 1e-6}


@dataclass(frozen=True)
class Case:
    name: str
    folder: Path
    rtol: float = 1e-3
    atol: float = 1e-7


def graphs(model: ModelProto) -> list[GraphProto]:
    """The main graph and all that lie in it."""
    found, waiting = [], [model.graph]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        waiting += [a.g for a in attributes if a.type == AttributeProto.GRAPH]
    return found


def is_training(node: onnx.NodeProto) -> bool:
    modes = [a.i for a in node.attribute if a.name == "training_mode"]
    return any(modes)


def roundings(model: ModelProto) -> float:
    """The relative difference that two roundings of a 16-bit type can make.

    Those tests are computed in that type, operator by operator, with sums in an order of their own.
    """
    types = {info.type.tensor_type.elem_type for info in model.graph.output}
    if TensorProto.BFLOAT16 in types:
        return 2.0**-6
    return 2.0**-9 if TensorProto.FLOAT16 in types else 0.0


def why_not(model: ModelProto) -> str | None:
    """Why a test is not eligible."""
    for graph in graphs(model):
        for info in [*graph.input, *graph.output]:
            kind = info.type.WhichOneof("value")
            if kind not in (None, "tensor_type"):
                return kind.removesuffix("_type")
            if info.type.tensor_type.elem_type == TensorProto.STRING:
                return "string"
        for node in graph.node:
            if node.domain not in DOMAINS:
                return "domain"
            if node.op_type in RANDOM:
                return "random"
            if node.op_type in TEXT:
                return "string"
            if is_training(node):
                return "training"
    return None


def light_case(model: Path, scratch: Path) -> Case:
    """These come without inputs: the package's own runner counts from 0 to 1."""
    folder = scratch / model.stem
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    os.symlink(model, folder / "model.onnx")
    os.symlink(model.with_name(f"{model.stem}_output_0.pb"), data / "output_0.pb")
    graph = onnx.load(model).graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in initializers]
    for index, info in enumerate(inputs):
        shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
        size = math.prod(shape)
        values = (np.arange(size).reshape(shape) / size).astype(np.float32)
        tensor = numpy_helper.from_array(values)
        (data / f"input_{index}.pb").write_bytes(tensor.SerializeToString())
    return Case(model.stem, folder)


def save_tensor(value: object, info: onnx.ValueInfoProto, path: Path) -> None:
    if isinstance(value, TensorProto):
        tensor = value
    elif isinstance(value, np.ndarray) or np.isscalar(value):
        tensor = numpy_helper.from_array(np.asarray(value), info.name)
    else:
        return  # A sequence or nothing: not eligible.
    path.write_bytes(tensor.SerializeToString())


def written_case(test: object, scratch: Path) -> Case:
    """A test that is code, as files."""
    folder = scratch / test.name
    folder.mkdir()
    onnx.save(test.model, folder / "model.onnx")
    for number, (inputs, outputs) in enumerate(test.data_sets):
        data = folder / f"test_data_set_{number}"
        data.mkdir()
        graph = test.model.graph
        for kind, values, infos in [("input", inputs, graph.input), ("output", outputs, graph.output)]:
            for index, (value, info) in enumerate(zip(values, infos)):
                save_tensor(value, info, data / f"{kind}_{index}.pb")
    rtol = max(test.rtol, roundings(test.model))
    return Case(test.name, folder, rtol, test.atol)


def written_cases(scratch: Path) -> list[Case]:
    # Only the packages that have no data need this module, and it is slow to import.
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = node.collect_testcases(None)
    return [written_case(test, scratch) for test in sorted(tests, key=lambda test: test.name)]


def all_cases(scratch: Path) -> list[Case]:
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    cases = []
    for suite in SUITES:
        if suite == "node" and not (data / suite).exists():
            cases += written_cases(scratch)
        elif suite == "light":
            models = sorted((data / suite).glob("*.onnx"))
            cases += [light_case(model, scratch) for model in models]
        else:
            folders = sorted(model.parent for model in (data / suite).glob("*/model.onnx"))
            cases += [Case(folder.name, folder) for folder in folders]
    return cases


def answer(binary: Path, case: Case) -> tuple[str, str]:
    """`passed`, `refused` or `failed`, and what mpq said."""
    command = [binary, "run", case.folder / "model.onnx", "--check", case.folder]
    command += ["--rtol", str(case.rtol), "--atol", str(NOISY.get(case.name, case.atol))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "failed", f"no answer within {SECONDS} s"
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        return "passed", said
    if done.returncode == 2 and "not supported" in done.stderr:
        return "refused", said
    return "failed", f"exit code {done.returncode}: {said}"


def version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def expected_answers() -> dict[str, str]:
    """`refused` or `failed` for the tests whose answer that has to be."""
    listed = {}
    for line in EXCEPTIONS.read_text().splitlines():
        match line.split(maxsplit=3):
            case [] | ["#", *_]:
                continue
            case ["refused", name, *_]:
                listed[name] = "refused"
            case ["corrected", name, later, *_]:
                if version(onnx.__version__) < version(later):
                    listed[name] = "failed"
            case _:
                raise SystemExit(f"{EXCEPTIONS.name}: `{line}` begins with no known word")
    return listed


def main() -> None:
    options = mpq.parser(__doc__)
    options.add_argument("--only", metavar="TEXT", default="", help="tests with this in their name")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cases = all_cases(Path(scratch))
        left_out = collections.Counter()
        eligible = []
        for case in cases:
            model = onnx.load(case.folder / "model.onnx", load_external_data=False)
            reason = why_not(model)
            if reason is not None:
                left_out[reason] += 1
            if reason is None and options.only in case.name:
                eligible.append(case)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            answers = list(pool.map(lambda case: answer(options.mpq, case), eligible))
    report(cases, left_out, eligible, answers, is_whole=not options.only)


def report(
    cases: list[Case],
    left_out: collections.Counter,
    eligible: list[Case],
    answers: list[tuple[str, str]],
    is_whole: bool,
) -> None:
    listed = expected_answers()
    count = collections.Counter(kind for kind, _ in answers)
    wrong = 0
    for case, (kind, said) in zip(eligible, answers):
        if kind != listed.get(case.name, "passed"):
            print(f"{case.name}: {kind}: {said}")
            wrong += 1
    if is_whole:
        for name in sorted(listed.keys() - {case.name for case in eligible}):
            print(f"{name}: no such test, take it off {EXCEPTIONS.name}")
            wrong += 1
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.most_common())
        print(f"{len(cases)} tests, {len(eligible)} eligible; left out: {reasons}")
    share = count["passed"] / max(len(eligible), 1)
    print(
        f"{count['passed']} passed ({share:.1%}), {count['refused']} not supported, "
        f"{count['failed']} failed"
    )
    if wrong or (is_whole and share < LEAST_PASSED):
        raise SystemExit("the answers are not what they have to be")


if __name__ == "__main__":
    main()
