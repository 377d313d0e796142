"""The solver under its known name; see `lqmf.fit.solver`."""

from lqmf.fit.solver import Solution, solve

__all__ = ["Solution", "solve"]
