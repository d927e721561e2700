"""Operators that move elements or make them from sizes: exact in every type."""

import math

import numpy as np
from onnx import numpy_helper

from drawing import Draw, Node, Redraw, family


@family("Reshape", exact=True)
def reshape(d: Draw) -> Node:
    x = d.x()
    size, dims = x.array.size if hasattr(x, "array") else x.size, []
    rest = size
    while rest and d.chance(0.7) and len(dims) < 5:
        dims.append(d.one_of([n for n in range(1, rest + 1) if rest % n == 0]))
        rest //= dims[-1]
    dims.append(rest)
    dims = [dims[i] for i in d.random.permutation(len(dims))]
    attrs = {}
    if size == 0:
        allow = 14 <= d.opset and d.chance(0.5)
        attrs = {"allowzero": 1} if allow else {}
        if not allow:
            # A 0 takes over the dimension of the input.
            dims = [0 if n == 0 else d.one_of([n, 0]) for n in x.shape]
        return Node([x, d.ints(dims)], attrs)
    dims = [0 if i < x.ndim and n == x.shape[i] and d.chance(0.3) else n for i, n in enumerate(dims)]
    if dims and d.chance(0.5):
        dims[d.int(0, len(dims) - 1)] = -1
    if size == 1 and d.chance(0.3):
        dims = []
    return Node([x, d.ints(dims)], attrs)


@family("Flatten", exact=True)
def flatten(d: Draw) -> Node:
    x = d.x()
    axis = d.int(0 if d.opset < 11 else -x.ndim, x.ndim)
    return Node([x], {"axis": axis} if x.ndim == 0 or d.chance(0.7) else {})


@family("Squeeze", exact=True)
def squeeze(d: Draw) -> Node:
    x = d.x()
    axes = d.some([axis for axis, n in enumerate(x.shape) if n == 1])
    if 11 <= d.opset:
        axes = [d.signed(axis, x.ndim) for axis in axes]
    if not axes:
        # An empty list: onnxruntime squeezes all; the specification says so only of an absent one.
        return Node([x])
    return Node([x, d.ints(axes)]) if 13 <= d.opset else Node([x], {"axes": axes})


@family("Unsqueeze", exact=True)
def unsqueeze(d: Draw) -> Node:
    x = d.x(rank=(0, 3))
    n = d.int(1, 2)
    axes = [int(axis) for axis in d.random.permutation(x.ndim + n)[:n]]
    if 11 <= d.opset:
        axes = [d.signed(axis, x.ndim + n) for axis in axes]
    return Node([x, d.ints(axes)]) if 13 <= d.opset else Node([x], {"axes": axes})


@family("Transpose", exact=True)
def transpose(d: Draw) -> Node:
    x = d.x()
    perm = [int(axis) for axis in d.random.permutation(x.ndim)]
    return Node([x], {"perm": perm} if x.ndim and d.chance(0.8) else {})


@family("Expand", exact=True)
def expand(d: Draw) -> Node:
    x = d.x()
    return Node([x, d.ints(d.partner(x.shape))])


@family("Tile", exact=True)
def tile(d: Draw) -> Node:
    # onnxruntime refuses rank 0.
    x = d.x(rank=(1, 4))
    return Node([x, d.ints([d.int(0, 3) if d.chance(0.2) else d.int(1, 3) for _ in x.shape])])


@family("Concat", exact=True)
def concat(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    axis = d.axis(x.ndim) if 11 <= d.opset else d.int(0, x.ndim - 1)
    parts = [x]
    for _ in range(d.int(0, 3)):
        shape = list(x.shape)
        shape[axis] = d.dim()
        parts.append(d.array(x.dtype, shape))
    return Node([parts[i] for i in d.random.permutation(len(parts))], {"axis": axis})


@family("Split", exact=True)
def split(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    axis = d.axis(x.ndim) if 11 <= d.opset else d.int(0, x.ndim - 1)
    n = x.shape[axis]
    attrs = {"axis": axis}
    if d.chance(0.5):
        parts = d.int(1, 4)
        cuts = sorted(d.int(0, n) for _ in range(parts - 1))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, n])]
        if d.opset < 13:
            return Node([x], attrs | {"split": sizes}, parts)
        return Node([x, d.ints(sizes)], attrs, parts)
    if 18 <= d.opset:
        if n == 0:
            raise Redraw
        parts = d.int(1, n)
        # Every part but the last has the size of the first, and none may be negative.
        if n < math.ceil(n / parts) * (parts - 1):
            raise Redraw
        return Node([x], attrs | {"num_outputs": parts}, parts)
    parts = d.one_of([p for p in range(1, 5) if n % p == 0])
    return Node([x], attrs, parts)


