"""The table of results in the README: accuracy and SQNR of every network, uniform and mixed.

A cell is the accuracy on the whole validation set in percent (top-1; mean IoU for DeepLab) and the
pooled SQNR in dB on the first 64 validation samples (45 for DeepLab). Ranges and sensitivities come
from the first 64 calibration samples (32 for DeepLab and MiniLM, 16 for the ViT), which are disjoint
from the validation set. Of the ViT the first 100 validation images count.
Every budget is a search on the same sensitivities. Columns after the uniform ones are budgets in
BOPs relative to uniform W8A16.

With several strategies a network has a row for each, and one for what the last is ahead of the first:
dB on the samples that searches measure with, and on the validation samples.

Finished cells are kept in `target/results` and taken from there as long as the binary is the
same, so a run that was stopped goes on where it was.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import mpq
from networks import Network, named

UNIFORM = ["W8A16", "W8A8", "W4A8"]
BUDGETS = ["0.5", "0.4", "0.35", "0.3"]
SQNR_SAMPLES = 64


class Kept:
    """Finished work by key, in a file that is rewritten after each piece."""

    def __init__(self, path: Path):
        self.path = path
        self.entries = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: list[str], compute):
        name = " ".join(key)
        if name not in self.entries:
            start = time.monotonic()
            self.entries[name] = compute()
            print(f"{time.monotonic() - start:7.1f} s  {name}", file=sys.stderr)
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.entries, indent=1))
            partial.replace(self.path)
        return self.entries[name]


class Results:
    def __init__(self, options):
        self.options = options
        options.work.mkdir(parents=True, exist_ok=True)
        self.kept = Kept(options.work / "results.json")
        binary = hashlib.sha256(options.mpq.read_bytes()).hexdigest()
        self.settings = [options.range, binary[:16]]

    def calib(self, network: Network) -> list:
        return network.calib("--calib", self.options.test_data, self.options.work)

    def mpq(self, command: str, network: Network, *args: object) -> str:
        model = network.model(self.options.test_data)
        return mpq.run(self.options.mpq, command, model, *args)

    def sensitivities(self, network: Network) -> Path:
        path = self.options.work / f"{'_'.join([network.name, *self.settings])}.json"
        if not path.exists():
            start = time.monotonic()
            flags = [*self.calib(network), "--range", self.options.range, "-o", path]
            self.mpq("sensitivity", network, *flags, *network.flags)
            elapsed = time.monotonic() - start
            print(f"{elapsed:7.1f} s  {network.name} sensitivities", file=sys.stderr)
        return path

    def evaluated(self, network: Network, *quantized: object) -> dict:
        """Accuracies of the float and the quantized network, and the SQNR; by two evaluations."""
        data = self.options.test_data
        flags = [*quantized, "--json", *network.flags]
        labels = ["--labels", data / network.labels, "--metric", network.metric]
        val = network.val("--data", data, network.val_samples, self.options.work)
        whole = json.loads(self.mpq("eval", network, *val, *labels, *flags))
        first = network.val("--data", data, SQNR_SAMPLES, self.options.work)
        few = json.loads(self.mpq("eval", network, *first, *flags))
        metric = network.metric.split("=")[0]
        return {
            "float": whole["float"][metric],
            "accuracy": whole["quantized"][metric],
            "sqnr_db": few["quantized"]["sqnr_db"],
        }

    def uniform(self, network: Network, candidate: str) -> dict:
        calib = [*self.calib(network), "--range", self.options.range]
        key = [network.name, candidate, *self.settings]
        return self.kept.get(
            key, lambda: self.evaluated(network, "--uniform", candidate, *calib)
        )

    def mixed(self, network: Network, strategy: str) -> list[dict]:
        def cell(budget: str) -> dict:
            key = [network.name, budget, strategy, *self.settings]
            return self.kept.get(key, lambda: self.searched(network, budget, strategy))

        return [cell(budget) for budget in BUDGETS]

    def searched(self, network: Network, budget: str, strategy: str) -> dict:
        config = self.options.work / f"{network.name}_{budget}_{strategy}.json"
        measured = ["--sensitivity", self.sensitivities(network), *self.calib(network)]
        goal = ["--budget", budget, "--strategy", strategy]
        self.mpq("search", network, *measured, *goal, "-o", config)
        file = json.loads(config.read_text())
        found = self.evaluated(network, "--config", config)
        cost, quality = file["cost"], file["quality"]
        measured = {"relative_bops": cost["relative_bops"], "calib_sqnr_db": quality["sqnr_db"]}
        return found | measured

    def rows(self, network: Network) -> list[list[str]]:
        strategies = self.options.strategy.split(",")
        mixed = [self.mixed(network, strategy) for strategy in strategies]
        if len(strategies) == 1:
            uniform = [self.uniform(network, candidate) for candidate in UNIFORM]
            float_accuracy = percent(uniform[0]["float"])
            return [[network.name, float_accuracy, *map(both, uniform), *map(both, mixed[0])]]
        rows = [[network.name, name, *map(both, row)] for name, row in zip(strategies, mixed)]
        ahead = [
            " / ".join(f"{last[key] - first[key]:+.1f}" for key in ("calib_sqnr_db", "sqnr_db"))
            for first, last in zip(mixed[0], mixed[-1])
        ]
        return [*rows, [network.name, f"{strategies[-1]} ahead of {strategies[0]}, dB", *ahead]]


def both(cell: dict) -> str:
    return f"{percent(cell['accuracy'])} / {decibels(cell)}"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def decibels(cell: dict) -> str:
    """An SQNR that is null has no noise at all."""
    return "no noise" if cell["sqnr_db"] is None else f"{cell['sqnr_db']:.1f}"


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    mpq.add_data_options(options)
    options.add_argument("--strategy", default="pareto", help="how to search, by commas [default: pareto]")
    options.add_argument("--range", default="mse", help="of weights and activations [default: mse]")
    options.add_argument(
        "--work", type=Path, default=mpq.ROOT / "target" / "results",
        help="where finished cells, sensitivities and configurations are kept",
    )
    results = Results(options.parse_args())
    if "," in results.options.strategy:
        columns = ["network", "strategy", *BUDGETS]
    else:
        columns = ["network", "float", *UNIFORM, *BUDGETS]
    print(f"| {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * (len(columns) - 1)}|")
    for network in named(results.options.networks):
        for row in results.rows(network):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
