"""The table of roundings in the README: accuracy and SQNR of networks with few bits for weights.

A cell is the accuracy on the whole validation set in percent and the pooled SQNR in dB on its first 64
samples (45 for DeepLab); of the ViT the first 100 validation images count. Weights are rounded, and
ranges taken, on the first `--samples` calibration samples, which are disjoint from the validation
set. Times are those of `mpq round`.

Parts (--part):

- uniform: one candidate everywhere, by rounding.
- mixed: searches at several budgets, weights rounded to nearest or by AdaRound, beside uniform AdaRound
  of equal cost (W6A8, W5A8 and W4A8 have 0.375, 0.3125 and 0.25 of the BOPs of W8A16).
- extended: the same with more candidates.
- equalize: weights to nearest, one scale for each: as they are, with --equalize, --bias-correction, both;
  and one for each channel with --bias-correction.
- corrected: the same with weights of AdaRound.
- whole: the columns of `results.py` with weights of AdaRound and corrected biases; `--strategy knapsack`.

Finished cells are kept in `target/results` as those of `results.py` are.
"""

import json
import time
from pathlib import Path

import mpq
from networks import Network, named
from results import BUDGETS as RESULTS_BUDGETS
from results import UNIFORM, Results, both, decibels, percent

METHODS = ["nearest", "gptq", "adaround"]
CANDIDATES = ["W4A32", "W3A32", "W4A8"]
NETWORKS = "resnet20_cifar10,efficientnet_lite0"
BUDGETS = {"0.4": None, "0.375": "W6A8", "0.35": None, "0.3125": "W5A8", "0.3": None, "0.25": "W4A8"}
LISTED = "W4A8,W8A8,W8A16"
EXTENDED = "W4A4,W4A6,W4A8,W6A6,W6A8,W8A6,W8A8,W8A16"
EQUALIZED = ["W8A8", "W8A32", "W4A32"]
CHANGES = {
    "nothing": [],
    "`--equalize`": ["--equalize"],
    "`--bias-correction`": ["--bias-correction"],
    "both": ["--equalize", "--bias-correction"],
}
CORRECTED = ["W4A32", "W4A8"]
CHANGED = {"per tensor": list(CHANGES), "per channel": ["nothing", "`--bias-correction`"]}
EXTENDED_BUDGETS = ["0.4", "0.3", "0.25", "0.2", "0.15"]


