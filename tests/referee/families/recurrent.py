"""`RNN`, `GRU`, `LSTM`."""

import numpy as np

from drawing import Draw, Node, family

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
# Those without parameters; ScaledTanh and its like have defaults that onnxruntime does not share.
NAMES = ["Tanh", "Sigmoid", "Relu", "Softsign"]


@family("RNN", "GRU", "LSTM", tame=False, atol=1e-5)
def recurrent(d: Draw) -> Node:
    steps, batch, width, hidden = d.int(1, 4), d.int(1, 3), d.int(1, 4), d.int(1, 4)
    direction = d.one_of(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    gates = GATES[d.op]
    x = d.array(np.float32, (steps, batch, width), low=-1, high=1)

    def parameter(*shape: int) -> np.ndarray:
        return d.array(np.float32, (directions, *shape), low=-1, high=1)

    inputs = [x, parameter(gates * hidden, width), parameter(gates * hidden, hidden)]
    optional = [
        parameter(2 * gates * hidden),
        d.random.integers(1, steps + 1, batch).astype(np.int32),
        parameter(batch, hidden),
    ]
    if d.op == "LSTM":
        optional += [parameter(batch, hidden), parameter(3 * hidden)]
    inputs += [value if d.chance(0.5) else None for value in optional]
    while inputs[-1] is None:
        inputs.pop()
    # onnxruntime does not implement `layout` 1.
    attrs = {"hidden_size": hidden} | ({"direction": direction} if d.chance(0.8) or directions == 2 else {})
    if "direction" not in attrs:
        attrs["direction"] = direction
    if d.chance(0.3):
        attrs["activations"] = [d.one_of(NAMES) for _ in range(ACTIVATIONS[d.op] * directions)]
    if d.op == "GRU":
        attrs |= d.maybe({"linear_before_reset": d.int(0, 1)})
    if d.op == "LSTM":
        attrs |= d.maybe({"input_forget": d.int(0, 1)}, 0.3)
    else:
        # What goes into an activation is clipped; of the cell state, which goes into the last one of LSTM,
        # onnxruntime does not believe that.
        attrs |= d.maybe({"clip": d.float(0.5, 2)}, 0.3)
    return Node(inputs, attrs, outputs=d.int(1, 3 if d.op == "LSTM" else 2), scale=4)
