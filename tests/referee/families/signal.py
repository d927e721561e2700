"""Windows, Fourier transforms, filter banks."""

import numpy as np

from drawing import Draw, Node, family


@family("BlackmanWindow", "HannWindow", "HammingWindow", oldest=17)
def windows(d: Draw) -> Node:
    size = np.array(d.int(2, 12), d.one_of([np.int32, np.int64]))
    attrs = d.maybe({"periodic": d.int(0, 1), "output_datatype": d.one_of([1, 11])})
    # onnxruntime takes its cosines in float32 in every type.
    return Node([size], attrs, scale=1e6 if attrs.get("output_datatype") == 11 else 1)


@family("DFT", tame=False, atol=1e-5, oldest=17)
def fourier(d: Draw) -> Node:
    shape = [d.int(1, 3), d.int(1, 8), *([d.int(1, 4)] if d.chance(0.3) else [])]
    complex_input = d.chance(0.5)
    x = d.array(np.float32, (*shape, 2 if complex_input else 1))
    axis = d.int(1, len(shape) - 1)
    attrs = d.maybe({"inverse": d.int(0, 1)})
    if not complex_input and not attrs.get("inverse"):
        attrs |= d.maybe({"onesided": d.int(0, 1)})
    length = np.array(d.int(1, 9), np.int64) if d.chance(0.4) else None
    if d.opset < 20:
        inputs = [x] + ([length] if length is not None else [])
        return Node(inputs, attrs | {"axis": axis}, scale=64)
    return Node([x, length, np.array(axis, np.int64)], attrs, scale=64)


@family("STFT", tame=False, atol=1e-5, oldest=17)
def short_time_fourier(d: Draw) -> Node:
    frame, step = d.int(2, 6), d.int(1, 4)
    n = frame + step * d.int(0, 3) + d.int(0, 1)
    x = d.array(np.float32, (d.int(1, 2), n, 1))
    window = d.array(np.float32, (frame,), low=0, high=1) if d.chance(0.6) else None
    length = np.array(frame, np.int64)
    inputs = [x, np.array(step, np.int64), window]
    if window is None or d.chance(0.5):
        inputs.append(length)
    return Node(inputs, d.maybe({"onesided": d.int(0, 1)}), scale=64)


@family("MelWeightMatrix", tame=False, oldest=17)
def mel_weights(d: Draw) -> Node:
    rate = d.one_of([8000, 16000])
    values = [d.int(2, 8), d.one_of([16, 32, 64]), rate]
    ends = [d.float(0, 100), d.float(rate / 4, rate / 2)]
    inputs = [np.array(v, np.int64) for v in values] + [np.array(v, np.float32) for v in ends]
    return Node(inputs, {}, scale=4)
