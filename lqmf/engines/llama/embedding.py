"""Turns texts into vectors by a GGUF embedding model (BERT's family, or a decoder trained for it) on llama.cpp.

Pooling is the file's own, the mean if the file names none. A text longer than the model's context is cut to it. Knows
texts and vectors; nothing of comparing them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines.llama.context import ContextOptions, parameters, pass_through
from lqmf.engines.promise import Closing
from lqmf.errors import ModelError
from lqmf.ggml import library
from lqmf.model_files.gguf_files import model_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 2048  # tokens of one text: a text goes through as one batch


class Embedder(Closing):
    """An embedding model in memory, on the CPU. Use as a context manager. Raises NotFound, ModelError, OutOfMemory."""

    def __init__(self, path: Path) -> None:
        self._lib = lib = library.load()
        self._ctx: Any = None
        self._model = library.open_model(model_file(path), f"load {path.name}", n_gpu_layers=0)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._width = int(lib.llama_model_n_embd(self._model))
        self._longest = min(LONGEST, int(lib.llama_model_n_ctx_train(self._model)) or LONGEST)
        self._open(path.name)

    def _open(self, name: str) -> None:
        lib = self._lib
        options = ContextOptions(self._longest, library.threads(), "f16", "f16", gpu=False)
        for pooling in (lib.LLAMA_POOLING_TYPE_UNSPECIFIED, lib.LLAMA_POOLING_TYPE_MEAN):
            asked = parameters(lib, self._longest, self._longest, options)
            asked.embeddings, asked.pooling_type = True, pooling
            self._ctx = lib.llama_init_from_model(self._model, asked)
            if self._ctx and lib.llama_pooling_type(self._ctx) != lib.LLAMA_POOLING_TYPE_NONE:
                break
            self._free_context()
        if not self._ctx:
            self.close()
            raise library.refusal(f"take embeddings from {name}")
        if lib.llama_pooling_type(self._ctx) == lib.LLAMA_POOLING_TYPE_RANK:
            self.close()
            raise ModelError(f"{name} ranks texts; it gives no embeddings.", "Name an embedding model instead.")

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return the vector (H,) float32 of `text`, of length 1; zeros for a text without tokens."""
        import numpy as np

        tokens = self._tokens(text)
        if not tokens:
            return np.zeros(self._width, dtype=np.float32)
        self._run(tokens)
        address = self._lib.llama_get_embeddings_seq(self._ctx, 0)
        vector: NDArray[np.float32] = np.ctypeslib.as_array(address, shape=(self._width,)).astype(np.float32)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if length > 0 else vector

    def _tokens(self, text: str) -> list[int]:
        if not text.strip():
            return []
        return library.tokens(self._lib, self._vocab, text, frame=True, special=False)[: self._longest]

    def _run(self, tokens: list[int]) -> None:
        lib = self._lib
        encoder = lib.llama_model_has_encoder(self._model) and not lib.llama_model_has_decoder(self._model)
        if memory := lib.llama_get_memory(self._ctx):
            lib.llama_memory_clear(memory, True)
        pass_through(lib, lib.llama_encode if encoder else lib.llama_decode, self._ctx, tokens, "embed a text")

    def _free_context(self) -> None:
        if self._ctx:
            self._lib.llama_free(self._ctx)
            self._ctx = None

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._free_context()
        if self._model:
            self._lib.llama_model_free(self._model)
            self._model = None
