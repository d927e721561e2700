"""How far a sensitivity list can be trusted, as tables for the README.

- samples: Kendall's tau of lists from 4 to 128 calibration samples with that from 256.
- sets: tau between lists from other samples: four disjoint quarters of the calibration set, images from
  elsewhere, noise. Ranges come from the same samples as the list.
- labels: lists by the accuracy on labelled images (--rank-by), against lists by SQNR: tau, and what the
  walk down each of them comes to on other images.
- aggregates: the ways to sum noise up over samples (--sqnr): how much of the list of 256 samples do 16
  give, how near is it to the list by accuracy, and what the walk comes to.

Tau is tau-b of what lists are in the order of, over all entries, and over those of groups with weights
after the slash. A cell of a walk is top-1 in percent and the pooled SQNR in dB.
"""

import itertools
import json
import statistics
from pathlib import Path

import numpy as np

import mpq
from networks import Network, images, named
from results import Kept, decibels, percent

NETWORKS = "resnet20_cifar10,efficientnet_lite0,mobilenet_v2"
SAMPLES = [4, 8, 16, 32, 64, 128]
BUDGETS = ["0.5", "0.4", "0.35", "0.3"]
AGGREGATES = ["pooled", "mean", "db"]
# Of the validation images: these rank by accuracy, the others judge what comes of it.
RANKING = 250


def tau_b(a: np.ndarray, b: np.ndarray) -> float:
    below = np.tril_indices(len(a), -1)

    def order(x: np.ndarray) -> np.ndarray:
        return ((x[:, None] > x[None]).astype(int) - (x[:, None] < x[None]))[below]

    in_a, in_b = order(a), order(b)
    return float((in_a * in_b).sum() / np.sqrt(np.abs(in_a).sum() * np.abs(in_b).sum()))


def sqnr_db(signal: np.ndarray, noise: np.ndarray, aggregate: str) -> float:
    """Of one output; infinite without any noise."""
    with np.errstate(divide="ignore"):
        if aggregate == "pooled":
            return float(10 * np.log10(signal.sum() / noise.sum()))
        ratios = signal / noise
        if aggregate == "mean":
            return float(10 * np.log10(ratios.mean()))
        return float((10 * np.log10(ratios)).mean())


class List:
    """What `mpq sensitivity` wrote."""

    def __init__(self, path: Path):
        self.path = path
        self.file = json.loads(path.read_text())
        self.entries = [
            (group["id"], choice["candidate"], choice, bool(group["weights"]))
            for group in self.file["groups"]
            for choice in group["choices"]
        ]

    def sqnr(self, aggregate: str) -> np.ndarray:
        (output,) = self.file["outputs"]
        signal = np.array(self.file["signal_power"][output])
        noise = [np.array(choice["noise_power"][output]) for _, _, choice, _ in self.entries]
        return np.array([sqnr_db(signal, powers, aggregate) for powers in noise])

    def score(self) -> np.ndarray:
        return np.array([choice["score"] for _, _, choice, _ in self.entries])

    def has_weights(self) -> np.ndarray:
        return np.array([has_weights for *_, has_weights in self.entries])


def both_taus(a: np.ndarray, b: np.ndarray, has_weights: np.ndarray) -> tuple[float, float]:
    return tau_b(a, b), tau_b(a[has_weights], b[has_weights])


def text(taus: tuple[float, float]) -> str:
    return " / ".join(f"{tau:.3f}" for tau in taus)


