"""Products, convolutions, pools, normalizations, resizing."""

import math

import numpy as np

from drawing import FLOATS, Draw, Node, Redraw, family


@family("MatMul")
def matmul(d: Draw) -> Node:
    batch = d.shape(0, 2)
    m, k, n = d.dim(), d.dim(), d.dim()
    a = d.x(rank=(1, 4)) if d.pool else d.x(shape=(*batch, m, k))
    batch, k = a.shape[:-2], a.shape[-1]
    b = d.array(a.dtype, (*d.partner(batch), k, n))
    if d.chance(0.1):
        b = d.array(a.dtype, (k,))
    elif d.pool is None and d.chance(0.1):
        a = d.array(a.dtype, (k,))
    return Node([a, b], scale=16.0 * max(k, 1))


@family("Gemm")
def gemm(d: Draw) -> Node:
    m, k, n = d.dim(), d.dim(), d.dim()
    flip_a, flip_b = d.int(0, 1), d.int(0, 1)
    a = d.x(rank=(2, 2), types=[*FLOATS])
    m, k = a.shape[::-1] if flip_a else a.shape
    b = d.array(a.dtype, (n, k) if flip_b else (k, n))
    c = d.array(a.dtype, d.partner((m, n), wider=False))
    inputs = [a, b] if 11 <= d.opset and d.chance(0.3) else [a, b, c]
    attrs = {"transA": flip_a, "transB": flip_b}
    attrs |= d.maybe({"alpha": d.float(-2, 2), "beta": d.float(-2, 2)}, 0.5)
    return Node(inputs, attrs, scale=32.0 * max(k, 1))


