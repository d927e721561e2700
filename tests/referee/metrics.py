"""mpq's metrics against scikit-learn's and scipy's, within 1e-6, through `mpq eval`.

The networks are products with the identity, so in float they put out what they are given; quantized
with `--uniform` they do not, and what they put out is taken from the archive that mpq writes for
`--metric command:`. Both columns are compared. Data are random, with ties where ties matter.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy import stats
from sklearn import metrics as sk

import mpq

TOLERANCE = 1e-6
# Copies what mpq wrote to the next number in the folder it is given, and prints its mean.
KEEPER = """
import pathlib, shutil, sys
import numpy as np
folder, archive = map(pathlib.Path, sys.argv[1:])
shutil.copy(archive, folder / f"{len(list(folder.iterdir()))}.npz")
print(float(np.load(archive)["y"].astype(float).mean()))
"""

# Outputs of all samples and labels to a number.
Score = Callable[[np.ndarray, np.ndarray], float]


def save_model(path: Path, row: tuple[int, ...]) -> None:
    """A network that gives what it takes: `[N, C]`, `[N, L, C]` or `[N, C, H, W]`."""
    is_image = len(row) == 3
    channels = row[0] if is_image else row[-1]
    weight = np.eye(channels, dtype=np.float32)
    if is_image:
        weight = weight[:, :, None, None]
    node = helper.make_node("Conv" if is_image else "MatMul", ["x", "w"], ["y"], name="identity")
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", *row]) for end in "xy"]
    graph = helper.make_graph(
        [node], "identity", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)


class Subject:
    """mpq, asked for metrics of one network and data set at a time."""

    def __init__(self, binary: Path, folder: Path):
        self.binary, self.folder = binary, folder
        self.n_compared = self.n_good = 0

    def data(self, x: np.ndarray, in_files: bool) -> Path:
        """An array whose rows are the samples, or a file for each."""
        if not in_files:
            np.save(self.folder / "x.npy", x)
            return self.folder / "x.npy"
        data = self.new_folder("data")
        for index, row in enumerate(x):
            np.save(data / f"{index:03}.npy", row)
        return data

    def new_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return folder

    def outputs(self, x: np.ndarray, metrics: Iterable[str], labels: Path | None, data: Path):
        """The values that mpq states, and what the float and the quantized network put out."""
        save_model(self.folder / "model.onnx", x.shape[1:])
        (self.folder / "keep.py").write_text(KEEPER)
        kept = self.new_folder("kept")
        keeper = f"'{sys.executable}' '{self.folder / 'keep.py'}' '{kept}'"
        flags = [flag for metric in metrics for flag in ("--metric", metric)]
        flags += ["--labels", labels] if labels else []
        np.save(self.folder / "calib.npy", x)
        found = mpq.run(
            self.binary, "eval", self.folder / "model.onnx", "--data", data, "--uniform", "W8A3",
            "--range", "minmax", "--calib", self.folder / "calib.npy", "--json", *flags,
            "--metric", f"command:{keeper}",
        )  # fmt: skip
        arrays = [np.load(kept / f"{run}.npz")["y"] for run in range(2)]
        return json.loads(found), arrays

    def compare(
        self,
        what: str,
        x: np.ndarray,
        expected: dict[str, Score],
        answers: np.ndarray | None = None,
        labels: Path | None = None,
        in_files: bool = False,
    ) -> None:
        data = self.data(x, in_files)
        found, arrays = self.outputs(x, expected, labels, data)
        np.testing.assert_array_equal(arrays[0], x, f"{what}: the float outputs")
        expected = expected | {"command": lambda y, _: float(y.astype(float).mean())}
        names = [metric.split("=")[0] for metric in expected]
        for column, outputs in zip(("float", "quantized"), arrays):
            for metric, score in expected.items():
                name = metric.split("=")[0]
                key = name if names.count(name) == 1 else metric
                self.check(f"{what}, {metric}, {column}", found[column][key], score(outputs, answers))

    def check(self, what: str, found: float | None, expected: float) -> None:
        self.n_compared += 1
        found = float("nan") if found is None else found
        if np.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            self.n_good += 1
        else:
            print(f"{what}: {found!r}, expected {expected!r}")


def csv(path: Path, key: str, labels: dict[str, object]) -> Path:
    lines = [f"{key},label", *(f"{name},{label}" for name, label in labels.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def best(y: np.ndarray) -> np.ndarray:
    return y.argmax(1)


def above(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda y: (y.reshape(len(y)) > threshold).astype(int)


def of_classes(said: Callable[[np.ndarray], np.ndarray], option: str = "") -> dict[str, Score]:
    """Metrics of any number of classes; `option` is that of all of them."""
    plain = f"={option}" if option else ""
    comma = f",{option}" if option else ""
    f1 = {
        f"f1={average}{comma}": lambda y, labels, average=average: sk.f1_score(
            labels, said(y), average=average
        )
        for average in ("macro", "micro", "weighted")
    }
    return f1 | {
        f"accuracy{plain}": lambda y, labels: sk.accuracy_score(labels, said(y)),
        f"matthews{plain}": lambda y, labels: sk.matthews_corrcoef(labels, said(y)),
    }


def binary_f1(said: Callable[[np.ndarray], np.ndarray], option: str = "") -> dict[str, Score]:
    name = f"f1={option}" if option else "f1"
    return {name: lambda y, labels: sk.f1_score(labels, said(y))}


def classes(subject: Subject, random: np.random.Generator) -> None:
    for n_classes in (2, 3, 10):
        x = random.normal(size=(200, n_classes)).astype(np.float32)
        labels = np.where(random.random(200) < 0.6, x.argmax(1), random.integers(0, n_classes, 200))
        expected = of_classes(best)
        if n_classes == 2:
            expected |= binary_f1(best)
        if 5 < n_classes:
            expected |= {
                f"top{k}": lambda y, labels, k=k: sk.top_k_accuracy_score(
                    labels, tie_break(y), k=k, labels=range(n_classes)
                )
                for k in (1, 5)
            }
        path = csv(subject.folder / "labels.csv", "row", dict(enumerate(labels)))
        subject.compare(f"{n_classes} classes", x, expected, labels, path)
        np.save(subject.folder / "labels.npy", labels)
        path = subject.folder / "labels.npy"
        subject.compare(f"{n_classes} classes, array", x, expected, labels, path)


def tie_break(y: np.ndarray) -> np.ndarray:
    """Lowers later classes by less than any two scores differ: scikit-learn prefers the higher class."""
    return y.astype(float) - 1e-9 * np.arange(y.shape[1])


def one_output(subject: Subject, random: np.random.Generator) -> None:
    x = random.normal(size=(200, 1)).astype(np.float32)
    labels = (x.reshape(-1) + random.normal(size=200) > 0.2).astype(int)
    path = csv(subject.folder / "labels.csv", "row", dict(enumerate(labels)))
    for threshold, option in ((0, ""), (0.3, "0.3"), (-9, "-9")):
        said = above(threshold)
        what = f"one output, threshold {threshold}"
        subject.compare(what, x, of_classes(said, option), labels, path)
        subject.compare(what, x, binary_f1(said, option), labels, path)


def numbers(subject: Subject, random: np.random.Generator) -> None:
    def pearson(y: np.ndarray, labels: np.ndarray) -> float:
        return stats.pearsonr(y.reshape(-1).astype(float), labels).statistic

    def spearman(y: np.ndarray, labels: np.ndarray) -> float:
        return stats.spearmanr(y.reshape(-1), labels).statistic

    expected = {"pearson": pearson, "spearman": spearman}
    for step, name in ((0.0, "distinct"), (0.5, "with ties")):
        x = random.normal(3, 2, (150, 1))
        labels = x.reshape(-1) + random.normal(0, 2, 150)
        if step:
            x, labels = (np.round(values / step) * step for values in (x, labels))
        files = {f"{index:03}.npy": repr(float(label)) for index, label in enumerate(labels)}
        path = csv(subject.folder / "numbers.csv", "file", files)
        x = x.astype(np.float32)
        subject.compare(f"numbers {name}", x, expected, labels, path, in_files=True)
        np.save(subject.folder / "numbers.npy", labels)
        path = subject.folder / "numbers.npy"
        subject.compare(f"numbers {name}, array", x, expected, labels, path)
    constant = np.ones((9, 1), np.float32)
    subject.compare("a constant", constant, expected, labels[:9], path)


def restoration(subject: Subject, random: np.random.Generator) -> None:
    def psnr(peak: float) -> Score:
        def score(y: np.ndarray, targets: np.ndarray) -> float:
            squares = ((y.astype(float) - targets) ** 2).reshape(len(y), -1)
            return (10 * np.log10(peak**2 / squares.mean(1))).mean()

        return score

    for channels in (1, 3):
        pixels = random.integers(0, 256, (12, 6, 9, channels), np.uint8)
        unit = pixels.transpose(0, 3, 1, 2) / 255
        noisy = (unit + random.normal(0, 0.1, unit.shape)).astype(np.float32)
        images = subject.new_folder("targets")
        for index, image in enumerate(pixels):
            Image.fromarray(image.squeeze()).save(images / f"{index:03}.png")
        what = f"{channels} channels"
        subject.compare(what, noisy, {"psnr": psnr(1)}, unit, images, in_files=True)
        scaled = noisy * np.float32(255)
        subject.compare(what, scaled, {"psnr=255": psnr(255)}, unit * 255, images, in_files=True)
        np.save(subject.folder / "targets.npy", unit.astype(np.float32))
        arrays = subject.folder / "targets.npy"
        answers = unit.astype(np.float32)
        subject.compare(f"{what}, arrays", noisy, {"psnr=2": psnr(2)}, answers, arrays)


def masks(subject: Subject, random: np.random.Generator) -> None:
    def miou(y: np.ndarray, labels: np.ndarray) -> float:
        counts = labels != 255
        return sk.jaccard_score(labels[counts], best(y)[counts], average="macro")

    x = random.normal(size=(10, 4, 7, 5)).astype(np.float32)
    labels = np.where(random.random((10, 7, 5)) < 0.7, x.argmax(1), random.integers(0, 4, (10, 7, 5)))
    labels[random.random(labels.shape) < 0.1] = 255
    folder = subject.new_folder("masks")
    for index, mask in enumerate(labels):
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{index:03}.png")
    subject.compare("masks", x, {"miou": miou}, labels, folder, in_files=True)


def agreement(subject: Subject, random: np.random.Generator) -> None:
    def share(x: np.ndarray, said: Callable[[np.ndarray], np.ndarray]) -> Score:
        return lambda y, _: (said(y) == said(x)).mean()

    for shape, options in {
        (100, 6): {"": best},
        (100, 1): {"": above(0), "=0.5": above(0.5)},
        (20, 4, 6, 5): {"": best, "=axis:3": lambda y: y.argmax(3)},
        (20, 7, 4): {"": lambda y: y.argmax(2), "=axis:-2": best},
    }.items():
        x = random.normal(size=shape).astype(np.float32)
        expected = {f"agreement{option}": share(x, said) for option, said in options.items()}
        subject.compare(f"agreement of {list(shape)}", x, expected)


def main() -> None:
    options = mpq.parser(__doc__).parse_args()
    random = np.random.default_rng(5)
    good = True
    for family in (classes, one_output, numbers, restoration, masks, agreement):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # scikit-learn warns of scores that are 0 by definition, scipy of constants.
            warnings.simplefilter("ignore")
            subject = Subject(options.mpq, Path(folder))
            family(subject, random)
        name = family.__name__.replace("_", " ")
        print(f"{name}: {subject.n_good} of {subject.n_compared} values agree")
        good &= subject.n_good == subject.n_compared
    if not good:
        raise SystemExit("metrics differ from scikit-learn's and scipy's")


if __name__ == "__main__":
    main()
