"""One llama.cpp context: the key-value cache and the buffers of a run. Knows tokens and logits, no text.

llama.cpp aborts the process on a wrong call, so the sizes are checked here, before it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lqmf.errors import UsageError
from lqmf.ggml import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KV_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2, "iq4_nl": 20}


@dataclass(frozen=True)
class ContextOptions:
    """The options of a context. `k_type` and `v_type` are those of the cached keys and values; `gpu` says whether
    anything may run on the GPU."""

    batch: int
    threads: int
    k_type: str
    v_type: str
    gpu: bool


class Context:
    """Room for `length` tokens of one sequence, giving up to `outputs` rows of logits from one batch."""

    def __init__(self, lib: Any, model: Any, length: int, outputs: int, options: ContextOptions) -> None:
        self.length, self.outputs = length, outputs
        self._lib = lib
        self._vocabulary: int = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        asked = parameters(lib, length, outputs, options)
        self._batch_size: int = asked.n_batch
        self._ctx = library.new_context(model, asked, f"make room for {length} tokens of context")
        self._memory = lib.llama_get_memory(self._ctx)
        self._one = (lib.llama_token * 1)()
        self._single = lib.llama_batch_get_one(self._one, 1)

    @property
    def pointer(self) -> Any:
        """Return the context's pointer, for the sampler, which reads the last logits out of the context itself."""
        return self._ctx

    def clear(self) -> None:
        """Forget the sequence."""
        self._lib.llama_memory_clear(self._memory, True)

    def feed(self, tokens: Sequence[int]) -> None:
        """Append `tokens`; the logits of the last token are then ready for the sampler. Raises UsageError if the
        context is full."""
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            array = (self._lib.llama_token * len(part))(*part)
            self._check(self._lib.llama_decode(self._ctx, self._lib.llama_batch_get_one(array, len(part))))

    def feed_one(self, token: int) -> None:
        """Append one token without allocating memory. Raises UsageError if the context is full."""
        self._one[0] = token
        self._check(self._lib.llama_decode(self._ctx, self._single))

    def score(self, tokens: Sequence[int], first: int, step: int | None = None) -> NDArray[np.float32]:
        """Return the logits at positions `first`.. of `tokens`, read as a fresh sequence: (T - first, V) float32, a
        copy. Tokens are read `step` at a time, at most a batch."""
        import numpy as np

        self.clear()
        step = min(step or self._batch_size, self._batch_size)
        rows = np.empty((len(tokens) - first, self._vocabulary), dtype=np.float32)
        for start in range(0, len(tokens), step):
            end = min(start + step, len(tokens))
            begin = max(start, first)
            self._decode_part(tokens[start:end], start, first)
            if begin < end:
                address = self._lib.llama_get_logits(self._ctx)
                shape = (end - begin, self._vocabulary)
                rows[begin - first : end - first] = np.ctypeslib.as_array(address, shape=shape)
        return rows

    def _decode_part(self, part: Sequence[int], start: int, first: int) -> None:
        import numpy as np

        count, batch = len(part), self._scoring
        positions = np.arange(start, start + count)
        batch.n_tokens = count
        np.ctypeslib.as_array(batch.token, shape=(count,))[:] = part
        np.ctypeslib.as_array(batch.pos, shape=(count,))[:] = positions
        np.ctypeslib.as_array(batch.logits, shape=(count,))[:] = positions >= first
        self._check(self._lib.llama_decode(self._ctx, batch))

    @cached_property
    def _scoring(self) -> Any:
        """Return room for a batch of tokens, all of one sequence."""
        batch = self._lib.llama_batch_init(self._batch_size, 0, 1)
        for i in range(self._batch_size):
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
        return batch

    def _check(self, code: int) -> None:
        """Raise the error that `code` stands for. Source of the codes: llama_decode in llama.h."""
        if code == 1:
            raise UsageError(f"The context of {self.length} tokens is full.", "Give a larger --context.")
        if code != 0:
            raise library.refusal(f"run the model (code {code})")

    def free(self) -> None:
        if "_scoring" in vars(self):
            self._lib.llama_batch_free(self._scoring)
        self._lib.llama_free(self._ctx)


def parameters(lib: Any, length: int, outputs: int, options: ContextOptions) -> Any:
    """Return llama.cpp's parameters for a context of `length` tokens that gives up to `outputs` rows of logits."""
    asked = lib.llama_context_default_params()
    asked.n_ctx = length
    asked.n_batch = asked.n_ubatch = min(options.batch, length)
    asked.n_outputs_max = min(outputs, asked.n_batch)
    asked.n_threads = asked.n_threads_batch = options.threads
    asked.type_k, asked.type_v = KV_TYPES[options.k_type], KV_TYPES[options.v_type]
    if not {options.k_type, options.v_type} <= {"f32", "f16", "bf16"}:  # quantized values need flash attention
        asked.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    asked.offload_kqv = asked.op_offload = options.gpu
    asked.swa_full = False  # layers with a sliding window keep the window, not the whole context
    asked.no_perf = True
    return asked


def size_for(length: int) -> int:
    """Return the context size (tokens) that llama.cpp itself rounds `length` up to."""
    return -(-length // 256) * 256


def pass_through(lib: Any, call: Any, context: Any, tokens: Sequence[int], doing: str) -> None:
    """Give `tokens` to `call` (llama_encode or llama_decode) as one batch, every token's output kept. Raises the error
    of llama.cpp's refusal, which names the action `doing`."""
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = True
        if code := call(context, batch):
            raise library.refusal(f"{doing} (code {code})")
    finally:
        lib.llama_batch_free(batch)