class Roundings(Results):
    def calib(self, network: Network) -> list:
        data, work = self.options.test_data, self.options.work
        return network.source.flags("--calib", data, network.source.calib, self.options.samples, work)

    def flags(self, network: Network, weights: str) -> list:
        return [*self.calib(network), "--range", self.options.range, "--weights", weights]

    def folder(
        self, network: Network, weights: str, method: str, bits: str = "3,4", more: tuple = ()
    ) -> tuple[Path, float]:
        """The rounded weights, and the seconds it took."""
        key = [network.name, weights, method, bits, str(self.options.samples), *self.settings, *more]
        folder = self.options.work / "_".join(["rounded", *key])

        def make() -> float:
            start = time.monotonic()
            flags = ["--rounding", method, "--bits", bits, "-o", folder, *more]
            self.mpq("round", network, *self.flags(network, weights), *network.flags, *flags)
            return time.monotonic() - start

        return folder, self.kept.get(["round", *key], make)

    def cell(self, network: Network, weights: str, method: str, candidate: str) -> dict:
        key = [network.name, weights, method, candidate, str(self.options.samples), *self.settings]
        rounded = []
        if method != "nearest":
            rounded = ["--rounded", self.folder(network, weights, method)[0]]
        flags = ["--uniform", candidate, *self.flags(network, weights), *rounded]
        return self.kept.get(key, lambda: self.evaluated(network, *flags))

    def rounded(self, network: Network, method: str) -> list:
        """At all widths that searches and uniform candidates of equal cost take."""
        if method == "nearest":
            return []
        return ["--rounded", self.folder(network, "per-channel", method, "4,5,6,8")[0]]

    def mixed(self, network: Network, method: str, listed: str, budget: str) -> dict:
        key = [network.name, "mixed", method, listed, budget, str(self.options.samples), *self.settings]
        rounded = self.rounded(network, method)

        def compute() -> dict:
            name = "_".join([network.name, method, listed.replace(",", "-"), *self.settings])
            measured = self.options.work / f"{name}.json"
            config = self.options.work / "rounding_config.json"
            calib = self.calib(network)
            flags = [*calib, "--range", self.options.range, "--candidates", listed, *rounded]
            if not measured.exists():
                self.mpq("sensitivity", network, *flags, *network.flags, "-o", measured)
            goal = ["--budget", budget, "--strategy", "knapsack", "-o", config]
            self.mpq("search", network, "--sensitivity", measured, *calib, *rounded, *goal)
            return self.evaluated(network, "--config", config, *rounded)

        return self.kept.get(key, compute)

    def uniform_rounded(self, network: Network, candidate: str) -> dict:
        key = [network.name, "uniform", candidate, str(self.options.samples), *self.settings]
        flags = [*self.flags(network, "per-channel"), *self.rounded(network, "adaround")]
        return self.kept.get(key, lambda: self.evaluated(network, "--uniform", candidate, *flags))

    def mixed_rows(self, network: Network) -> list[list[str]]:
        def uniform(candidate: str | None) -> str:
            return both(self.uniform_rounded(network, candidate)) if candidate else ""

        rows = []
        for method in ["nearest", "adaround"]:
            cells = [self.mixed(network, method, LISTED, budget) for budget in BUDGETS]
            rows.append([network.name, f"mixed, {method}", *map(both, cells)])
        equal = [uniform(candidate) for candidate in BUDGETS.values()]
        return [*rows, [network.name, "uniform W6A8, W5A8, W4A8, adaround", *equal]]

    def extended_rows(self, network: Network) -> list[list[str]]:
        rows = []
        for method in ["nearest", "adaround"]:
            for name, listed in [("three", LISTED), ("eight", EXTENDED)]:
                budgets = [b for b in EXTENDED_BUDGETS if listed == EXTENDED or 0.25 <= float(b)]
                cells = [both(self.mixed(network, method, listed, budget)) for budget in budgets]
                cells += [""] * (len(EXTENDED_BUDGETS) - len(cells))
                rows.append([network.name, f"{name} candidates, {method}", *cells])
        return rows

    def changed(self, network: Network, scales: str, change: str, candidate: str) -> dict:
        key = [network.name, "changed", change, candidate, str(self.options.samples), *self.settings]
        key += [] if scales == "per tensor" else [scales]
        flags = [*self.flags(network, scales.replace(" ", "-")), *CHANGES[change]]
        quantized = ["--uniform", candidate, *flags]
        return self.kept.get(key, lambda: self.evaluated(network, *quantized))

    def equalize_rows(self, network: Network) -> list[list[str]]:
        rows = []
        for scales, changes in CHANGED.items():
            for change in changes:
                cells = [self.changed(network, scales, change, candidate) for candidate in EQUALIZED]
                name = f"{network.name} ({percent(cells[0]['float'])})" if not rows else ""
                rows.append([name, scales if change == "nothing" else "", change, *map(both, cells)])
        return rows

    def corrected(self, network: Network, scales: str, change: str, candidate: str) -> dict:
        key = [network.name, "corrected", scales, change, candidate, str(self.options.samples)]
        weights, flags = scales.replace(" ", "-"), CHANGES[change]
        equalized = tuple(flag for flag in flags if flag == "--equalize")
        rounded = ["--rounded", self.folder(network, weights, "adaround", "4", equalized)[0]]
        quantized = ["--uniform", candidate, *self.flags(network, weights), *flags, *rounded]
        return self.kept.get([*key, *self.settings], lambda: self.evaluated(network, *quantized))

    def corrected_rows(self, network: Network) -> list[list[str]]:
        return [
            [network.name, scales, change]
            + [both(self.corrected(network, scales, change, candidate)) for candidate in CORRECTED]
            for scales, changes in CHANGED.items()
            for change in changes
        ]

    def whole_rows(self, network: Network) -> list[list[str]]:
        rounded = ["--rounded", self.folder(network, "per-channel", "adaround", "4,8")[0]]
        key = [network.name, "whole", str(self.options.samples), *self.settings]
        flags = [*self.flags(network, "per-channel"), "--bias-correction", *rounded]
        measured = self.options.work / f"{'_'.join(key)}.json"

        def uniform(candidate: str) -> dict:
            return self.evaluated(network, "--uniform", candidate, *flags)

        def searched(budget: str) -> dict:
            config = self.options.work / "rounding_config.json"
            if not measured.exists():
                listed = ["--candidates", LISTED, *network.flags]
                self.mpq("sensitivity", network, *flags, *listed, "-o", measured)
            goal = ["--budget", budget, "--strategy", "knapsack", "-o", config]
            given = ["--sensitivity", measured, *self.calib(network), *rounded]
            self.mpq("search", network, *given, *goal)
            return self.evaluated(network, "--config", config, *rounded)

        cells = [self.kept.get([*key, candidate], lambda: uniform(candidate)) for candidate in UNIFORM]
        cells += [self.kept.get([*key, budget], lambda: searched(budget)) for budget in RESULTS_BUDGETS]
        return [[network.name, *map(both, cells)]]

    def row(self, network: Network, weights: str, method: str) -> str:
        cells = [self.cell(network, weights, method, candidate) for candidate in CANDIDATES]
        text = [f"{percent(cell['accuracy'])} / {decibels(cell)}" for cell in cells]
        seconds = "-" if method == "nearest" else f"{self.folder(network, weights, method)[1]:.0f} s"
        name = f"{network.name} ({percent(cells[0]['float'])})" if method == METHODS[0] else ""
        return f"| {' | '.join([name, weights, method, *text, seconds])} |"


