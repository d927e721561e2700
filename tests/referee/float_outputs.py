"""Float outputs of mpq against onnxruntime on the real networks.

For every network the same samples go through both: 16 images of the convolutional networks, 64
samples of the transformers. A sample passes if its largest absolute error is at most 1e-4 of its
largest absolute output; 1e-3 for the transformers.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

import mpq
from networks import Network, named


def opened(model: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def by_onnxruntime(session: ort.InferenceSession, feeds: dict) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def by_mpq(binary: Path, model: Path, feeds: dict) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for number, (name, x) in enumerate(feeds.items()):
            source = Path(folder) / f"{number}.npy"
            np.save(source, x)
            inputs += ["--input", f"{name}={source}"]
        result = Path(folder) / "out.npz"
        mpq.run(binary, "run", model, *inputs, "-o", result)
        with np.load(result) as arrays:
            return {name: arrays[name] for name in arrays.files}


def evenly(total: int, count: int) -> list[int]:
    return [index * total // count for index in range(count)]


def compare(network: Network, options) -> bool:
    data, model = options.test_data, network.model(options.test_data)
    all_names = network.source.names(data)
    rows = evenly(len(all_names), options.samples or network.compared)
    names = [all_names[row] for row in rows]
    session = opened(model)
    inputs = [value.name for value in session.get_inputs()]
    feeds = network.source.feeds(inputs, data, rows)
    expected = by_onnxruntime(session, feeds)
    found = by_mpq(options.mpq, model, feeds)
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
            values.astype(np.float64).reshape(len(rows), -1) for values in (ours, theirs)
        )
        error = np.abs(ours - theirs).max(axis=1)
        largest = np.abs(theirs).max(axis=1)
        ratio = error / largest
        # `not <=` rather than `>`: a NaN fails.
        failed = [i for i in range(len(rows)) if not ratio[i] <= network.tolerance]
        worst = int(np.argmax(ratio))
        verdict = "FAILED" if failed else "ok"
        print(
            f"{network.name:22} {name:16.16} {len(rows):7} {error[worst]:11.2e} "
            f"{largest[worst]:13.3f} {ratio[worst]:9.1e}  {verdict}"
        )
        for i in failed:
            print(f"  {names[i]}: largest error {error[i]:.3e}, output {largest[i]:.3f}")
        good &= not failed
    return good


def main() -> None:
    options = mpq.parser(__doc__)
    mpq.add_data_options(options)
    options.add_argument("--samples", type=int, help="for each network")
    options = options.parse_args()
    columns = ("network", "output", "samples", "worst error", "of at most", "ratio")
    print("{:22} {:16} {:>7} {:>11} {:>13} {:>9}".format(*columns))
    results = [compare(network, options) for network in named(options.networks)]
    if not all(results):
        raise SystemExit("float outputs differ from those of onnxruntime")


if __name__ == "__main__":
    main()
