"""Operators that read or write at indices."""

import math

import numpy as np

from drawing import Draw, Node, Redraw, family


def indices(d: Draw, n: int, shape: tuple[int, ...], negative: bool = True) -> np.ndarray:
    """Into a dimension of `n`."""
    if n == 0:
        if math.prod(shape):
            raise Redraw
        return np.zeros(shape, np.int64)
    low = -n if negative else 0
    return d.random.integers(low, n, shape).astype(d.one_of([np.int32, np.int64]))


@family("Gather", exact=True)
def gather(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    axis = d.axis(x.ndim)
    chosen = indices(d, x.shape[axis], d.shape(0, 3), negative=11 <= d.opset)
    return Node([x, chosen], {"axis": axis} if d.chance(0.9) or axis == 0 else {"axis": axis})


@family("GatherElements", exact=True)
def gather_elements(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    axis = d.axis(x.ndim)
    shape = [d.int(0 if d.chance(0.1) else min(1, n), n) for n in x.shape]
    shape[axis] = d.int(1, 5)
    return Node([x, indices(d, x.shape[axis], tuple(shape))], {"axis": axis})


@family("GatherND", exact=True)
def gather_nd(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    batch = d.int(0, x.ndim - 1) if 12 <= d.opset and d.chance(0.5) else 0
    depth = d.int(1, x.ndim - batch)
    if 0 in x.shape:
        raise Redraw
    lead = x.shape[:batch] + d.shape(0 if batch else 0, 2)
    last = [d.random.integers(-n, n, lead) for n in x.shape[batch : batch + depth]]
    chosen = np.stack(last, -1).astype(np.int64)
    return Node([x, chosen], {"batch_dims": batch} if batch or d.chance(0.3) and 12 <= d.opset else {})


def reduction(d: Draw, oldest: int, dtype: np.dtype) -> dict[str, object]:
    choices = ["none"]
    if oldest <= d.opset and dtype != np.bool_:
        choices += ["add", "mul"] + (["min", "max"] if 18 <= d.opset else [])
        return d.maybe({"reduction": d.one_of(choices)}, 0.8)
    return {}


@family("ScatterElements", "Scatter", exact=True)
def scatter_elements(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    axis = d.axis(x.ndim) if d.op == "ScatterElements" else d.int(0, x.ndim - 1)
    attrs = {"axis": axis} if d.chance(0.9) or axis != 0 else {}
    if d.op == "ScatterElements":
        attrs |= reduction(d, 16, x.dtype)
    shape = [d.int(min(1, n), n) for n in x.shape]
    n = x.shape[axis]
    chosen = indices(d, n, tuple(shape), negative=d.op == "ScatterElements")
    if attrs.get("reduction", "none") == "none":
        # Without a reduction no place may be written twice.
        axis %= x.ndim
        lines = np.argsort(d.random.random([*shape[:axis], *shape[axis + 1 :], n]), -1)
        chosen = np.moveaxis(lines[..., : shape[axis]], -1, axis).astype(np.int64)
        if d.op == "ScatterElements" and d.chance(0.5):
            chosen = np.where(d.random.random(chosen.shape) < 0.5, chosen, chosen - n)
    updates = whole(d, x.dtype, shape)
    if attrs.get("reduction", "none") in ("add", "mul"):
        x = whole(d, x.dtype, x.shape)
    return Node([x, chosen, updates], attrs)


def whole(d: Draw, dtype: np.dtype, shape: object) -> np.ndarray:
    """Numbers whose sums and products are exact, for the order is open."""
    return d.array(dtype, shape) if dtype == np.bool_ else d.random.integers(0, 4, shape).astype(dtype)


@family("ScatterND", exact=True)
def scatter_nd(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    if 0 in x.shape:
        raise Redraw
    depth = d.int(1, x.ndim)
    attrs = reduction(d, 16, x.dtype)
    places = math.prod(x.shape[:depth])
    unique = attrs.get("reduction", "none") == "none"
    n = d.int(0 if d.chance(0.1) else 1, min(places, 6) if unique else 6)
    flat = d.random.permutation(places)[:n] if unique else d.random.integers(0, places, n)
    chosen = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).astype(np.int64)
    if 11 <= d.opset and d.chance(0.5):
        sizes = np.array(x.shape[:depth])
        chosen = np.where(d.random.random(chosen.shape) < 0.5, chosen, chosen - sizes)
    updates = whole(d, x.dtype, (n, *x.shape[depth:]))
    if attrs.get("reduction", "none") in ("add", "mul"):
        x = whole(d, x.dtype, x.shape)
    return Node([x, chosen, updates], attrs)


@family("TensorScatter", exact=True, tame=False, oldest=24)
def tensor_scatter(d: Draw) -> Node:
    batch, longest, n = d.int(1, 3), d.int(2, 6), d.int(1, 2)
    rest = d.shape(1, 2)
    past = d.array(d.dtype(), (batch, longest, *rest))
    update = d.array(past.dtype, (batch, n, *rest))
    attrs = d.maybe({"axis": 1, "mode": d.one_of(["linear", "circular"])})
    if "axis" not in attrs:
        attrs["axis"] = 1
    last = longest - n if attrs.get("mode", "linear") == "linear" else longest - 1
    inputs = [past, update]
    if d.chance(0.8):
        inputs.append(d.random.integers(0, last + 1, batch).astype(np.int64))
    return Node(inputs, attrs)
