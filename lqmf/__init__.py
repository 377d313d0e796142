"""LQMF: one sentence in, a quantized language model with a measured quality receipt out.

Importing this package imports nothing heavy: no torch, transformers, llama_cpp or provider SDK.
"""

from lqmf import version

__version__ = version.VERSION

__all__ = ["__version__"]
