"""The families of operators that `random_graphs.py` draws from; importing this fills the table."""

from . import (  # noqa: F401
    elementwise,
    indexing,
    layers,
    movement,
    quantized,
    recurrent,
    reductions,
    signal,
    transformers,
    vision,
)
