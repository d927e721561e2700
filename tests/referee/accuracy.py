"""Accuracy of exported models in onnxruntime on the validation sets, beside mpq's simulation.

The QDQ model of uniform W8A8 and of a mixed configuration (those of `exports.py`; `--work` of both may
be the same folder) runs as it is deployed: int32 biases, and every optimization that onnxruntime's CPU
provider has. The two are given the same samples, so their difference has less noise than either
accuracy: its standard error is that over 1000 draws of as many samples, with replacement. A
difference of more than two of them fails. Predictions that differ are counted (pixels, of DeepLab).
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import mpq
from exports import REAL, run, session, subjects
from networks import Network, named

BATCH = 25
DRAWS = 1000
# DeepLab's classes as those of the masks.
MASK_OF_CLASS = {6: 1, 7: 1, 15: 2, 2: 2, 14: 2}
IGNORED = 255


class Classes:
    """Top-1."""

    def __init__(self, network: Network, data: Path, names: list[str]):
        with open(data / network.labels, newline="") as file:
            rows = list(csv.DictReader(file))
        key = "file" if "file" in rows[0] else "row"
        by_name = {row[key]: int(row["label"]) for row in rows}
        self.labels = np.array([by_name[name.removeprefix("row ")] for name in names])

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        return scores.argmax(axis=1)

    def of_samples(self, predicted: np.ndarray) -> np.ndarray:
        return (predicted == self.labels).astype(np.float64)[:, None]

    def of_set(self, sums: np.ndarray, count: int) -> np.ndarray:
        return sums[..., 0] / count


class Masks:
    """Mean intersection over union of the masks' classes, over all pixels."""

    def __init__(self, network: Network, data: Path, names: list[str]):
        masks = [data / network.labels / Path(name).with_suffix(".png") for name in names]
        self.labels = np.stack([np.asarray(Image.open(mask)) for mask in masks])
        self.classes = sorted({0, *MASK_OF_CLASS.values()})

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        table = np.zeros(scores.shape[1], np.int64)
        for of_network, of_mask in MASK_OF_CLASS.items():
            table[of_network] = of_mask
        return table[scores.argmax(axis=1)]

    def of_samples(self, predicted: np.ndarray) -> np.ndarray:
        """Intersections, then unions, of every class."""
        counts = self.labels != IGNORED
        both = [counts & (predicted == c) & (self.labels == c) for c in self.classes]
        either = [counts & ((predicted == c) | (self.labels == c)) for c in self.classes]
        return np.stack([m.sum(axis=(1, 2)) for m in both + either], axis=1).astype(np.float64)

    def of_set(self, sums: np.ndarray, count: int) -> np.ndarray:
        both, either = np.split(sums, 2, axis=-1)
        return (both / either).mean(axis=-1)


def compared(options, network: Network, work: Path) -> bool:
    data = options.test_data
    names = network.source.names(data)[: network.val_samples]
    metric = (Masks if network.metric.startswith("miou") else Classes)(network, data, names)
    model = network.model(data)
    inputs = [value.name for value in session(model).get_inputs()]
    starts = range(0, len(names), BATCH)
    batches = [list(range(start, min(start + BATCH, len(names)))) for start in starts]
    feeds = lambda rows: network.source.feeds(inputs, data, rows)
    flags = [*network.calib("--calib", data, work), *network.flags]
    good = True
    for subject in subjects(options, network.name, model, flags, [], work, REAL):
        opened = session(subject.export("qdq"), optimized=True)
        theirs = [first(run(opened, feeds(rows))) for rows in batches]
        ours = [first(subject.simulated(model, subject.config, feeds(rows))) for rows in batches]
        theirs, ours = (metric.predicted(np.concatenate(scores)) for scores in (theirs, ours))
        good &= reported(subject.name, metric, ours, theirs)
    return good


def first(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(outputs.values()))


def reported(name: str, metric, ours: np.ndarray, theirs: np.ndarray) -> bool:
    count = len(ours)
    samples = [metric.of_samples(predicted) for predicted in (ours, theirs)]
    simulated, deployed = (metric.of_set(sums.sum(axis=0), count) for sums in samples)
    draws = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    drawn = [metric.of_set(sums[draws].sum(axis=1), count) for sums in samples]
    error = float(np.std(drawn[1] - drawn[0]))
    difference = float(deployed - simulated)
    good = abs(difference) <= 2 * error
    differ = np.mean(ours != theirs)
    print(
        f"{name:30} {count:5} {100 * simulated:9.2f} {100 * deployed:11.2f} {100 * difference:+10.2f} "
        f"{100 * error:8.2f} {100 * differ:8.2f}  {'ok' if good else 'FAILED'}",
        flush=True,
    )
    return good


def main() -> None:
    options = mpq.parser(__doc__.splitlines()[0])
    mpq.add_data_options(options)
    options.add_argument("--work", type=Path, help="where configurations and files are kept")
    options = options.parse_args()
    columns = ("configuration", "count", "mpq, %", "onnxruntime", "difference", "error", "differ")
    print("{:30} {:>5} {:>9} {:>11} {:>10} {:>8} {:>8}".format(*columns))
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        results = [compared(options, network, work) for network in named(options.networks)]
    if not all(results):
        raise SystemExit("exported models are not as accurate as mpq simulates")


if __name__ == "__main__":
    main()
