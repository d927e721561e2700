"""AIMET's own simulation with the encodings that mpq exports; by hand, it needs aimet-onnx (5 GB).

    pip install aimet-onnx==2.42.0
    tests/referee/aimet.py --test-data DIR --networks resnet20_cifar10
    tests/referee/aimet.py --test-data DIR --networks minilm_l6_sst2 --target htp

For each network a configuration is searched, exported as `aimet-1.0` with its float model, and
loaded with `load_encodings_to_sim`. The SQNR of the outputs to the float network on 64 validation
samples must be that of mpq's simulation within 0.2 dB; where outputs are saturated, as those of the
text-direction network, two right simulations differ by more. AIMET has one scale for an embedding
table, as `--target htp` has.
"""

import json
import tempfile
from pathlib import Path

import onnx
from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim

import mpq
from exports import pooled, real, run, session
from networks import named


def simulated(subject, float_model: Path, encodings: Path) -> list[dict]:
    """By AIMET; only what the file names is rounded."""
    sim = QuantizationSimModel(
        onnx.load(float_model), default_param_bw=8, default_activation_bw=8,
        providers=["CPUExecutionProvider"],
    )
    load_encodings_to_sim(sim, str(encodings), strict=False)
    named_tensors = encoded(json.loads(encodings.read_text()))
    for name, quantizer in sim.qc_quantize_op_dict.items():
        if name not in named_tensors:
            quantizer.enabled = False
    names = [output.name for output in session(float_model).get_outputs()]
    return [dict(zip(names, sim.session.run(None, feeds))) for feeds in subject.feeds]


def encoded(file: dict) -> set[str]:
    return {entry["name"] for kind in ("activation_encodings", "param_encodings") for entry in file[kind]}


def main() -> None:
    options = mpq.parser(__doc__)
    mpq.add_data_options(options)
    options.add_argument("--target", default="generic", help="that is searched for")
    options.add_argument("--work", type=Path, help="where configurations and files are kept")
    options = options.parse_args()
    print("{:30} {:>7} {:>7}".format("configuration", "AIMET", "mpq"))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for network in named(options.networks):
            work = (options.work or Path(folder)) / options.target
            for subject in real(options, network, work, ["--target", options.target]):
                encodings = subject.work / "aimet.encodings"
                float_model = subject.work / "aimet.onnx"
                args = ["--config", subject.config, "--to", "aimet-1.0", "-q", "-o", encodings]
                mpq.run(options.mpq, "export", subject.model, *args, "--float-model", float_model)
                plain = session(subject.model)
                floats = [run(plain, feeds) for feeds in subject.feeds]
                theirs = pooled(floats, simulated(subject, float_model, encodings))
                ours = pooled(
                    floats,
                    [subject.simulated(subject.model, subject.config, f) for f in subject.feeds],
                )
                is_good = abs(theirs - ours) <= 0.2
                good &= is_good
                print(f"{subject.name:30} {theirs:7.2f} {ours:7.2f}  {'ok' if is_good else 'FAILED'}", flush=True)
    if not good:
        raise SystemExit("AIMET computes something else")


if __name__ == "__main__":
    main()
