"""Operators that work along axes: reductions, extremes, running sums, softmax."""

import math

import numpy as np

from drawing import FLOATS, Draw, Node, Redraw, Value, family


def some_axes(d: Draw, rank: int) -> list[int]:
    return [d.signed(axis, rank) for axis in d.some(range(rank))]


REDUCTIONS = [
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
]  # fmt: skip


def reduction(d: Draw, x: object, scale: float = 0) -> Node:
    attrs = d.maybe({"keepdims": d.int(0, 1)})
    axes = some_axes(d, x.ndim)
    inputs = [x]
    as_input = 13 if d.op == "ReduceSum" else 18
    if d.opset < as_input:
        if axes:
            # An empty list is not told from an absent one by every onnxruntime kernel of old opsets.
            attrs["axes"] = axes
    else:
        attrs |= d.maybe({"noop_with_empty_axes": d.int(0, 1)}, 0.4)
        if d.chance(0.8):
            inputs.append(d.ints(axes))
        elif d.chance(0.3):
            inputs.append(None)
    return Node(inputs, attrs, scale=scale)


@family(*REDUCTIONS)
def sums(d: Draw) -> Node:
    low = 0.5 if d.op == "ReduceLogSum" else -2
    # How a logarithm becomes an integer is left open.
    types = FLOATS if "Log" in d.op else None
    x = d.x(low=low, high=2, types=types)
    size = math.prod(x.shape)
    if d.op == "ReduceMean" and size == 0:
        # The mean of nothing is undefined.
        raise Redraw
    # Products of integers wrap; those of floats stay finite.
    return reduction(d, x, scale=4.0 * size)


@family("ReduceMax", "ReduceMin", exact=True)
def extremes(d: Draw) -> Node:
    # onnxruntime skips NaN in some of its loops.
    return reduction(d, d.x())


@family("ArgMax", "ArgMin", exact=True, tame=False)
def positions(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    attrs = d.maybe({"axis": d.axis(x.ndim), "keepdims": d.int(0, 1)})
    if 12 <= d.opset:
        attrs |= d.maybe({"select_last_index": d.int(0, 1)})
    return Node([x], attrs)


@family("TopK", exact=True, tame=False)
def top_k(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    axis = d.axis(x.ndim)
    k = d.int(0, x.shape[axis])
    # Which of several equal ones comes first is left open by the specification before opset 11; all take
    # the lower index.
    attrs = {"axis": axis}
    if 11 <= d.opset:
        # The order of what is not sorted is open, so all of it has to be.
        attrs |= d.maybe({"largest": d.int(0, 1), "sorted": 1})
    if d.opset < 10:
        # As an attribute onnxruntime wants at least 1.
        if x.shape[axis] == 0:
            raise Redraw
        return Node([x], attrs | {"k": max(k, 1)}, 2)
    return Node([x, d.ints([k])], attrs, 2)


@family("CumSum", rtol=1e-5)
def running_sum(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    dtype = d.one_of([np.int32, np.int64])
    axis = np.array(d.axis(x.ndim), dtype).reshape(() if d.chance(0.7) else (1,))
    attrs = d.maybe({"exclusive": d.int(0, 1), "reverse": d.int(0, 1)})
    return Node([x, axis], attrs, scale=4.0 * math.prod(x.shape))


@family("Softmax", "LogSoftmax")
def softmax(d: Draw) -> Node:
    x = d.x(rank=(1, 5), special=False, low=-20, high=20)
    axis = d.axis(x.ndim)
    if d.opset < 11:
        axis %= x.ndim
    return Node([x], d.maybe({"axis": axis}) if 1 < x.ndim else {"axis": axis}, scale=1)


@family("Hardmax", exact=True, tame=False)
def hardmax(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    axis = d.axis(x.ndim)
    if d.opset < 11:
        axis %= x.ndim
    return Node([x], d.maybe({"axis": axis}) if 1 < x.ndim else {"axis": axis})


@family("LpNormalization", tame=False)
def lp_normalization(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    return Node([x], d.maybe({"axis": d.axis(x.ndim), "p": d.int(1, 2)}))


@family("MeanVarianceNormalization", tame=False, atol=1e-5)
def mean_variance(d: Draw) -> Node:
    # onnxruntime replaces it by a function that has constants in float32.
    x = d.x(rank=(4, 4), types=[np.float32])
    axes = sorted({d.int(0, x.ndim - 1) for _ in range(d.int(1, 3))})
    # Of elements that are nearly equal only roundings remain: onnxruntime takes the variance as a
    # difference of two means, which may be below 0.
    values = x.array if isinstance(x, Value) else x
    if values.size == 0 or np.ptp(values, axis=tuple(axes)).min() < 0.1:
        raise Redraw
    return Node([x], {"axes": axes})


@family("CumProd", tame=False, oldest=26)
def running_product(d: Draw) -> Node:
    x = d.x(rank=(1, 4), low=-2, high=2)
    attrs = d.maybe({"exclusive": d.int(0, 1), "reverse": d.int(0, 1)})
    return Node([x, np.array(d.axis(x.ndim), np.int64)], attrs, scale=1)
