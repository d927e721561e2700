"""The families of operators that `random_graphs.py` draws from; importing this fills the table."""

from . import elementwise, indexing, layers, movement, reductions  # noqa: F401
