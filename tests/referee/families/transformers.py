"""Attention and rotary embeddings, and the fused operators of `com.microsoft` that exporters leave."""

import numpy as np

from drawing import Draw, Node, family

MICROSOFT = "com.microsoft"


def numbers(d: Draw, *shape: int, low: float = -2, high: float = 2) -> np.ndarray:
    return d.array(np.float32, shape, low=low, high=high)


@family("Attention", tame=False, atol=1e-5, oldest=23)
def attention(d: Draw) -> Node:
    batch, kv_heads, size, v_size = d.int(1, 2), d.int(1, 2), d.int(1, 4), d.int(1, 4)
    heads = kv_heads * d.int(1, 2)
    queries, keys = d.int(1, 4), d.int(1, 4)
    # Of a single query onnxruntime believes that it is the last one.
    attrs = d.maybe({"is_causal": d.int(0, 1) if 1 < queries else 0}, 0.4)
    attrs |= d.maybe({"scale": d.float(0.1, 1)}, 0.3) | d.maybe({"softcap": d.float(1, 4)}, 0.2)
    if d.chance(0.5):
        q = numbers(d, batch, heads, queries, size)
        k, v = numbers(d, batch, kv_heads, keys, size), numbers(d, batch, kv_heads, keys, v_size)
    else:
        q = numbers(d, batch, queries, heads * size)
        k, v = numbers(d, batch, keys, kv_heads * size), numbers(d, batch, keys, kv_heads * v_size)
        attrs |= {"q_num_heads": heads, "kv_num_heads": kv_heads}
    inputs = [q, k, v]
    past = d.int(0, 3) if d.chance(0.3) else 0
    if d.chance(0.5):
        shape = d.one_of([(queries, keys + past), (batch, 1, queries, keys + past)])
        inputs.append(d.array(d.one_of([np.float32, np.bool_]), shape))
        if inputs[-1].dtype == np.bool_:
            # A row that may look nowhere has no softmax.
            inputs[-1][..., 0] = True
    if past:
        inputs += [None] * (4 - len(inputs))
        inputs += [numbers(d, batch, kv_heads, past, size), numbers(d, batch, kv_heads, past, v_size)]
    return Node(inputs, attrs, outputs=3 if past else 1, scale=4)


@family("RotaryEmbedding", oldest=23)
def rotary_embedding(d: Draw) -> Node:
    batch, heads, length, half = d.int(1, 2), d.int(1, 3), d.int(1, 4), d.int(1, 3)
    attrs = d.maybe({"interleaved": d.int(0, 1)})
    if d.chance(0.5):
        x = numbers(d, batch, heads, length, 2 * half)
    else:
        x = numbers(d, batch, length, heads * 2 * half)
        attrs["num_heads"] = heads
    if d.chance(0.5):
        table = (d.int(length, 6), half)
        ids = d.random.integers(0, table[0], (batch, length)).astype(np.int64)
        return Node([x, numbers(d, *table, low=-1, high=1), numbers(d, *table, low=-1, high=1), ids], attrs)
    table = (batch, length, half)
    return Node([x, numbers(d, *table, low=-1, high=1), numbers(d, *table, low=-1, high=1)], attrs)


@family("Gelu", "QuickGelu", domain=MICROSOFT, rtol=2e-5)
def gelu(d: Draw) -> Node:
    x = d.x(rank=(1, 4), types=[np.float32])
    return Node([x], d.maybe({"alpha": d.float(0.5, 2)}) if d.op == "QuickGelu" else {}, scale=4)


@family("FastGelu", "BiasGelu", domain=MICROSOFT, rtol=2e-5)
def gelu_with_bias(d: Draw) -> Node:
    x = d.x(rank=(1, 4), types=[np.float32])
    bias = d.array(np.float32, x.shape[-1:])
    return Node([x, bias] if d.op == "BiasGelu" or d.chance(0.5) else [x], scale=8)


@family("SkipLayerNormalization", domain=MICROSOFT, tame=False, atol=1e-5)
def skip_layer_normalization(d: Draw) -> Node:
    x = numbers(d, d.int(1, 2), d.int(1, 4), d.int(4, 8))
    skip = d.array(np.float32, x.shape)
    inputs = [x, skip, numbers(d, x.shape[-1])]
    if d.chance(0.6):
        inputs.append(numbers(d, x.shape[-1]) if d.chance(0.7) else None)
        if inputs[-1] is None or d.chance(0.5):
            inputs.append(numbers(d, x.shape[-1]))
    return Node(inputs, d.maybe({"epsilon": d.float(1e-3, 1e-2)}), scale=64)


@family("FusedMatMul", domain=MICROSOFT)
def fused_matmul(d: Draw) -> Node:
    batch = tuple(d.int(1, 3) for _ in range(d.int(0, 2)))
    m, k, n = d.int(1, 4), d.int(1, 5), d.int(1, 4)
    flip_a, flip_b = d.int(0, 1), d.int(0, 1)
    a = numbers(d, *batch, *((k, m) if flip_a else (m, k)))
    b = numbers(d, *batch, *((n, k) if flip_b else (k, n)))
    attrs = {"transA": flip_a, "transB": flip_b} | d.maybe({"alpha": d.float(-2, 2)})
    return Node([a, b], attrs, scale=64)


@family("Attention", domain=MICROSOFT, tame=False, atol=1e-5)
def microsoft_attention(d: Draw) -> Node:
    batch, length, heads, size = d.int(1, 2), d.int(1, 4), d.int(1, 3), d.int(1, 4)
    width, hidden = d.int(1, 5), heads * size
    x = numbers(d, batch, length, width)
    inputs = [x, numbers(d, width, 3 * hidden), numbers(d, 3 * hidden)]
    if d.chance(0.5):
        inputs.append(d.random.integers(1, length + 1, batch).astype(np.int32))
    attrs = {"num_heads": heads} | d.maybe({"unidirectional": d.int(0, 1)}, 0.4)
    return Node(inputs, attrs, scale=16)
