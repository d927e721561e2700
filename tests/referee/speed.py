"""Speed of mpq beside onnxruntime, as tables for the README.

The tools take turns, in an order that alternates from round to round, so that whatever else the
machine does meets both. A time is the median of the rounds, each of which is the median of several
passes; a ratio is that of two such medians, with the least and the largest of a single round in
brackets. onnxruntime runs with all optimizations and knows all sizes.

Parts:

- float: one sample by one thread; milliseconds, and mpq's over onnxruntime's.
- threads: 16 samples shared out among two threads of mpq, its throughput over that of one.
- phase1: `mpq sensitivity` of 64 images with two threads, over what onnxruntime would take with two
  threads to run the network once for every measurement of every image, at batch 1 or 8, whichever is
  faster. A measurement is one choice of one group.
- search: `mpq search` of 64 images with two threads, from the start of the process to its end.
- cost: how time and memory of `mpq sensitivity` grow, with samples and with the size of the network;
  without --networks also of one that is ten times larger. The cone of a measurement is the part of
  the network that depends on what is quantized.

Nothing else should run meanwhile. The binary and the benches are built first if they have to be.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from functools import cached_property
from pathlib import Path

import onnxruntime as ort

import mpq
import resnet50
from networks import NETWORKS, Arrays, Network, images, named
from timing import Child, Onnxruntime, Ratio, child, in_turns, json_of

TITLES = {
    "efficientnet_lite0": "EfficientNet-Lite0",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_textdir": "MobileNetV3-small, text direction",
    "resnet20_cifar10": "ResNet-20",
    "deeplabv3_mnv2_257": "DeepLabV3",
    "minilm_l6_sst2": "MiniLM-L6, 64 tokens",
    "vit_s14_8blk_animal": "ViT-S/14 of 8 blocks",
}
# So small that it says little of the kernels.
NOT_IN_MEAN = "mobilenet_v3_textdir"
DIMS = {"minilm_l6_sst2": {"L": 64}}
SAMPLES, THREADS, THREADED_SAMPLES = 64, 2, 16
PHASE1, SEARCH = "efficientnet_lite0", "mobilenet_v2"
COST = {
    "resnet20_cifar10": (64, 256, 1024),
    "mobilenet_v2": (64,),
    "efficientnet_lite0": (16, 64, 256),
}
LARGE, LARGE_SAMPLES = "ResNet-50, random weights and images", (4, 16)


class Programs:
    """The binary and the benches of this source, with optimization."""

    def __init__(self):
        targets = ["--bin=mpq", "--bench=networks", "--bench=phase1"]
        command = ["cargo", "build", "--release", "--locked", *targets, "--message-format=json"]
        built = subprocess.run(command, cwd=mpq.ROOT, stdout=subprocess.PIPE, text=True)
        if built.returncode != 0:
            raise SystemExit("the build failed")
        messages = [json.loads(line) for line in built.stdout.splitlines()]
        found = {
            message["target"]["name"]: Path(message["executable"])
            for message in messages
            if message.get("executable")
        }
        self.mpq, self.networks, self.phase1 = (
            found[name] for name in ("mpq", "networks", "phase1")
        )


class Speed:
    def __init__(self, options, work: Path):
        self.options, self.work = options, work
        self.data, self.rounds = options.test_data, options.rounds

    @cached_property
    def programs(self) -> Programs:
        return Programs()

    def networks(self, by_default: list[str] | None = None) -> list[Network]:
        asked = self.options.networks
        return named(asked if asked or by_default is None else ",".join(by_default))

    def passes(self, session: Onnxruntime) -> int:
        """How many take as long as a round should."""
        one_s = session.median_s(3) * session.batch
        return max(5, round(self.options.round_s / one_s))

    def bench(self, network: Network, *flags: object) -> dict:
        """A line of the bench of whole networks."""
        for name, size in DIMS.get(network.name, {}).items():
            flags = (*flags, "--dim", f"{name}={size}")
        return json_of(self.programs.networks, "--json", *flags, network.model(self.data))

    def header(self) -> list[str]:
        rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
        versions = [
            mpq.run(self.programs.mpq, "--version").strip(),
            " ".join(rustc.split()[:2]),
            f"onnxruntime {ort.__version__}",
        ]
        machine = f"{cpu_model()}, {os.cpu_count()} cores"
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return [f"{machine}; {', '.join(versions)}; {date.today()}; {rounds}."]

    def float(self) -> list[str]:
        networks = sorted(self.networks(), key=lambda network: network.name == NOT_IN_MEAN)
        columns = ["one thread, one sample", "onnxruntime", "mpq", "mpq / onnxruntime", "of peak"]
        lines, ratios = heading(columns), []
        for network in networks:
            if network.name == NOT_IN_MEAN and 1 < len(ratios):
                lines.append(self.mean(ratios))
            cells, ratio = self.float_cells(network)
            ratios.append(ratio)
            lines.append(row(TITLES[network.name], *cells))
        if networks[-1].name != NOT_IN_MEAN and 1 < len(ratios):
            lines.append(self.mean(ratios))
        return lines

    def float_cells(self, network: Network) -> tuple[list[str], Ratio]:
        model, dims = network.model(self.data), DIMS.get(network.name, {})
        session = Onnxruntime(model, threads=1, batch=1, dims=dims)
        passes = self.passes(session)
        of_peak = []

        def ours() -> float:
            bench = self.bench(network, "--passes", passes)
            of_peak.append(bench["macs_per_s"] / (bench["peak_macs_per_s"] or float("nan")))
            return bench["median_s"]

        theirs_s, ours_s = in_turns(self.rounds, lambda: session.median_s(passes), ours)
        ratio = Ratio.of(ours_s, theirs_s)
        cells = [milliseconds(theirs_s), milliseconds(ours_s), str(ratio)]
        return [*cells, f"{100 * statistics.median(of_peak):.0f} %"], ratio

    @staticmethod
    def mean(ratios: list[Ratio]) -> str:
        return row("geometric mean of these", "", "", str(Ratio.mean(ratios)), "")

    def threads(self) -> list[str]:
        columns = [f"{THREADED_SAMPLES} samples", "one thread", f"{THREADS} threads", "throughput"]
        lines = heading(columns)
        for network in self.networks():
            session = Onnxruntime(network.model(self.data), 1, 1, DIMS.get(network.name, {}))
            passes = max(3, self.passes(session) // THREADED_SAMPLES)
            flags = ["--samples", THREADED_SAMPLES, "--passes", passes]
            one_s, more_s = in_turns(
                self.rounds,
                lambda: self.bench(network, *flags, "--threads", 1)["median_s"],
                lambda: self.bench(network, *flags, "--threads", THREADS)["median_s"],
            )
            cells = [milliseconds(one_s), milliseconds(more_s), str(Ratio.of(one_s, more_s))]
            lines.append(row(TITLES[network.name], *cells))
        return lines

    def calib(self, network: Network, samples: int) -> list:
        """Flags of that many calibration samples; images are taken again if there are too few."""
        flags = [*network.flags, "--samples", samples, "--threads", THREADS]
        if isinstance(network.source, Arrays):
            source = network.source
            return [*source.flags("--calib", self.data, source.calib, samples, self.work), *flags]
        folder = self.work / f"{network.name}_{samples}"
        if not folder.exists():
            folder.mkdir()
            paths = images(self.data / network.source.calib)
            for number in range(samples):
                path = paths[number % len(paths)].resolve()
                (folder / f"{number:05}{path.suffix}").symlink_to(path)
        return ["--calib", folder, *flags]

    def sensitivity(self, model: Path, *flags: object) -> tuple[Child, int]:
        """One run, and how many measurements it was."""
        file = self.work / "sensitivity.json"
        done = child(self.programs.mpq, "sensitivity", model, *flags, "-q", "-o", file)
        groups = json.loads(file.read_text())["groups"]
        return done, sum(len(group["choices"]) for group in groups)

    def phase1(self) -> list[str]:
        columns = [f"{SAMPLES} samples, {THREADS} threads", "onnxruntime, a sample", "measurements"]
        lines = heading([*columns, "mpq sensitivity", "CPU", "peak memory", "mpq / onnxruntime"])
        for network in self.networks([PHASE1]):
            lines.append(self.phase1_row(network))
        return lines

    def phase1_row(self, network: Network) -> str:
        model, dims = network.model(self.data), DIMS.get(network.name, {})
        calib = self.calib(network, SAMPLES)
        sessions = [Onnxruntime(model, THREADS, batch, dims) for batch in (1, 8)]
        passes = [self.passes(session) for session in sessions]
        runs = []

        def ours() -> float:
            runs.append(self.sensitivity(model, *calib))
            return runs[-1][0].wall_s

        by_one_s, by_eight_s, ours_s = in_turns(
            self.rounds,
            lambda: sessions[0].median_s(passes[0]),
            lambda: sessions[1].median_s(passes[1]),
            ours,
        )
        theirs_s = min(by_one_s, by_eight_s, key=statistics.median)
        measurements = runs[0][1]
        all_s = [one * SAMPLES * measurements for one in theirs_s]
        peak_bytes = max(done.peak_bytes for done, _ in runs)
        return row(
            TITLES[network.name],
            f"{milliseconds(by_one_s)} (by 8: {milliseconds(by_eight_s)})",
            str(measurements),
            seconds(ours_s),
            seconds([done.cpu_s for done, _ in runs]),
            megabytes(peak_bytes),
            str(Ratio.of(ours_s, all_s)),
        )

    def search(self) -> list[str]:
        columns = [f"mpq search, {SAMPLES} samples, {THREADS} threads", "start to finish"]
        lines = heading([*columns, "CPU", "peak memory"])
        for network in self.networks([SEARCH]):
            flags = [*self.calib(network, SAMPLES), "--budget", "0.5", "-q"]
            command = [self.programs.mpq, "search", network.model(self.data), *flags]
            runs = [child(*command, "-o", self.work / "config.json") for _ in range(self.rounds)]
            wall_s = [run.wall_s for run in runs]
            spread = f"{seconds(wall_s)} ({min(wall_s):.2f}..{max(wall_s):.2f})"
            cpu, memory = [run.cpu_s for run in runs], max(run.peak_bytes for run in runs)
            lines.append(row(TITLES[network.name], spread, seconds(cpu), megabytes(memory)))
        return lines

    def cost(self) -> list[str]:
        columns = ["mpq sensitivity", "GMAC", "measurements", "mean cone", "samples", "wall", "CPU"]
        lines = heading([*columns, "ms per measurement, sample and GMAC of cone", "peak memory"])
        for network in self.networks(list(COST)):
            model = network.model(self.data)
            cones = self.cones(model, self.calib(network, 1))
            for samples in COST.get(network.name, (SAMPLES,)):
                calib = self.calib(network, samples)
                lines.append(self.cost_row(TITLES[network.name], model, cones, samples, calib))
        if not self.options.networks:
            model = resnet50.write(self.work / "resnet50.onnx")
            noise = ["--calib", "noise", "--threads", THREADS]
            cones = self.cones(model, [*noise, "--samples", 1])
            for samples in LARGE_SAMPLES:
                calib = [*noise, "--samples", samples]
                lines.append(self.cost_row(LARGE, model, cones, samples, calib))
        return lines

    def cones(self, model: Path, calib: list) -> dict:
        """What the bench of Phase 1 counts, which does not depend on the samples."""
        return json_of(self.programs.phase1, model, *calib, "--json")

    def cost_row(self, title: str, model: Path, cones: dict, samples: int, calib: list) -> str:
        runs = [self.sensitivity(model, *calib) for _ in range(self.rounds)]
        wall_s = [done.wall_s for done, _ in runs]
        measurements, cone_gmacs = cones["measurements"], cones["cone_macs"] / 1e9
        each_s = statistics.median(wall_s) / (cone_gmacs * samples)
        return row(
            title,
            f"{cones['macs'] / 1e9:.3f}",
            str(measurements),
            f"{cone_gmacs / measurements:.3f} GMAC",
            str(samples),
            seconds(wall_s),
            seconds([done.cpu_s for done, _ in runs]),
            f"{1e3 * each_s:.2f}",
            megabytes(max(done.peak_bytes for done, _ in runs)),
        )


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def heading(columns: list[str]) -> list[str]:
    return [row(*columns), row(*["---"] * len(columns))]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def milliseconds(times_s: list[float]) -> str:
    return f"{1e3 * statistics.median(times_s):.3g} ms"


def seconds(times_s: list[float]) -> str:
    return f"{statistics.median(times_s):.2f} s"


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"


PARTS = {
    "float": Speed.float,
    "threads": Speed.threads,
    "phase1": Speed.phase1,
    "search": Speed.search,
    "cost": Speed.cost,
}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mpq.add_data_options(options)
    options.add_argument("--parts", metavar="A,B", help=f"of {', '.join(PARTS)} [default: all]")
    options.add_argument("--rounds", type=int, default=7, help="[default: 7]")
    options.add_argument(
        "--round-s", type=float, default=0.5,
        help="seconds that a tool runs a network in a round [default: 0.5]",
    )
    options = options.parse_args()
    names = options.parts.split(",") if options.parts else list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"parts are {', '.join(PARTS)}; found {', '.join(unknown)}")
    # Of the last minute; what ran before has left a part of it.
    if 0.5 < os.getloadavg()[0]:
        print("warning: the machine is busy: times of two threads mean little", file=sys.stderr)
    with tempfile.TemporaryDirectory() as work:
        speed = Speed(options, Path(work))
        print("\n".join(speed.header()), flush=True)
        for name in names:
            print("\n" + "\n".join(PARTS[name](speed)), flush=True)


if __name__ == "__main__":
    main()