PARTS = {
    "uniform": (None, None),
    "mixed": (Roundings.mixed_rows, ["network", "", *BUDGETS]),
    "extended": (Roundings.extended_rows, ["network", "", *EXTENDED_BUDGETS]),
    "equalize": (Roundings.equalize_rows, ["network (float)", "scales", "changed", *EQUALIZED]),
    "whole": (Roundings.whole_rows, ["network", *UNIFORM, *RESULTS_BUDGETS]),
    "corrected": (Roundings.corrected_rows, ["network", "scales", "changed", *CORRECTED]),
}


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    mpq.add_data_options(options)
    options.set_defaults(networks=NETWORKS)
    options.add_argument("--part", default="uniform", choices=list(PARTS))
    options.add_argument("--weights", default="per-channel,per-tensor", help="scales of weights")
    options.add_argument("--samples", type=int, default=256, help="that weights are rounded on")
    options.add_argument("--range", default="mse", help="of weights and activations [default: mse]")
    options.add_argument(
        "--work", type=Path, default=mpq.ROOT / "target" / "results",
        help="where finished cells and rounded weights are kept",
    )
    roundings = Roundings(options.parse_args())
    networks = named(roundings.options.networks)
    rows, columns = PARTS[roundings.options.part]
    if rows:
        return table(columns, [row for network in networks for row in rows(roundings, network)])
    columns = ["network (float)", "scales", "rounding", *CANDIDATES, "mpq round --bits 3,4"]
    print(f"| {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * (len(columns) - 1)}|")
    for network in networks:
        for weights in roundings.options.weights.split(","):
            for method in METHODS:
                print(roundings.row(network, weights, method), flush=True)


def table(columns: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * (len(columns) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
