"""Which method can quantize a model, under its known name; see `lqmf.planning.compatibility`."""

from lqmf.planning.compatibility import Row, compatibility

__all__ = ["Row", "compatibility"]
