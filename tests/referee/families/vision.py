"""Sampling, regions, boxes, and what else image networks need."""

import numpy as np

from drawing import FLOATS, Draw, Node, Redraw, family


@family("GridSample", tame=False, atol=1e-5, oldest=16)
def grid_sample(d: Draw) -> Node:
    n, c = d.int(1, 2), d.int(1, 2)
    rank = 3 if 20 <= d.opset and d.chance(0.3) else 2
    x = d.array(np.float32, (n, c, *(d.int(1, 5) for _ in range(rank))))
    shape = (n, *(d.int(1, 4) for _ in range(rank)), rank)
    # Not at pixels' edges, where rounding decides.
    grid = d.random.uniform(-1.5, 1.5, shape).astype(np.float32)
    modes = ["linear", "nearest", "cubic"] if 20 <= d.opset else ["bilinear", "nearest", "bicubic"]
    mode = d.one_of(modes[:2] if rank == 3 else modes)
    attrs = {"mode": mode} | d.maybe({
        "padding_mode": d.one_of(["zeros", "border", "reflection"]),
        "align_corners": d.int(0, 1),
    })
    return Node([x, grid], attrs, scale=16)


@family("RoiAlign", tame=False, atol=1e-5, oldest=10)
def roi_align(d: Draw) -> Node:
    n, boxes = d.int(1, 2), d.int(0 if d.chance(0.1) else 1, 3)
    x = d.array(np.float32, (n, d.int(1, 2), d.int(2, 6), d.int(2, 6)))
    corners = d.random.uniform(0, 5, (boxes, 2))
    rois = np.concatenate([corners, corners + d.random.uniform(0.1, 5, (boxes, 2))], -1)
    attrs = d.maybe({
        "output_height": d.int(1, 3),
        "output_width": d.int(1, 3),
        "sampling_ratio": d.int(0, 3),
        "spatial_scale": d.one_of([0.5, 1.0]),
        "mode": d.one_of(["avg", "max"]),
    })
    if attrs.get("mode") == "max":
        # onnxruntime says itself that its maximum over several samples is wrong.
        attrs["sampling_ratio"] = 1
    if 16 <= d.opset:
        kinds = ["half_pixel", "output_half_pixel"]
        attrs |= d.maybe({"coordinate_transformation_mode": d.one_of(kinds)})
    indices = d.random.integers(0, n, boxes).astype(np.int64)
    return Node([x, rois.astype(np.float32), indices], attrs, scale=4)


@family("MaxRoiPool", tame=False, exact=True)
def max_roi_pool(d: Draw) -> Node:
    n, boxes = d.int(1, 2), d.int(1, 3)
    x = d.array(np.float32, (n, d.int(1, 2), d.int(2, 6), d.int(2, 6)))
    index = d.random.integers(0, n, (boxes, 1))
    corners = d.random.integers(0, 5, (boxes, 2))
    rois = np.concatenate([index, corners, corners + d.random.integers(0, 4, (boxes, 2))], -1)
    attrs = {"pooled_shape": [d.int(1, 3), d.int(1, 3)]} | d.maybe({"spatial_scale": d.one_of([0.5, 1.0])})
    return Node([x, rois.astype(np.float32)], attrs)


@family("MaxUnpool", exact=True, tame=False, oldest=9)
def max_unpool(d: Draw) -> Node:
    kernel = [d.int(1, 3) for _ in range(d.int(1, 3))]
    # Windows that do not overlap have places that differ.
    attrs = {"kernel_shape": kernel, "strides": kernel}
    shape = (d.int(1, 2), d.int(1, 2), *(d.int(1, 3) for _ in kernel))
    x = d.array(np.float32, shape)
    whole = (*shape[:2], *(n * k for n, k in zip(shape[2:], kernel)))
    # One place in each window, as MaxPool would say it.
    within = np.indices(shape)
    places = [within[0], within[1]]
    for axis, k in enumerate(kernel):
        places.append(within[axis + 2] * k + d.random.integers(0, k, shape))
    indices = np.ravel_multi_index(places, whole).astype(np.int64)
    inputs = [x, indices]
    if d.chance(0.3):
        inputs.append(d.ints(whole))
    return Node(inputs, attrs)


@family("NonMaxSuppression", exact=True, tame=False, oldest=10)
def non_max_suppression(d: Draw) -> Node:
    batch, classes, n = d.int(1, 2), d.int(1, 3), d.int(0 if d.chance(0.1) else 1, 6)
    center = d.int(0, 1)
    corners = d.random.uniform(0, 4, (batch, n, 2))
    sizes = d.random.uniform(0.5, 3, (batch, n, 2))
    ends = sizes if center else corners + sizes
    boxes = np.concatenate([corners, ends], -1).astype(np.float32)
    if not center and d.chance(0.3):
        # Corners may be given in any order.
        boxes = np.concatenate([boxes[..., 2:], boxes[..., :2]], -1)
    # All different: which of equal ones goes first is open.
    scores = d.random.permutation(batch * classes * n).reshape(batch, classes, n).astype(np.float32)
    scores /= max(scores.size, 1)
    optional = [
        np.array(d.int(0, 4), np.int64),
        np.array(d.float(0, 1), np.float32),
        np.array(d.float(0, 1), np.float32),
    ]
    if d.chance(0.5):
        optional = [np.reshape(value, (1,)) for value in optional]
    inputs = [boxes, scores, *optional[: d.int(0, 3)]]
    return Node(inputs, d.maybe({"center_point_box": center}) if not center else {"center_point_box": 1})


