"""Float outputs of mpq against onnxruntime on the real networks.

For every network the same 16 preprocessed images go through both. An image passes if its largest
absolute error is at most 1e-4 of its largest absolute output.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

import mpq
from networks import Network, images, named

TOLERANCE = 1e-4


def by_onnxruntime(model: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x})))


def by_mpq(binary: Path, model: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "x.npy", Path(folder) / "out.npz"
        np.save(source, x)
        mpq.run(binary, "run", model, "--input", source, "-o", result)
        with np.load(result) as arrays:
            return {name: arrays[name] for name in arrays.files}


def evenly(paths: list[Path], count: int) -> list[Path]:
    return [paths[index * len(paths) // count] for index in range(count)]


def compare(network: Network, options) -> bool:
    data = options.test_data
    paths = evenly(images(data / network.val), options.samples)
    x = np.stack([network.read(path) for path in paths])
    expected = by_onnxruntime(network.model(data), x)
    found = by_mpq(options.mpq, network.model(data), x)
    if found.keys() != expected.keys():
        print(f"{network.name}: outputs are {sorted(found)}, expected {sorted(expected)}")
        return False
    good = True
    for name, theirs in expected.items():
        ours = found[name]
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            print(
                f"{network.name}: `{name}` is {ours.dtype} {ours.shape}, "
                f"expected {theirs.dtype} {theirs.shape}"
            )
            good = False
            continue
        ours, theirs = (
            values.astype(np.float64).reshape(len(paths), -1) for values in (ours, theirs)
        )
        error = np.abs(ours - theirs).max(axis=1)
        largest = np.abs(theirs).max(axis=1)
        ratio = error / largest
        # `not <=` rather than `>`: a NaN fails.
        failed = [i for i in range(len(paths)) if not ratio[i] <= TOLERANCE]
        worst = int(np.argmax(ratio))
        verdict = "FAILED" if failed else "ok"
        print(
            f"{network.name:22} {name:16.16} {len(paths):6} {error[worst]:11.2e} "
            f"{largest[worst]:13.3f} {ratio[worst]:9.1e}  {verdict}"
        )
        for i in failed:
            print(f"  {paths[i].name}: largest error {error[i]:.3e}, output {largest[i]:.3f}")
        good &= not failed
    return good


def main() -> None:
    options = mpq.parser(__doc__)
    mpq.add_data_options(options)
    options.add_argument("--samples", type=int, default=16, help="images for each network")
    options = options.parse_args()
    columns = ("network", "output", "images", "worst error", "of at most", "ratio")
    print("{:22} {:16} {:>6} {:>11} {:>13} {:>9}".format(*columns))
    results = [compare(network, options) for network in named(options.networks)]
    if not all(results):
        raise SystemExit(f"float outputs differ by more than {TOLERANCE} of the largest output")


if __name__ == "__main__":
    main()
