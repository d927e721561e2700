"""Integers that stand for real numbers: what `QuantizeLinear` makes and the products of it."""

import numpy as np

from drawing import Draw, Node, Redraw, family
from families.layers import window

BYTES = (np.int8, np.uint8)


def zero_point(d: Draw, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    limits = np.iinfo(dtype)
    return d.random.integers(max(limits.min, -20), min(limits.max, 20), shape).astype(dtype)


def scale(d: Draw, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """Now powers of two, so that there are ties."""
    if d.chance(0.5):
        return (2.0 ** d.random.integers(-4, 1, shape)).astype(dtype)
    return d.random.uniform(0.05, 0.5, shape).astype(dtype)


def encoding(d: Draw, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], dict]:
    """The shape of scales: one, one along an axis, or one for a block."""
    kind = d.int(0, 2)
    if kind == 0 or d.opset < 13 or len(x_shape) < 1:
        return (), {}
    axis = d.axis(len(x_shape))
    # A vector of blocks looks like a single scale to onnxruntime.
    if kind == 1 or d.opset < 21 or len(x_shape) == 1:
        return (x_shape[axis],), {"axis": axis}
    if x_shape[axis] == 0:
        raise Redraw
    size = d.one_of([n for n in range(1, x_shape[axis] + 1) if x_shape[axis] % n == 0])
    shape = list(x_shape)
    shape[axis] //= size
    return tuple(shape), {"axis": axis, "block_size": size}




@family("QuantizeLinear", exact=True, tame=False, oldest=10)
def quantize(d: Draw) -> Node:
    x = d.x(rank=(0, 4), types=[np.float32], low=-20, high=20)
    shape, attrs = encoding(d, x.shape)
    types = [*BYTES] + ([np.int16, np.uint16] if 21 <= d.opset else [])
    dtype = d.one_of(types)
    inputs = [x, scale(d, shape)]
    if d.chance(0.8):
        inputs.append(zero_point(d, dtype, shape))
    return Node(inputs, attrs)


@family("DequantizeLinear", exact=True, oldest=10)
def dequantize(d: Draw) -> Node:
    types = [*BYTES] + ([np.int32] if d.chance(0.2) else [])
    types += [np.int16, np.uint16] if 21 <= d.opset else []
    dtype = d.one_of(types)
    x = d.array(dtype, d.shape(0, 4), low=-100, high=100, special=dtype != np.int32)
    shape, attrs = encoding(d, x.shape)
    inputs = [x, scale(d, shape)]
    if d.chance(0.7) and dtype != np.int32:
        inputs.append(zero_point(d, dtype, shape))
    return Node(inputs, attrs)


@family("DynamicQuantizeLinear", exact=True, tame=False, oldest=11)
def dynamic_quantize(d: Draw) -> Node:
    shape = d.shape(0, 4)
    if 0 in shape:
        raise Redraw
    return Node([d.x(shape=shape, types=[np.float32])], {}, 3)


@family("MatMulInteger", exact=True, tame=False, oldest=10)
def matmul_integer(d: Draw) -> Node:
    m, k, n = d.int(1, 4), d.int(1, 5), d.int(1, 4)
    a_type, b_type = d.one_of(BYTES), d.one_of(BYTES)
    batch = d.shape(0, 2)
    a = d.array(a_type, (*batch, m, k), low=-128, high=255)
    b = d.array(b_type, (*batch, k, n) if d.chance(0.3) else (k, n), low=-128, high=255)
    inputs = [a, b]
    if d.chance(0.7):
        inputs.append(zero_point(d, a_type, ()))
        if d.chance(0.7):
            inputs.append(zero_point(d, b_type, (n,) if b.ndim == 2 and d.chance(0.4) else ()))
    return Node(inputs)


@family("ConvInteger", exact=True, tame=False, oldest=10)
def conv_integer(d: Draw) -> Node:
    groups = d.int(1, 2)
    # onnxruntime convolves uint8 alone.
    x = d.array(np.uint8, (d.int(1, 2), groups * d.int(1, 2), d.int(3, 6), d.int(3, 6)), high=255)
    kernel, attrs = window(d, x.shape[2:], dilates=False)
    w_type = d.one_of(BYTES)
    w = d.array(w_type, (groups * d.int(1, 2), x.shape[1] // groups, *kernel), low=-128, high=255)
    inputs = [x, w]
    if d.chance(0.7):
        inputs.append(zero_point(d, np.uint8, ()))
        if d.chance(0.5):
            inputs.append(zero_point(d, w_type, ()))
    return Node(inputs, attrs | {"group": groups})


@family("QLinearMatMul", exact=True, tame=False, oldest=10)
def qlinear_matmul(d: Draw) -> Node:
    m, k, n = d.int(1, 4), d.int(1, 5), d.int(1, 4)
    types = [d.one_of(BYTES) for _ in range(2)]
    types.append(types[0])
    a = d.array(types[0], (*d.shape(0, 1), m, k), low=-128, high=255)
    b = d.array(types[1], (k, n), low=-128, high=255)
    inputs = []
    for x, dtype in [(a, types[0]), (b, types[1]), (None, types[2])]:
        inputs += [] if x is None else [x]
        # Not powers of two: onnxruntime multiplies by a quotient that is rounded first.
        inputs += [d.random.uniform(0.1, 0.9, ()).astype(np.float32), zero_point(d, dtype, ())]
    return Node(inputs)


@family("QLinearConv", exact=True, tame=False, oldest=10)
def qlinear_conv(d: Draw) -> Node:
    groups = d.int(1, 2)
    dtype = d.one_of(BYTES)
    x = d.array(dtype, (d.int(1, 2), groups * d.int(1, 2), d.int(3, 6), d.int(3, 6)), low=-128, high=255)
    kernel, attrs = window(d, x.shape[2:], dilates=False)
    w_type = np.int8 if dtype == np.int8 else d.one_of(BYTES)
    w = d.array(w_type, (groups * d.int(1, 2), x.shape[1] // groups, *kernel), low=-128, high=255)
    shape = (w.shape[0],) if d.chance(0.4) else ()

    def scales(shape: tuple[int, ...]) -> np.ndarray:
        return d.random.uniform(0.1, 0.9, shape).astype(np.float32)

    # One zero point for all channels of the weights: onnxruntime takes no others.
    point = zero_point(d, w_type, ())
    inputs = [
        x, scales(()), zero_point(d, dtype, ()), w, scales(shape), np.full(shape, point),
        scales(()), zero_point(d, dtype, ()),
    ]  # fmt: skip
    if d.chance(0.5):
        inputs.append(d.array(np.int32, (w.shape[0],), low=-500, high=500))
    return Node(inputs, attrs | {"group": groups}, constants=(3, 4, 5))
