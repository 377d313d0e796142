"""LQMF: one sentence in, a quantized language model with a measured quality receipt out.

Importing this package imports nothing heavy: no torch, transformers, llama_cpp or provider SDK.
"""

__version__ = "0.1.0"
