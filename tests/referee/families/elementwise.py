"""Operators that work element by element: one operand, or several that broadcast."""

import numpy as np

from drawing import Draw, Node, Redraw, family

# Above this, float32 functions of growing slope magnify the last bit of their argument.
WIDE = {"low": -30.0, "high": 30.0}


@family("Abs", "Neg", "Relu", "Ceil", "Floor", "Round", "Sign", "Reciprocal", "Sqrt", exact=True)
def exact_unary(d: Draw) -> Node:
    # Floor and the like jump, a root or a reciprocal is steep at 0: they are exact, so never behind a
    # rounded value of a graph.
    if d.pool is not None and d.op not in ("Abs", "Neg", "Relu"):
        raise Redraw
    return Node([d.x(special=True, **WIDE)])


@family(
    "Sin", "Cos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Erf", "Sigmoid", "Softplus", "Softsign",
    "Mish", "HardSwish", "Exp",
    # Small results of functions that are built from larger terms.
    rtol=2e-5, atol=1e-6,
)  # fmt: skip
def unary(d: Draw) -> Node:
    x = d.x(special=True, low=-9, high=9)
    if d.op == "HardSwish" and x.dtype == np.float64:
        # onnxruntime has 1/6 from an attribute, which is a float32.
        raise Redraw
    return Node([x], scale=1)


@family("Log", "Acosh", tame=False)
def above(d: Draw) -> Node:
    return Node([d.x(special=True, low=0 if d.op == "Log" else 1, high=9)])


@family("Asin", "Acos", "Atanh", tame=False, rtol=2e-5)
def within_one(d: Draw) -> Node:
    return Node([d.x(special=True, low=-1, high=1)])


@family("Tan", tame=False, rtol=2e-5)
def tan(d: Draw) -> Node:
    return Node([d.x(low=-1.5, high=1.5)])


UNARY_ATTRS = {
    "HardSigmoid": {"alpha": (-1, 1), "beta": (-1, 1)},
    "LeakyRelu": {"alpha": (-1, 1)},
    "Elu": {"alpha": (-1, 2)},
    "Selu": {"alpha": (-1, 2), "gamma": (0.5, 2)},
    # The specification defines it with alpha as a divisor and as a factor; 0 is left out.
    "Celu": {"alpha": (0.1, 2)},
    "Swish": {"alpha": (-1, 2)},
}


@family(*UNARY_ATTRS, rtol=2e-5)
def unary_with_attributes(d: Draw) -> Node:
    x = d.x(special=True, low=-9, high=9)
    attrs = {name: d.float(*ends) for name, ends in UNARY_ATTRS[d.op].items()}
    return Node([x], d.maybe(attrs))


@family("ThresholdedRelu", "Shrink", tame=False, exact=True)
def thresholds(d: Draw) -> Node:
    if d.op == "Shrink":
        # onnxruntime adds a negative bias to unsigned numbers by way of a cast that C++ leaves undefined.
        # In float64 it rounds to float32 on the way.
        signed = [t for t in d.types_of(0) if np.dtype(t).kind != "u" and t != np.float64]
        attrs = {"lambd": float(d.int(0, 3)), "bias": float(d.int(-2, 2))}
        return Node([d.x(types=signed)], d.maybe(attrs))
    # NaN is above no threshold, but mpq passes it on.
    return Node([d.x()], d.maybe({"alpha": d.one_of([0.0, 0.5, 1.0, -1.0, 2.0])}))


@family("Gelu", rtol=2e-5)
def gelu(d: Draw) -> Node:
    attrs = d.maybe({"approximate": d.one_of(["none", "tanh"])})
    # onnxruntime has the constants of the approximation in float32 only.
    types = [np.float32, np.float16] if attrs.get("approximate") == "tanh" else None
    return Node([d.x(types=types, low=-6, high=6)], attrs)


@family("Not", "BitwiseNot", "IsNaN", exact=True, tame=False)
def tests(d: Draw) -> Node:
    return Node([d.x(special=True)])


@family("IsInf", exact=True, tame=False)
def is_inf(d: Draw) -> Node:
    attrs = d.maybe({"detect_negative": d.int(0, 1), "detect_positive": d.int(0, 1)})
    return Node([d.x(special=True)], attrs)


@family("Clip", exact=True)
def clip(d: Draw) -> Node:
    # Whether infinities pass where a bound is absent: the text of the specification says no, the function
    # beside it yes.
    x = d.x()
    # Also with min above max: opset 13 on says that everything becomes max.
    low, high = (d.array(x.dtype, ()) for _ in range(2))
    if d.opset < 11:
        if float(high) < float(low):
            low, high = high, low
        return Node([x], d.maybe({"min": float(low), "max": float(high)}))
    if d.opset < 13 and high < low:
        low, high = high, low
    inputs = [x, low if d.chance(0.7) else None, high if d.chance(0.7) else None]
    while inputs[-1] is None:
        inputs.pop()
    return Node(inputs)


@family("Add", "Sub", "Mul", exact=True)
def arithmetic(d: Draw) -> Node:
    a = d.x(special=True)
    b = d.another(a, d.partner(a.shape), special=d.pool is None)
    return Node([a, b] if d.chance(0.5) else [b, a])