def window(d: Draw, sizes: tuple[int, ...], dilates: bool = True) -> tuple[list, dict]:
    """A kernel's shape and the attributes that go with it."""
    n = len(sizes)
    kernel = [d.int(1, 3) for _ in sizes]
    attrs = d.maybe({"strides": [d.int(1, 3) for _ in sizes]})
    if dilates:
        attrs |= d.maybe({"dilations": [d.int(1, 2) for _ in sizes]}, 0.4)
    auto = d.one_of(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if auto == "NOTSET":
        # Pads of the kernel's size or more are left to the operators that allow them.
        attrs |= d.maybe({"pads": [d.int(0, kernel[i % n] - 1) for i in range(2 * n)]})
    if auto != "NOTSET" or d.chance(0.1):
        attrs["auto_pad"] = auto
    return kernel, attrs


def fits(x: object, kernel: list[int], attrs: dict) -> bool:
    """Whether a pool is one that onnxruntime does by the book."""
    n = len(kernel)
    dilations, strides = attrs.get("dilations", [1] * n), attrs.get("strides", [1] * n)
    if attrs.get("auto_pad", "NOTSET").startswith("SAME"):
        # It forgets dilations when it pads, and pads by negative numbers if windows leave gaps.
        return max(dilations) == 1 and all(s <= k for s, k in zip(strides, kernel))
    pads = attrs.get("pads", [0] * 2 * n)
    padded = [size + pads[i] + pads[n + i] for i, size in enumerate(x.shape[2:])]
    # A window that is larger than the padded input has no place to be; onnxruntime gives nothing.
    return all((k - 1) * e + 1 <= size for k, e, size in zip(kernel, dilations, padded))


def image(d: Draw, channels: int, types: tuple = FLOATS) -> object:
    """In a graph any that is there; else with so many channels."""
    if d.pool is not None:
        x = d.x(rank=(3, 5), types=types)
        if 0 in x.shape[1:]:
            raise Redraw
        return x
    sizes = [d.int(1, 9 if d.chance(0.7) else 4) for _ in range(d.one_of([1, 2, 2, 2, 3]))]
    batch = 0 if d.chance(0.03) else d.int(1, 2)
    return d.x(shape=(batch, channels, *sizes), types=types)


def groups_of(d: Draw, x: object, most: int) -> int:
    return d.one_of([g for g in range(1, most + 1) if x.shape[1] % g == 0])


@family("Conv")
def conv(d: Draw) -> Node:
    x = image(d, d.int(1, 3) * d.int(1, 3))
    groups = groups_of(d, x, 3)
    kernel, attrs = window(d, x.shape[2:])
    if attrs.get("auto_pad", "").startswith("SAME"):
        # onnxruntime refuses dilations there.
        attrs.pop("dilations", None)
    if d.chance(0.1) and "auto_pad" not in attrs:
        # More padding than the kernel covers is allowed here.
        attrs["pads"] = [d.int(0, 4) for _ in range(2 * len(kernel))]
    w = d.array(x.dtype, (groups * d.int(1, 2), x.shape[1] // groups, *kernel))
    inputs = [x, w] + ([d.array(x.dtype, (w.shape[0],))] if d.chance(0.5) else [])
    attrs |= {"group": groups} if groups != 1 or d.chance(0.5) else {}
    attrs |= d.maybe({"kernel_shape": kernel})
    return Node(inputs, attrs, scale=16.0 * math.prod(w.shape[1:]))


@family("ConvTranspose")
def conv_transpose(d: Draw) -> Node:
    x = image(d, d.int(1, 2) * d.int(1, 2))
    groups = groups_of(d, x, 2)
    kernel, attrs = window(d, x.shape[2:])
    n = len(kernel)
    strides, dilations = attrs.get("strides", [1] * n), attrs.get("dilations", [1] * n)
    spans = [(k - 1) * e + 1 for k, e in zip(kernel, dilations)]
    full = [s * (size - 1) + span for s, size, span in zip(strides, x.shape[2:], spans)]
    pads = attrs.get("pads", [0] * 2 * n)
    if any(size <= pads[i] + pads[n + i] for i, size in enumerate(full)):
        # Nothing is left; onnxruntime refuses that.
        raise Redraw
    if "SAME" in attrs.get("auto_pad", "") and any(span < s for span, s in zip(spans, strides)):
        # It would have to pad by negative numbers, and does not.
        raise Redraw
    if d.chance(0.4):
        # Less than the stride, as the output would be longer than any input's otherwise.
        attrs["output_padding"] = [d.int(0, stride - 1) for stride in strides]
    w = d.array(x.dtype, (x.shape[1], d.int(1, 2), *kernel))
    inputs = [x, w] + ([d.array(x.dtype, (w.shape[1] * groups,))] if d.chance(0.5) else [])
    attrs |= {"group": groups} if groups != 1 or d.chance(0.5) else {}
    attrs |= d.maybe({"kernel_shape": kernel})
    if d.chance(0.1) and "pads" not in attrs:
        attrs["output_shape"] = [max(size - d.int(0, 2), 1) for size in full]
        attrs.pop("output_padding", None)
    return Node(inputs, attrs, scale=16.0 * math.prod(w.shape))


@family("MaxPool", exact=True)
def max_pool(d: Draw) -> Node:
    x = image(d, d.int(1, 3), (*FLOATS, np.int8, np.uint8))
    dilates = 10 <= d.opset
    kernel, attrs = window(d, x.shape[2:], dilates)
    attrs["kernel_shape"] = kernel
    if not fits(x, kernel, attrs):
        raise Redraw
    if 10 <= d.opset:
        attrs |= d.maybe({"ceil_mode": d.int(0, 1)})
    outputs = 2 if 8 <= d.opset and d.chance(0.3) else 1
    if outputs == 2:
        attrs |= d.maybe({"storage_order": d.int(0, 1)}, 0.3)
    return Node([x], attrs, outputs)


@family("AveragePool", "LpPool")
def average_pool(d: Draw) -> Node:
    x = image(d, d.int(1, 3))
    dilates = d.opset >= (19 if d.op == "AveragePool" else 18)
    kernel, attrs = window(d, x.shape[2:], dilates)
    attrs["kernel_shape"] = kernel
    if not fits(x, kernel, attrs):
        raise Redraw
    if d.op == "LpPool":
        attrs |= d.maybe({"p": d.int(1, 3)})
        if 18 <= d.opset:
            attrs |= d.maybe({"ceil_mode": d.int(0, 1)})
        return Node([x], attrs, scale=8)
    attrs |= d.maybe({"count_include_pad": d.int(0, 1)})
    if 10 <= d.opset:
        attrs |= d.maybe({"ceil_mode": d.int(0, 1)})
    return Node([x], attrs)


@family("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(d: Draw) -> Node:
    x = image(d, d.int(1, 3))
    return Node([x], d.maybe({"p": d.int(1, 3)}) if d.op == "GlobalLpPool" else {}, scale=8)


@family("BatchNormalization")
def batch_normalization(d: Draw) -> Node:
    x = d.x(rank=(2, 5), types=FLOATS)
    c = x.shape[1]
    dtype = x.dtype
    scale, bias, mean = (d.array(dtype, (c,)) for _ in range(3))
    variance = d.array(dtype, (c,), low=1, high=4)
    attrs = d.maybe({"epsilon": d.float(1e-5, 1e-2), "momentum": d.float(0, 1)})
    return Node([x, scale, bias, mean, variance], attrs, scale=64)


# Differences from a mean that is rounded, divided by a deviation that may be small.
NORM_ATOL = 1e-5


def spread(d: Draw, shape: tuple[int, ...], axes: range) -> object:
    """Not too few to have a deviation."""
    if math.prod(shape[axis] for axis in axes) < 3 or 0 in shape:
        raise Redraw
    return d.random.permuted(np.linspace(-3, 3, math.prod(shape)).astype(np.float32)).reshape(shape)


@family("InstanceNormalization", tame=False, atol=NORM_ATOL)
def instance_normalization(d: Draw) -> Node:
    shape = d.shape(3, 5)
    x = spread(d, shape, range(2, len(shape)))
    attrs = d.maybe({"epsilon": d.float(1e-5, 1e-2)})
    return Node([x] + [d.array(x.dtype, (shape[1],)) for _ in range(2)], attrs, scale=16)


@family("GroupNormalization", tame=False, atol=NORM_ATOL, oldest=18)
def group_normalization(d: Draw) -> Node:
    groups = d.int(1, 3)
    shape = (d.int(1, 2), groups * d.int(1, 3), *d.shape(1, 3))
    x = spread(d, shape, range(2, len(shape)))
    # Opset 18 had a factor for each group, 21 on has one for each channel.
    n = groups if d.opset < 21 else shape[1]
    attrs = {"num_groups": groups} | d.maybe({"epsilon": d.float(1e-5, 1e-2)})
    return Node([x] + [d.array(x.dtype, (n,)) for _ in range(2)], attrs, scale=16)


@family("LayerNormalization", "RMSNormalization", tame=False, atol=NORM_ATOL)
def layer_normalization(d: Draw) -> Node:
    shape = d.shape(1, 4)
    axis = d.axis(len(shape))
    x = spread(d, shape, range(axis % len(shape), len(shape)))
    x = x.astype(d.dtype())
    scale = d.array(x.dtype, x.shape[axis:])
    attrs = {"axis": axis} | d.maybe({"epsilon": d.float(1e-5, 1e-2)})
    if d.op == "RMSNormalization":
        return Node([x, scale], attrs, scale=16)
    inputs = [x, scale] + ([d.array(x.dtype, x.shape[axis:])] if d.chance(0.5) else [])
    return Node(inputs, attrs, d.int(1, 3), scale=16)


@family("LRN")
def lrn(d: Draw) -> Node:
    x = d.x(shape=(d.int(1, 2), d.int(1, 6), *d.shape(2, 2)), types=FLOATS)
    # onnxruntime takes odd sizes only.
    attrs = {"size": d.one_of([1, 3, 5])}
    return Node([x], attrs | d.maybe({"alpha": d.float(0, 1), "beta": d.float(0, 1), "bias": d.float(1, 2)}))


@family("Upsample", oldest=7)
def upsample(d: Draw) -> Node:
    mode = d.one_of(["nearest", "linear"])
    x = d.x(shape=(d.int(1, 2), d.int(1, 2), d.int(1, 4), d.int(1, 4)), types=[np.float32])
    scales = [1.0, 1.0, d.one_of([1.0, 1.5, 2.0, 3.0]), d.one_of([1.0, 2.0, 2.5])]
    if d.opset < 9:
        return Node([x], {"mode": mode, "scales": scales})
    return Node([x, np.array(scales, np.float32)], {"mode": mode})


@family("Resize", tame=False, oldest=10)
def resize(d: Draw) -> Node:
    if d.opset < 11:
        x = d.x(shape=(d.int(1, 2), d.int(1, 2), d.int(1, 4), d.int(1, 4)), types=[np.float32])
        scales = [1.0, 1.0, d.one_of([0.5, 1.0, 1.5, 2.0]), d.one_of([0.5, 1.0, 2.0, 2.5])]
        return Node([x, np.array(scales, np.float32)], {"mode": d.one_of(["nearest", "linear"])})
    mode = d.one_of(["nearest", "linear", "cubic"])
    ways = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    if 19 <= d.opset:
        ways.append("half_pixel_symmetric")
    attrs = {"mode": mode} | d.maybe({"coordinate_transformation_mode": d.one_of(ways)}, 0.8)
    if mode == "nearest":
        kinds = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attrs |= d.maybe({"nearest_mode": d.one_of(kinds)}, 0.8)
    if mode == "cubic":
        attrs |= d.maybe({"cubic_coeff_a": d.one_of([-0.5, -0.75]), "exclude_outside": d.int(0, 1)})
    x = d.x(shape=(d.int(1, 2), d.int(1, 2), d.int(1, 6), d.int(1, 6)), types=[np.float32])
    if d.chance(0.5):
        # Powers of two: whether another scale meets a pixel's edge is a question of rounding.
        factors = [0.5, 1.0, 2.0, 4.0] if mode == "nearest" else [0.5, 0.7, 1.0, 1.5, 2.0, 3.3]
        scales = [1.0, 1.0, d.one_of(factors), d.one_of(factors)]
        if any(math.floor(n * scale) == 0 for n, scale in zip(x.shape, scales)):
            raise Redraw
        is_aligned = attrs.get("coordinate_transformation_mode") == "align_corners"
        if is_aligned and any(n * scale % 1 for n, scale in zip(x.shape, scales)):
            # The ONNX project's tests put the corner at the unrounded length, onnxruntime does not.
            raise Redraw
        inputs = [x, None, np.array(scales, np.float32)]
    else:
        n = [d.one_of([1, 2, 4]) if mode == "nearest" else d.int(1, 3) for _ in range(2)]
        sizes = [*x.shape[:2], *(size * k for size, k in zip(x.shape[2:], n))]
        inputs = [x, None, None, d.ints(sizes)]
    if 18 <= d.opset and mode != "nearest":
        attrs |= d.maybe({"antialias": d.int(0, 1)}, 0.4)
    if d.opset < 13:
        # An absent region of interest is an empty tensor there.
        inputs[1] = np.zeros(0, np.float32)
        if len(inputs) == 4:
            inputs[2] = np.zeros(0, np.float32)
    return Node(inputs, attrs, scale=8)