@family("Col2Im", tame=False, oldest=18)
def col2im(d: Draw) -> Node:
    rank = d.int(1, 3)
    image = [d.int(2, 5) for _ in range(rank)]
    block = [d.int(1, min(3, n)) for n in image]
    # Of other ranks than 2 onnxruntime takes the wrong elements if there are dilations.
    dilations = [d.int(1, 2) if rank == 2 else 1 for _ in image]
    strides = [d.int(1, 2) for _ in image]
    pads = [d.int(0, 1) for _ in range(2 * rank)]
    blocks = 1
    for i in range(rank):
        room = image[i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1
        if room < 0:
            raise Redraw
        blocks *= room // strides[i] + 1
    x = d.array(np.float32, (d.int(1, 2), d.int(1, 2) * int(np.prod(block)), blocks))
    attrs = {"dilations": dilations, "strides": strides, "pads": pads}
    return Node([x, d.ints(image), d.ints(block)], attrs, scale=64)


@family("DeformConv", tame=False, atol=1e-5, oldest=19)
def deform_conv(d: Draw) -> Node:
    groups, offset_groups = d.int(1, 2), d.int(1, 2)
    channels = groups * offset_groups * d.int(1, 2)
    kernel = [d.int(1, 3), d.int(1, 3)]
    x = d.array(np.float32, (d.int(1, 2), channels, d.int(3, 6), d.int(3, 6)))
    strides, dilations = [d.int(1, 2) for _ in kernel], [d.int(1, 2) for _ in kernel]
    pads = [d.int(0, 1) for _ in range(4)]
    sizes = []
    for i in range(2):
        room = x.shape[2 + i] + pads[i] + pads[2 + i] - dilations[i] * (kernel[i] - 1) - 1
        if room < 0:
            raise Redraw
        sizes.append(room // strides[i] + 1)
    area = kernel[0] * kernel[1]
    w = d.array(np.float32, (groups * d.int(1, 2), channels // groups, *kernel))
    offset = d.array(np.float32, (x.shape[0], offset_groups * area * 2, *sizes), low=-2, high=2)
    inputs = [x, w, offset, d.array(np.float32, (w.shape[0],)) if d.chance(0.5) else None]
    if d.chance(0.5):
        inputs.append(d.array(np.float32, (x.shape[0], offset_groups * area, *sizes), low=0, high=1))
    elif inputs[-1] is None:
        inputs.pop()
    attrs = {"group": groups, "offset_group": offset_groups, "strides": strides}
    attrs |= {"dilations": dilations, "pads": pads} | d.maybe({"kernel_shape": kernel})
    return Node(inputs, attrs, scale=16.0 * channels * area)


@family("CenterCropPad", exact=True, oldest=18)
def center_crop_pad(d: Draw) -> Node:
    x = d.x(rank=(1, 4))
    axes = list(range(x.ndim))
    attrs = {}
    if d.chance(0.5):
        axes = d.some(axes) or [0]
        attrs = {"axes": [d.signed(axis, x.ndim) for axis in axes]}
    sizes = [max(0, x.shape[axis] + d.int(-3, 3)) for axis in axes]
    # onnxruntime replaces it by a function that is for int64 alone.
    return Node([x, d.ints(sizes)], attrs)


@family("AffineGrid", tame=False, oldest=20)
def affine_grid(d: Draw) -> Node:
    rank, n = d.int(2, 3), d.int(1, 2)
    theta = d.array(d.dtype(), (n, rank, rank + 1), low=-1, high=1)
    sizes = [n, d.int(1, 2), *(d.int(2, 4) for _ in range(rank))]
    return Node([theta, d.ints(sizes)], d.maybe({"align_corners": d.int(0, 1)}), scale=4)


@family("Det", tame=False, rtol=1e-4, atol=1e-5, oldest=11)
def determinant(d: Draw) -> Node:
    n = d.int(1, 4)
    return Node([d.array(d.dtype(among=FLOATS), (*d.shape(0, 2), n, n))], scale=4.0**n)


@family("Unique", exact=True, tame=False, oldest=11)
def unique(d: Draw) -> Node:
    x = d.x(rank=(1, 3))
    attrs = d.maybe({"axis": d.axis(x.ndim)}, 0.5) | d.maybe({"sorted": d.int(0, 1)})
    if 0 in x.shape:
        raise Redraw
    return Node([x], attrs, outputs=d.int(1, 4))


EQUATIONS = [
    ("ij,jk->ik", 2), ("ij,jk", 2), ("bij,bjk->bik", 2), ("ij->ji", 1), ("ij->", 1), ("ii->i", 1),
    ("ii", 1), ("i,j->ij", 2), ("ij,ij->ij", 2), ("bhqd,bhkd->bhqk", 2), ("i,ij,j->", 3),
    ("...ij,...jk->...ik", 2), ("...i,...i->...", 2), ("...ij->...ji", 1), ("i j , j k -> i k", 2),
    ("ijk,j->k", 2), ("ij,kj,lj->ikl", 3), ("iij->j", 1),
]  # fmt: skip


@family("Einsum", tame=False, oldest=12)
def einsum(d: Draw) -> Node:
    equation, _ = d.one_of(EQUATIONS)
    terms = equation.replace(" ", "").split("->")[0].split(",")
    sizes = {letter: d.int(1, 4) for letter in "abcdefghijklmnopqrstuvwxyz"}
    lead = tuple(d.int(1, 3) for _ in range(d.int(0, 2)))
    dtype = d.one_of([np.float32, np.float32, np.float64, np.int32, np.int64])
    arrays = []
    for term in terms:
        shape = [sizes[letter] for letter in term if letter != "."]
        if "..." in term:
            shape = [*lead, *shape]
        arrays.append(d.array(dtype, shape))
    return Node(arrays, {"equation": equation}, scale=1024)