@family("Div", exact=True, tame=False)
def division(d: Draw) -> Node:
    a = d.x(special=True)
    b = d.array(a.dtype, d.partner(a.shape), special=True)
    if b.dtype.kind in "iu":
        b = np.where(b == 0, b.dtype.type(3), b)
        if b.dtype.kind == "i":
            # The smallest number by -1 has no quotient; onnxruntime crashes.
            b = np.where(b == -1, b.dtype.type(-2), b)
    return Node([a, b])


@family("Mod", exact=True, tame=False)
def modulo(d: Draw) -> Node:
    a = d.x(special=True)
    b = d.array(a.dtype, d.partner(a.shape))
    if b.dtype.kind in "iu":
        b = np.where(b == 0, b.dtype.type(3), b)
        if b.dtype.kind == "i":
            b = np.where(b == -1, b.dtype.type(-2), b)
    # Floats have only fmod.
    fmod = 1 if a.dtype.kind == "f" else d.int(0, 1)
    return Node([a, b], {"fmod": fmod})


@family("Max", "Min", exact=True)
def extremes(d: Draw) -> Node:
    # onnxruntime's Max and Min pass NaN on in some loops and not in others.
    return several(d)


@family("Sum", "Mean", rtol=1e-6)
def sums(d: Draw) -> Node:
    return several(d)


def several(d: Draw) -> Node:
    a = d.x()
    if d.opset < 8:
        # They did not broadcast yet.
        return Node([a] + [d.array(a.dtype, a.shape) for _ in range(d.int(0, 3))])
    return Node([a] + [d.another(a, d.partner(a.shape, wider=i == 0)) for i in range(d.int(0, 3))])


@family("Pow", tame=False, rtol=2e-5)
def power(d: Draw) -> Node:
    a = d.x(low=0, high=5)
    # Before opset 12 both are of one type.
    dtype = a.dtype.type if d.opset < 12 else d.dtype(1)
    b = d.array(dtype, d.partner(a.shape), low=0, high=3)
    if np.dtype(dtype).kind == "f":
        if a.dtype.kind != "f":
            # Whether a rounded power is below or above a whole number is left open.
            b = np.round(b).astype(dtype)
        elif d.chance(0.3):
            b = np.full_like(b, d.one_of([0, 0.5, 1, 2, 3]))
    return Node([a, b])


@family("BitShift", exact=True, tame=False)
def shift(d: Draw) -> Node:
    a = d.x(special=True)
    # A shift by all the bits or more is undefined.
    b = d.array(a.dtype, d.partner(a.shape), low=0, high=a.dtype.itemsize * 8 - 1)
    return Node([a, b], {"direction": d.one_of(["LEFT", "RIGHT"])})


@family("BitwiseAnd", "BitwiseOr", "BitwiseXor", "And", "Or", "Xor", exact=True, tame=False)
def bits(d: Draw) -> Node:
    a = d.x(special=True)
    return Node([a, d.another(a, d.partner(a.shape), special=True)])


@family("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", exact=True, tame=False)
def comparison(d: Draw) -> Node:
    a = d.x(special=True)
    return Node([a, d.another(a, d.partner(a.shape), special=d.pool is None)])


@family("Where", exact=True)
def where(d: Draw) -> Node:
    a = d.x(special=True, position=1)
    return Node([
        d.array(np.bool_, d.partner(a.shape)),
        a,
        d.another(a, d.partner(a.shape, wider=False)),
    ])


@family("PRelu", exact=True)
def prelu(d: Draw) -> Node:
    x = d.x(special=True)
    return Node([x, d.array(x.dtype, d.partner(x.shape, wider=False))])


@family("Identity", exact=True)
def identity(d: Draw) -> Node:
    return Node([d.x(special=True)])


@family("Dropout", exact=True)
def dropout(d: Draw) -> Node:
    x = d.x()
    # What the mask is outside of training, opset 12 was the first to say.
    outputs = d.int(1, 2)
    if d.opset < 12:
        return Node([x], d.maybe({"ratio": d.float(0, 0.9)}))
    return Node([x, np.array(d.float(0, 0.9), np.float32)] if d.chance(0.5) else [x], {}, outputs)


CASTS = {np.dtype(t): int(onnx_type) for t, onnx_type in {
    np.float32: 1, np.uint8: 2, np.int8: 3, np.uint16: 4, np.int16: 5, np.int32: 6, np.int64: 7,
    np.bool_: 9, np.float16: 10, np.float64: 11, np.uint32: 12, np.uint64: 13,
}.items()}  # fmt: skip


def castable(d: Draw) -> tuple[object, np.dtype]:
    to = np.dtype(d.one_of(list(CASTS)))
    x = d.x(special=to.kind == "f")
    kind = x.dtype.kind
    if kind == "f" and to.kind in "iu":
        # A float that the integers do not hold has no defined cast.
        low = 0 if to.kind == "u" else -4
        x = d.array(x.dtype, x.shape, low=low, high=100)
    if x.dtype == np.float64 and to == np.float16:
        # onnxruntime rounds twice, by way of float32.
        raise Redraw
    if kind in "iu" and to == np.float16:
        x = d.array(x.dtype, x.shape)
    return x, to


@family("Cast", exact=True, tame=False)
def cast(d: Draw) -> Node:
    x, to = castable(d)
    return Node([x], {"to": CASTS[to]})


@family("CastLike", exact=True, tame=False)
def cast_like(d: Draw) -> Node:
    x, to = castable(d)
    return Node([x, d.array(to, d.shape(0, 2))])