@family("Slice", exact=True)
def slices(d: Draw) -> Node:
    x = d.x(rank=(1, 5))
    axes = d.some(range(x.ndim)) or [0]
    n = len(axes)
    far = [np.iinfo(np.int32).max, np.iinfo(np.int32).min + 1]

    def end(size: int) -> int:
        return d.one_of(far) if d.chance(0.15) else d.int(-size - 2, size + 2)

    starts = [end(x.shape[axis]) for axis in axes]
    ends = [end(x.shape[axis]) for axis in axes]
    if d.opset < 10:
        return Node([x], {"axes": axes, "starts": starts, "ends": ends})
    dtype = d.one_of([np.int32, np.int64])
    if dtype == np.int64 and d.chance(0.1):
        ends[0] = d.one_of([np.iinfo(np.int64).max, np.iinfo(np.int64).min])
    if 11 <= d.opset:
        axes = [d.signed(axis, x.ndim) for axis in axes]
    steps = [d.one_of([1, 1, 2, 3, 9, -1, -1, -2, -5]) for _ in axes]
    # onnxruntime takes the largest number for the end in whichever direction; to the specification it is
    # a number beyond the last element.
    ends = [min(e, 1000) if step < 0 else e for e, step in zip(ends, steps)]
    inputs = [x, d.ints(starts, dtype), d.ints(ends, dtype), d.ints(axes, dtype), d.ints(steps, dtype)]
    if d.chance(0.3):
        inputs.pop()
    if sorted(axis % x.ndim for axis in axes) == list(range(n)) and axes == sorted(axes) and min(axes) == 0:
        if d.chance(0.5):
            inputs[3:4] = [None] if len(inputs) == 5 else []
    return Node(inputs)