class Robustness:
    def __init__(self, options):
        self.options = options
        options.work.mkdir(parents=True, exist_ok=True)
        self.kept = Kept(options.work / "robustness.json")

    def images(self, network: Network, name: str) -> list[Path]:
        folder = getattr(network.source, name)
        return images(self.options.test_data / folder)

    def links(self, name: str, paths: list[Path]) -> Path:
        folder = self.options.work / "links" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            link = folder / path.name
            if not link.exists():
                link.symlink_to(path.resolve())
        return folder

    def measured(self, network: Network, name: str, *flags: object) -> List:
        path = self.options.work / f"{network.name}_{name}.json"
        if not path.exists():
            model = network.model(self.options.test_data)
            mpq.run(self.options.mpq, "sensitivity", model, *network.flags, *flags, "-o", path)
        return List(path)

    def samples(self, network: Network, count: int) -> List:
        """Taken evenly over the calibration set."""
        calib = self.options.test_data / network.source.calib
        return self.measured(network, f"samples{count}", "--calib", calib, "--samples", count)

    def quarter(self, network: Network, index: int) -> List:
        calib = self.links(f"{network.name}_quarter{index}", self.images(network, "calib")[index::4])
        return self.measured(network, f"quarter{index}", "--calib", calib)

    def elsewhere(self, network: Network) -> List:
        calib = self.options.test_data / "ood_calib"
        return self.measured(network, "elsewhere", "--calib", calib, "--samples", 64)

    def noise(self, network: Network) -> List:
        return self.measured(network, "noise", "--calib", "noise", "--samples", 64)

    def labelled(self, network: Network) -> List:
        calib = self.links(f"{network.name}_ranking", self.images(network, "val")[:RANKING])
        labels = self.options.test_data / network.labels
        ranking = ["--rank-by", network.metric, "--labels", labels]
        return self.measured(network, "labelled", "--calib", calib, "--samples", RANKING, *ranking)

    def walk(self, network: Network, found: List, budget: str, val: list[Path], *flags) -> dict:
        """What the walk comes to, on some validation images."""
        key = [found.path.stem, budget, str(len(val)), *flags]
        return self.kept.get(key, lambda: self.walked(network, found, budget, val, flags))

    def walked(self, network, found, budget, val, flags) -> dict:
        config = self.options.work / "config.json"
        model, data = network.model(self.options.test_data), self.options.test_data
        searched = ["--sensitivity", found.path, "--budget", budget, *flags, "-o", config]
        mpq.run(self.options.mpq, "search", model, *searched)
        folder = self.links(f"{network.name}_val_{val[0].stem}_{len(val)}", val)
        judged = ["--labels", data / network.labels, "--metric", network.metric, "--json"]
        applied = ["--config", config, "--sqnr", "pooled", "--data", folder, *network.flags]
        evaluated = mpq.run(self.options.mpq, "eval", model, *applied, *judged)
        quantized = json.loads(evaluated)["quantized"]
        return {"accuracy": quantized[network.metric], "sqnr_db": quantized["sqnr_db"]}

    def cells(self, network: Network, found: List, val: list[Path], *flags) -> list[str]:
        walks = [self.walk(network, found, budget, val, *flags) for budget in BUDGETS]
        return [f"{percent(cell['accuracy'])} / {decibels(cell)}" for cell in walks]

    def samples_row(self, network: Network) -> list[str]:
        whole = self.samples(network, 256)
        lists = [self.samples(network, count) for count in SAMPLES]
        weights = whole.has_weights()
        taus = [both_taus(one.sqnr("pooled"), whole.sqnr("pooled"), weights) for one in lists]
        return [network.name, *map(text, taus)]

    def sets_row(self, network: Network) -> list[str]:
        quarters = [self.quarter(network, index) for index in range(4)]
        weights = quarters[0].has_weights()

        def taus(pairs) -> tuple[float, float]:
            all_taus = [both_taus(a.sqnr("pooled"), b.sqnr("pooled"), weights) for a, b in pairs]
            return tuple(statistics.mean(taus) for taus in zip(*all_taus))

        elsewhere, noise = self.elsewhere(network), self.noise(network)
        row = [taus(itertools.combinations(quarters, 2))]
        row += [taus((quarter, other) for quarter in quarters) for other in (elsewhere, noise)]
        val = self.images(network, "val")
        walks = [self.walk(network, one, "0.4", val) for one in (quarters[0], elsewhere, noise)]
        cells = [f"{percent(cell['accuracy'])} / {decibels(cell)}" for cell in walks]
        return [network.name, *map(text, row), *cells]

    def labels_rows(self, network: Network) -> list[list[str]]:
        labelled, unlabelled = self.labelled(network), self.samples(network, 64)
        weights, others = labelled.has_weights(), self.images(network, "val")[RANKING:]
        rows = []
        for name, one, rank in [
            (f"accuracy on {RANKING} labelled", labelled, labelled.score()),
            ("SQNR on the same", None, labelled.sqnr("pooled")),
            ("SQNR on 64 others", unlabelled, unlabelled.sqnr("pooled")),
        ]:
            tau = text(both_taus(labelled.score(), rank, weights))
            one = one or self.unranked(labelled)
            rows.append([network.name, name, tau, *self.cells(network, one, others)])
        return rows

    def unranked(self, labelled: List) -> List:
        """The same measurements in the order of the SQNR."""
        path = labelled.path.with_name(f"{labelled.path.stem}_sqnr.json")
        file = json.loads(labelled.path.read_text())
        file["settings"]["rank_by"] = "sqnr"
        path.write_text(json.dumps(file))
        return List(path)

    def aggregates_rows(self, network: Network) -> list[list[str]]:
        few, whole, labelled = self.samples(network, 16), self.samples(network, 256), self.labelled(network)
        weights, val = whole.has_weights(), self.images(network, "val")
        rows = []
        for aggregate in AGGREGATES:
            stable = both_taus(few.sqnr(aggregate), whole.sqnr(aggregate), weights)
            right = both_taus(labelled.score(), labelled.sqnr(aggregate), weights)
            cells = self.cells(network, self.samples(network, 64), val, "--sqnr", aggregate)
            rows.append([network.name, aggregate, text(stable), text(right), *cells])
        return rows


def table(columns: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * (len(columns) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    mpq.add_data_options(options)
    options.set_defaults(networks=NETWORKS)
    options.add_argument(
        "--work", type=Path, default=mpq.ROOT / "target" / "robustness",
        help="where lists are kept; they are not made again",
    )
    robustness = Robustness(options.parse_args())
    networks = named(robustness.options.networks)
    table(["network", *map(str, SAMPLES)], [robustness.samples_row(one) for one in networks])
    columns = ["another quarter", "from elsewhere", "noise"]
    walks = [f"{name}, 0.4" for name in ["the first quarter", *columns[1:]]]
    table(["network", *columns, *walks], [robustness.sets_row(one) for one in networks])
    rows = [row for one in networks for row in robustness.labels_rows(one)]
    table(["network", "list by", "tau to accuracy", *BUDGETS], rows)
    rows = [row for one in networks for row in robustness.aggregates_rows(one)]
    table(["network", "--sqnr", "16 to 256", "to accuracy", *BUDGETS], rows)


if __name__ == "__main__":
    main()
