"""Times two tools in turns, and a child process with the most memory that it had."""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime as ort

# A process counts the memory of the one that started it, up to the moment when it begins a program of
# its own; this one is small.
LAUNCHER = """
import json, os, sys, time
start = time.monotonic()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
elapsed = time.monotonic() - start
code, cpu = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
print(json.dumps([code, elapsed, cpu, 1024 * usage.ru_maxrss]))
"""
WARM_UP = 3


class Failed(Exception):
    """A child process ended with something other than 0."""


@dataclass(frozen=True)
class Child:
    """What it took from the start of a process to its end."""

    wall_s: float
    # Of all threads: far below threads times `wall_s` where other processes took turns.
    cpu_s: float
    peak_bytes: int


def child(*command: object) -> Child:
    """Runs a command that prints nothing to stdout."""
    command = [str(part) for part in command]
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER]
    done = subprocess.run([*launcher, *command], capture_output=True, text=True)
    code, *measured = json.loads(done.stdout) if done.returncode == 0 else [None]
    if code != 0:
        raise Failed(f"{' '.join(command)}\nexit code {code}\n{done.stderr}")
    return Child(*measured)


def json_of(*command: object) -> dict:
    """The object that a command prints."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


class Onnxruntime:
    """A session with all optimizations and all sizes known, and something to feed it."""

    def __init__(self, model: Path, threads: int, batch: int, dims: dict[str, int]):
        inputs = onnx.load(model, load_external_data=False).graph.input
        self.batch = batch
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for name, size in sizes(inputs, batch, dims).items():
            options.add_free_dimension_override_by_name(name, size)
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feeds = {value.name: numbers(value) for value in self.session.get_inputs()}
        for _ in range(WARM_UP):
            self.session.run(None, self.feeds)

    def median_s(self, passes: int) -> float:
        """Of one sample."""
        times_s = []
        for _ in range(passes):
            start = time.perf_counter()
            self.session.run(None, self.feeds)
            times_s.append(time.perf_counter() - start)
        return statistics.median(times_s) / self.batch


def sizes(inputs, batch: int, dims: dict[str, int]) -> dict[str, int]:
    """Of the free dimensions: the first of an input is the batch."""
    first = {value.type.tensor_type.shape.dim[0].dim_param: batch for value in inputs}
    return {name: size for name, size in (first | dims).items() if name}


def numbers(value: ort.NodeArg) -> np.ndarray:
    """Those that the bench of mpq takes: in [0, 1) for floats, 0 and 1 for integers."""
    index = np.arange(np.prod(value.shape, dtype=np.int64))
    match value.type:
        case "tensor(float)":
            elements = (index * 7919 % 1000).astype(np.float32) / np.float32(1000)
        case "tensor(int64)":
            elements = (index % 5 != 4).astype(np.int64)
        case other:
            raise SystemExit(f"input `{value.name}` is {other}, expected float32 or int64")
    return elements.reshape(value.shape)


def in_turns(rounds: int, *measure: Callable[[], float]) -> list[list[float]]:
    """For each of the measures what it gave in every round; every other round goes backwards."""
    results = [[] for _ in measure]
    turns = list(zip(results, measure))
    for number in range(rounds):
        for result, one in turns if number % 2 == 0 else turns[::-1]:
            # Threads that wait for the next pass in a loop give up before long.
            time.sleep(0.05)
            result.append(one())
    return results


@dataclass(frozen=True)
class Ratio:
    """Of two medians, and its values in the single rounds."""

    value: float
    rounds: list[float]

    @staticmethod
    def of(over: list[float], under: list[float]) -> "Ratio":
        value = statistics.median(over) / statistics.median(under)
        return Ratio(value, [a / b for a, b in zip(over, under)])

    @staticmethod
    def mean(ratios: list["Ratio"]) -> "Ratio":
        """The geometric one, also of every round."""
        rounds = zip(*(ratio.rounds for ratio in ratios))
        value = statistics.geometric_mean(ratio.value for ratio in ratios)
        return Ratio(value, [statistics.geometric_mean(values) for values in rounds])

    def __str__(self) -> str:
        return f"{self.value:.2f} ({min(self.rounds):.2f}..{max(self.rounds):.2f})"