@family("Pad", exact=True)
def pad(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    modes = ["constant", "reflect", "edge"] + (["wrap"] if 19 <= d.opset else [])
    mode = d.one_of(modes)
    axes = list(range(x.ndim))
    if 18 <= d.opset and d.chance(0.4):
        axes = d.some(axes) or [0]
    before, after = [], []
    for axis in axes:
        n = x.shape[axis]
        if mode == "constant":
            first, last = d.int(-1, 4), d.int(-1, 4)
        elif mode == "reflect":
            # onnxruntime repeats a reflection only once.
            first, last = d.int(0, max(n - 1, 0)), d.int(0, max(n - 1, 0))
        elif mode == "wrap":
            first, last = d.int(0, n), d.int(0, n)
        else:
            first, last = d.int(0, 4), d.int(0, 4)
        # Cutting away and repeating at once: onnxruntime and the reference implementation differ.
        if n + min(first, 0) + min(last, 0) < 0 or (n == 0 and mode != "constant"):
            raise Redraw
        before.append(first)
        after.append(last)
    attrs = d.maybe({"mode": mode}) if mode == "constant" else {"mode": mode}
    pads = before + after
    if d.opset < 11:
        if mode == "constant":
            attrs |= d.maybe({"value": float(d.int(-3, 3))})
        return Node([x], attrs | {"pads": pads})
    inputs = [x, d.ints(pads)]
    if d.chance(0.5) and mode == "constant":
        inputs.append(d.array(x.dtype, ()))
    if len(axes) < x.ndim or axes != list(range(x.ndim)):
        inputs += [None] * (3 - len(inputs))
        inputs.append(d.ints([d.signed(axis, x.ndim) for axis in axes]))
    return Node(inputs, attrs)


@family("DepthToSpace", exact=True)
def depth_to_space(d: Draw) -> Node:
    block = d.int(1, 3)
    x = d.x(shape=(d.int(1, 2), block * block * d.int(1, 2), d.int(1, 3), d.int(1, 3)))
    attrs = {"blocksize": block}
    if 11 <= d.opset:
        attrs |= d.maybe({"mode": d.one_of(["DCR", "CRD"])})
    return Node([x], attrs)


@family("SpaceToDepth", exact=True)
def space_to_depth(d: Draw) -> Node:
    block = d.int(1, 3)
    x = d.x(shape=(d.int(1, 2), d.int(1, 3), block * d.int(1, 2), block * d.int(1, 2)))
    return Node([x], {"blocksize": block})


@family("Shape", exact=True)
def shape_of(d: Draw) -> Node:
    x = d.x()
    attrs = {}
    if 15 <= d.opset:
        attrs = d.maybe({"start": d.int(-7, 7), "end": d.int(-7, 7)})
    return Node([x], attrs)


@family("Size", exact=True)
def size_of(d: Draw) -> Node:
    return Node([d.x()])


@family("Constant", exact=True)
def constant(d: Draw) -> Node:
    forms = ["value"]
    if 12 <= d.opset:
        forms += ["value_float", "value_floats", "value_int", "value_ints"]
    form = d.one_of(forms)
    if form == "value":
        dtype = d.one_of([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_])
        return Node([], {"value": numpy_helper.from_array(d.array(dtype, d.shape(), special=True))})
    value = {
        "value_float": d.float(-1, 1),
        "value_floats": [d.float(-1, 1) for _ in range(d.int(1, 3))],
        "value_int": d.int(-9, 9),
        "value_ints": [d.int(-9, 9) for _ in range(d.int(1, 3))],
    }[form]
    return Node([], {form: value})


@family("ConstantOfShape", exact=True)
def constant_of_shape(d: Draw) -> Node:
    # onnxruntime makes no float16 and no bool of old opsets; the schema says which types there are.
    dtype = d.one_of([np.float32, np.float64, np.float16, np.int64, np.int8, np.uint8, np.bool_])
    value = numpy_helper.from_array(d.array(dtype, (1,)))
    return Node([d.ints(d.shape())], d.maybe({"value": value}, 0.8))


@family("EyeLike", exact=True)
def eye_like(d: Draw) -> Node:
    x = d.x(rank=(2, 2), types=[np.float32, np.float64, np.int32, np.int64, np.uint64])
    return Node([x], d.maybe({"k": d.int(-8, 8), "dtype": d.one_of([1, 6, 7, 11, 13])}))


@family("Trilu", exact=True)
def triangle(d: Draw) -> Node:
    x = d.x(rank=(2, 4))
    inputs = [x] + ([np.array(d.int(-8, 8), np.int64)] if d.chance(0.7) else [])
    return Node(inputs, d.maybe({"upper": d.int(0, 1)}))


@family("ReverseSequence", exact=True)
def reverse_sequence(d: Draw) -> Node:
    x = d.x(rank=(2, 4))
    batch = d.int(0, 1)
    lengths = [d.int(min(1, x.shape[1 - batch]), x.shape[1 - batch]) for _ in range(x.shape[batch])]
    if 0 in x.shape:
        # onnxruntime divides by the dimension.
        raise Redraw
    return Node([x, d.ints(lengths)], {"batch_axis": batch, "time_axis": 1 - batch})


@family("Range", exact=True)
def span(d: Draw) -> Node:
    dtype = d.dtype()
    if d.schema is not None and np.dtype(dtype).kind == "f":
        step = d.one_of([0.5, 1, 2, -0.25, -1])
    else:
        step = d.one_of([1, 2, 3, -1, -4])
    start, limit = d.int(-9, 9), d.int(-9, 9)
    return Node([np.array(number, dtype) for number in (start, limit, step)])


@family("OneHot", exact=True, tame=False)
def one_hot(d: Draw) -> Node:
    depth = d.int(1, 5)
    # onnxruntime has few of the types.
    kind = d.one_of([np.int64, np.float32, np.int32])
    # Outside of [-depth, depth) all is off; negative ones count from the end since opset 11.
    low = -depth - 2 if 11 <= d.opset else 0
    # onnxruntime refuses indices of rank 0.
    indices = d.random.integers(low, depth + 2, d.shape(1, 3)).astype(kind)
    depth_type = d.one_of([np.int64, np.float32, np.int32])
    values = d.array(d.one_of([np.float32, np.int64, np.int32]), (2,))
    axis = d.int(-indices.ndim - 1, indices.ndim)
    attrs = d.maybe({"axis": axis})
    return Node([indices, np.array(depth, depth_type).reshape(d.one_of([(), (1,)])), values], attrs)


@family("NonZero", exact=True, tame=False)
def non_zero(d: Draw) -> Node:
    # Of rank 0 the specification wants no row of indices; onnxruntime gives one.
    return Node([d.x(rank=(1, 5))])


@family("Compress", exact=True)
def compress(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    attrs = d.maybe({"axis": d.axis(x.ndim) if 11 <= d.opset else d.int(0, x.ndim - 1)})
    n = x.shape[attrs["axis"]] if "axis" in attrs else math.prod(x.shape)
    return Node([x, d.array(np.bool_, (d.int(0, n),))], attrs)
