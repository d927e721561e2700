"""The table of roundings in the README: accuracy and SQNR of networks with few bits for weights.

A cell is the accuracy on the whole validation set in percent and the pooled SQNR in dB on its first 64
samples (45 for DeepLab); of the ViT the first 100 validation images count. Weights are rounded, and
ranges taken, on the first `--samples` calibration samples, which are disjoint from the validation
set. Times are those of `mpq round`.

Finished cells are kept in `target/results` as those of `results.py` are.
"""

import json
import time
from pathlib import Path

import mpq
from networks import Network, named
from results import Results, decibels, percent

METHODS = ["nearest", "gptq", "adaround"]
CANDIDATES = ["W4A32", "W3A32", "W4A8"]
NETWORKS = "resnet20_cifar10,efficientnet_lite0"


class Roundings(Results):
    def calib(self, network: Network) -> list:
        data, work = self.options.test_data, self.options.work
        return network.source.flags("--calib", data, network.source.calib, self.options.samples, work)

    def flags(self, network: Network, weights: str) -> list:
        return [*self.calib(network), "--range", self.options.range, "--weights", weights]

    def folder(self, network: Network, weights: str, method: str) -> tuple[Path, float]:
        """The rounded weights at 3 and 4 bits, and the seconds it took."""
        key = [network.name, weights, method, str(self.options.samples), *self.settings]
        folder = self.options.work / "_".join(["rounded", *key])

        def make() -> float:
            start = time.monotonic()
            flags = ["--rounding", method, "--bits", "3,4", "-o", folder]
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

    def row(self, network: Network, weights: str, method: str) -> str:
        cells = [self.cell(network, weights, method, candidate) for candidate in CANDIDATES]
        text = [f"{percent(cell['accuracy'])} / {decibels(cell)}" for cell in cells]
        seconds = "-" if method == "nearest" else f"{self.folder(network, weights, method)[1]:.0f} s"
        name = f"{network.name} ({percent(cells[0]['float'])})" if method == METHODS[0] else ""
        return f"| {' | '.join([name, weights, method, *text, seconds])} |"


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    mpq.add_data_options(options)
    options.set_defaults(networks=NETWORKS)
    options.add_argument("--weights", default="per-channel,per-tensor", help="scales of weights")
    options.add_argument("--samples", type=int, default=256, help="that weights are rounded on")
    options.add_argument("--range", default="mse", help="of weights and activations [default: mse]")
    options.add_argument(
        "--work", type=Path, default=mpq.ROOT / "target" / "results",
        help="where finished cells and rounded weights are kept",
    )
    roundings = Roundings(options.parse_args())
    columns = ["network (float)", "scales", "rounding", *CANDIDATES, "mpq round --bits 3,4"]
    print(f"| {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * (len(columns) - 1)}|")
    for network in named(roundings.options.networks):
        for weights in roundings.options.weights.split(","):
            for method in METHODS:
                print(roundings.row(network, weights, method), flush=True)


if __name__ == "__main__":
    main()
