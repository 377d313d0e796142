"""The Reader promise over llama.cpp's C functions: BERT's family and T5 in GGUF files.

llama.cpp aborts the process on a failed assertion: whatever can be foreseen is refused before, and readers run in the
worker process anyway. Knows tokens, states and logits; nothing of measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines import limits
from lqmf.engines.frame import add_special_tokens
from lqmf.engines.llama.context import ContextOptions, parameters, pass_through
from lqmf.engines.promise import Closing
from lqmf.errors import UnsupportedModel, UsageError
from lqmf.ggml import library
from lqmf.model_files.gguf_files import holds_gguf, model_file
from lqmf.model_files.model_kind import kind_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


can_read = holds_gguf


def open_model(path: Path, device: str) -> LlamaReader:
    """Return the reader for `path`, a GGUF file or a folder with a GGUF model. Raises NotFound, ModelError,
    OutOfMemory."""
    return LlamaReader(model_file(path), device=device)


class LlamaReader(Closing):
    """A GGUF model in memory, with room for one text and, for an encoder-decoder, one answer of the same length."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        self._model: Any = None
        self._contexts: dict[bool, Any] = {}
        self._lib = lib = library.load()
        self.nature = kind_at(path)
        if self.nature == "decoder":
            raise UnsupportedModel(f"{path.name} continues text.", "Open it with an engine.")
        gpu = device != "cpu" and bool(lib.llama_supports_gpu_offload())
        self.device = "gpu" if gpu else "cpu"
        self.reason = f"on the {self.device.upper()}, in the types that the file has"
        self._model = library.open_model(path, f"load {path.name}", n_gpu_layers=-1 if gpu else 0)
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.name, self.vocabulary = library.version(), int(lib.llama_vocab_n_tokens(self._vocab))
        self.context_length = int(lib.llama_model_n_ctx_train(self._model))
        self._width = int(lib.llama_model_n_embd(self._model))

    # ------------------------------------------------------------ text

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of `text`, without special tokens around it."""
        return self._tokenize(text, frame=False)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return `tokens` with the special tokens around them that the file defines for a text."""
        return add_special_tokens(tokens, self._tokenize("a", frame=False), self._tokenize("a", frame=True))

    def _tokenize(self, text: str, *, frame: bool) -> list[int]:
        self._alive()
        return library.tokens(self._lib, self._vocab, text, frame=frame, special=False)

    # ------------------------------------------------------------ states and answers

    def states(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the encoder's last hidden states (T, H) float32 for `tokens`. Raises UsageError for tokens that do not
        fit."""
        import numpy as np

        self._check(tokens)
        context = self._context(embeddings=True)
        self._encode(context, tokens)
        if self.nature == "encoder-decoder":
            flat = np.ctypeslib.as_array(self._lib.llama_get_embeddings(context), shape=(len(tokens), self._width))
            return flat.astype(np.float32)
        rows = [self._lib.llama_get_embeddings_ith(context, place) for place in range(len(tokens))]
        return np.stack([np.ctypeslib.as_array(row, shape=(self._width,)) for row in rows]).astype(np.float32)

    def answers(self, tokens: Sequence[int], target: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits (N, V) of the N tokens of `target`, each predicted from the tokens before it. Raises
        UsageError for an encoder."""
        import numpy as np

        if self.nature != "encoder-decoder":
            raise UsageError("This model is an encoder: it answers nothing.", "Take its states.")
        self._check(tokens)
        self._check(target)
        context = self._context(embeddings=False)
        self._lib.llama_memory_clear(self._lib.llama_get_memory(context), True)
        self._encode(context, tokens)
        start = self._lib.llama_model_decoder_start_token(self._model)
        self._run(self._lib.llama_decode, context, [start, *target[:-1]])
        found = np.ctypeslib.as_array(self._lib.llama_get_logits(context), shape=(len(target), self.vocabulary))
        return found.copy()

    def _context(self, *, embeddings: bool) -> Any:
        """Return the context for states, or for answers; it is made when first needed. A text must go through as one
        batch."""
        if embeddings not in self._contexts:
            options = ContextOptions(self.context_length, library.threads(), "f16", "f16", self.device == "gpu")
            asked = parameters(self._lib, self.context_length, self.context_length, options)
            asked.embeddings = embeddings
            asked.pooling_type = self._lib.LLAMA_POOLING_TYPE_NONE
            doing = f"make room for {self.context_length} tokens"
            self._contexts[embeddings] = library.new_context(self._model, asked, doing)
        return self._contexts[embeddings]

    def _encode(self, context: Any, tokens: Sequence[int]) -> None:
        self._run(self._lib.llama_encode, context, tokens)

    def _run(self, call: Any, context: Any, tokens: Sequence[int]) -> None:
        pass_through(self._lib, call, context, tokens, "run the model")

    def _check(self, tokens: Sequence[int]) -> None:
        self._alive()
        limits.check_tokens(tokens, self.vocabulary)
        limits.check_text(tokens, self.context_length)

    # ------------------------------------------------------------ end

    def _alive(self) -> None:
        if not self._model:
            raise UsageError("This reader is closed.", "Open the model again.")

    def close(self) -> None:
        """Free the model and its contexts; a second call does nothing."""
        while self._contexts:
            self._lib.llama_free(self._contexts.popitem()[1])
        if self._model:
            self._lib.llama_model_free(self._model)
            self._model = None
