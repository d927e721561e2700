"""What shards cost against one run: in wall and CPU time two shards of one thread against two threads, and
in CPU time 16 shards against one. By hand; needs a quiet machine of two cores, equally fast: shares are
fixed, so the wall time of two shards is that of the slower core.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import mpq

NETWORKS = {
    "EfficientNet-Lite0": ("efficientnet_lite0.onnx", "imagenet/calib"),
    "ResNet-20": ("resnet20_cifar10.onnx", "cifar10/calib"),
}


class Runs:
    """Runs of `mpq sensitivity` in a folder of their own, without a cache."""

    def __init__(self, binary: Path, model: Path, calib: Path, samples: int, folder: Path) -> None:
        command = [binary, "sensitivity", model, "--calib", calib, "--samples", samples, "--quiet"]
        self.command = [str(word) for word in [*command, "--no-cache"]]
        self.binary, self.folder = binary, folder

    def start(self, *flags: object) -> subprocess.Popen:
        return subprocess.Popen([*self.command, *map(str, flags)], cwd=self.folder)

    def finish(self, *runs: subprocess.Popen) -> None:
        for run in runs:
            assert run.wait() == 0, run.args

    def whole(self, threads: int) -> None:
        self.finish(self.start("--threads", threads, "-o", "whole.json"))

    def shards(self, n: int, together: int) -> None:
        """Ranges, all shards of one thread, some at a time, and the merge."""
        self.finish(self.start("--threads", together, "--ranges-only", "-o", "ranges.json"))
        parts = [f"{n}-{index}.json" for index in range(n)]
        for first in range(0, n, together):
            some = range(first, min(first + together, n))
            flags = lambda index: ("--shard", f"{index}/{n}", "--ranges", "ranges.json", "-o", parts[index])
            self.finish(*[self.start("--threads", 1, *flags(index)) for index in some])
        mpq.run(self.binary, "merge", *[self.folder / part for part in parts], "-o", self.folder / "merged.json", "-q")
        assert (self.folder / "merged.json").read_bytes() == (self.folder / "whole.json").read_bytes()


def used_s(work, *args: int) -> tuple[float, float]:
    """Wall and CPU time."""
    def now() -> tuple[float, float]:
        times = os.times()
        return time.monotonic(), times.children_user + times.children_system

    (wall, cpu), _ = now(), work(*args)
    return now()[0] - wall, now()[1] - cpu


def row(what: str, one: list[float], shards: list[float]) -> str:
    ratios = [b / a for a, b in zip(one, shards)]
    median = statistics.median
    spread = f"{min(ratios):.3f}..{max(ratios):.3f}"
    return f"| {what} | {median(one):.2f} s | {median(shards):.2f} s | {median(ratios):.3f} ({spread}) |"


def main() -> None:
    options = mpq.parser(__doc__)
    mpq.add_data_options(options)
    options.add_argument("--samples", type=int, default=256)
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    names = args.networks.split(",") if args.networks else NETWORKS
    print("| | one run | shards | ratio |\n| --- | --- | --- | --- |")
    for name in names:
        model, calib = NETWORKS[name]
        with tempfile.TemporaryDirectory() as folder:
            data = args.test_data
            runs = Runs(args.mpq.resolve(), data / "models" / model, data / calib, args.samples, Path(folder))
            rounds = range(args.rounds)
            both = [(used_s(runs.whole, 2), used_s(runs.shards, 2, 2)) for _ in rounds]
            for at, kind in enumerate(["wall", "CPU"]):
                pairs = [(whole[at], shards[at]) for whole, shards in both]
                print(row(f"{name}, 2 shards of one thread, {kind}", *zip(*pairs)), flush=True)
            cpus = [(used_s(runs.whole, 1)[1], used_s(runs.shards, 16, 1)[1]) for _ in rounds]
            print(row(f"{name}, 16 shards, CPU", *zip(*cpus)), flush=True)


if __name__ == "__main__":
    main()
