"""Random draws for `random_graphs.py`: shapes, values, element types, and the table of families.

A family is a function that draws one node of one or more operators. To add an operator, write such a
function in a module of `families/` and put `@family("Name", ...)` on it: it takes the [`Draw`] and returns
a [`Node`].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}
FLOATS = (np.float32, np.float64, np.float16)
OLDEST_OPSET = 7
# Floats up to here that are whole numbers have exact sums and products, in whatever order.
EXACT_LIMIT = 1 << 18


class Redraw(Exception):
    """What was drawn does not go together."""


@dataclass
class Value:
    """A value of the graph and what onnxruntime says it is."""

    name: str
    array: np.ndarray
    # Whether every implementation has the same bits here.
    exact: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim


@dataclass
class Node:
    """One call of an operator. An array among the inputs becomes a value of its own; None is left out."""

    inputs: list[Value | np.ndarray | None]
    attrs: dict[str, object] = field(default_factory=dict)
    outputs: int = 1
    # The largest number that was added up, where that is not seen in inputs and outputs.
    scale: float = 0.0
    # These inputs must be constants, for onnxruntime wants them so.
    constants: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tolerance:
    rtol: float
    atol: float


@dataclass(frozen=True)
class Family:
    op: str
    draw: Callable[["Draw"], Node]
    domain: str
    # The results are exact: compared bit for bit.
    exact: bool
    # A small error of the input is a small one of the output, so the node may stand behind inexact ones.
    tame: bool
    # Of float32 results, relative to the result and to the largest number involved.
    tolerance: Tolerance
    oldest: int


FAMILIES: list[Family] = []


def family(
    *ops: str,
    domain: str = "",
    exact: bool = False,
    tame: bool = True,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    oldest: int = OLDEST_OPSET,
) -> Callable:
    def register(draw: Callable[["Draw"], Node]) -> Callable:
        for op in ops:
            FAMILIES.append(Family(op, draw, domain, exact, tame, Tolerance(rtol, atol), oldest))
        return draw

    return register


class Draw:
    """The dice, and what has been drawn: operator, opset, the values there are."""

    def __init__(self, random: np.random.Generator, pool: list[Value] | None = None):
        self.random = random
        # The values of a graph that is being drawn; none for a single node.
        self.pool = pool
        self.family: Family | None = None
        self.opset = 0
        self.schema: onnx.defs.OpSchema | None = None

    @property
    def op(self) -> str:
        return self.family.op

    def begin(self, drawn: Family, opset: int | None, newest: int) -> None:
        """A family, at an opset that has it."""
        if opset is None:
            recent = self.chance(0.4)
            opset = newest if recent else self.int(max(OLDEST_OPSET, drawn.oldest), newest)
        self.family, self.opset = drawn, opset
        self.schema = None
        if drawn.domain == "":
            try:
                self.schema = onnx.defs.get_schema(drawn.op, opset)
            except onnx.defs.SchemaError:
                raise Redraw from None
            if self.schema.deprecated or opset < drawn.oldest:
                raise Redraw

    # Numbers.

    def chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def int(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.random.integers(low, high + 1))

    def float(self, low: float, high: float) -> float:
        return float(np.float32(self.random.uniform(low, high)))

    def one_of(self, choices: Sequence) -> object:
        return choices[self.int(0, len(choices) - 1)]

    def some(self, choices: Sequence) -> list:
        """A random part, in random order."""
        n = self.int(0, len(choices))
        return [choices[i] for i in self.random.permutation(len(choices))[:n]]

    def maybe(self, attrs: dict[str, object], p: float = 0.6) -> dict[str, object]:
        """Each of the attributes or its default."""
        return {name: value for name, value in attrs.items() if self.chance(p)}

    def axis(self, rank: int) -> int:
        if rank == 0:
            raise Redraw
        return self.int(-rank, rank - 1)

    def signed(self, axis: int, rank: int) -> int:
        """The axis, counted from either end."""
        return axis - rank if self.chance(0.4) else axis

    # Shapes.

    def dim(self) -> int:
        return self.one_of([1, 1, 2, 2, 3, 3, 4, 5, 7, 0 if self.chance(0.25) else 6])

    def shape(self, low: int = 0, high: int = 5) -> tuple[int, ...]:
        rank = min(self.int(low, high), self.int(low, high) if self.chance(0.5) else high)
        shape = tuple(self.dim() for _ in range(rank))
        while 4000 < math.prod(shape):
            shape = tuple(min(dim, 3) for dim in shape)
        return shape

    def partner(self, shape: Sequence[int], wider: bool = True) -> tuple[int, ...]:
        """A shape that broadcasts with `shape`; the result may be larger than that if `wider`."""
        dims = list(shape)
        for axis, dim in enumerate(dims):
            if dim == 1 and wider:
                dims[axis] = self.one_of([1, 1, 2, 3, 0])
            elif self.chance(0.3):
                dims[axis] = 1
        if self.chance(0.3):
            dims = dims[self.int(0, len(dims)):]
        elif wider and len(dims) < 4 and self.chance(0.2):
            dims = [self.one_of([1, 2, 3])] + dims
        return tuple(dims)

    # Element types.

    def types_of(self, position: int) -> list[type]:
        """What the specification lists for an input and numpy has."""
        formal = self.schema.inputs[min(position, len(self.schema.inputs) - 1)]
        return sorted((TYPES[t] for t in formal.types if t in TYPES), key=lambda t: np.dtype(t).str)

    def dtype(self, position: int = 0, among: Sequence[type] | None = None) -> type:
        types = [t for t in self.types_of(position) if among is None or t in among]
        if not types:
            raise Redraw
        if np.float32 in types and self.chance(0.5):
            return np.float32
        return self.one_of(types)

    # Values.

    def array(
        self,
        dtype: type,
        shape: Sequence[int],
        low: float = -4,
        high: float = 4,
        special: bool = False,
    ) -> np.ndarray:
        """Elements between `low` and `high`; `special` adds infinities and NaN, or an integer's ends."""
        shape = tuple(shape)
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return self.random.integers(0, 2, shape).astype(np.bool_)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            low, high = max(math.ceil(low), limits.min), min(math.floor(high), limits.max)
            array = self.random.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(dtype)
            if special and self.chance(0.2):
                whole = self.random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
                array = np.where(self.random.random(shape) < 0.5, whole, array).astype(dtype)
            return array
        if self.pool is not None or self.chance(0.2):
            low, high = math.ceil(low), math.floor(high)
            if high < low:
                raise Redraw
            return self.random.integers(low, high, shape, endpoint=True).astype(dtype)
        array = self.random.uniform(low, high, shape).astype(dtype)
        if self.chance(0.2):
            # Ties, and zeros of both signs.
            array = np.clip(np.round(array * 2) / 2, low, high).astype(dtype)
            array = np.where(self.random.random(shape) < 0.1, array * dtype.type(0), array)
        if special and self.chance(0.2):
            odd = self.random.choice(np.array([np.inf, -np.inf, np.nan], dtype), shape)
            array = np.where(self.random.random(shape) < 0.3, odd, array)
        return array.astype(dtype)

    def x(
        self,
        rank: tuple[int, int] = (0, 5),
        types: Sequence[type] | None = None,
        shape: Sequence[int] | None = None,
        low: float = -4,
        high: float = 4,
        special: bool = False,
        position: int = 0,
    ) -> Value | np.ndarray:
        """The operand that a graph's other values may be put in for."""
        listed = self.types_of(position) if self.schema else list(FLOATS)
        fits = [
            value
            for value in self.pool or []
            if value.dtype.type in listed
            and (types is None or value.dtype.type in types)
            and (value.shape == tuple(shape) if shape is not None else rank[0] <= value.ndim <= rank[1])
            and (value.exact or self.family.tame)
            and not (value.array.size and (value.array.min() < low * 16 or high * 16 < value.array.max()))
        ]
        if fits and self.chance(0.85):
            # The later ones first, so that graphs become deep.
            return fits[max(self.int(0, len(fits) - 1), self.int(0, len(fits) - 1))]
        if self.schema is not None:
            dtype = self.dtype(position, types)
        else:
            dtype = np.float32 if types is None else self.one_of(types)
        return self.array(dtype, self.shape(*rank) if shape is None else shape, low, high, special)

    def another(self, like: Value | np.ndarray, shape: Sequence[int], **how: object) -> Value | np.ndarray:
        """Another operand of the same type."""
        fits = [
            value
            for value in self.pool or []
            if value.dtype == like.dtype
            and (value.exact or self.family.tame)
            and broadcasts(value.shape, like.shape)
        ]
        if fits and "low" not in how and self.chance(0.5):
            return self.one_of(fits)
        return self.array(like.dtype, shape, **how)

    def ints(self, values: Sequence[int], dtype: type = np.int64) -> np.ndarray:
        return np.array(values, dtype).reshape(len(values))


def broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b)))


def largest(arrays: Sequence[np.ndarray]) -> float:
    """Of the finite floats among them."""
    found = 0.0
    for array in arrays:
        if array.dtype.kind == "f" and array.size:
            finite = np.abs(array[np.isfinite(array)].astype(np.float64))
            found = max(found, float(finite.max(initial=0)))
    return found
