"""Runs several sequences together in one llama.cpp context. Knows tokens; no text and no clock.

llama.cpp aborts the process on a wrong call, so lengths are checked here, before it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lqmf.engines import limits
from lqmf.engines.llama.context import ContextOptions, parameters, size_for
from lqmf.engines.promise import Closing
from lqmf.errors import UsageError
from lqmf.ggml import library


class LlamaBatch(Closing):
    """Room for `sequences` sequences of `length` tokens, each with its own cache (llama.cpp's `kv_unified` off)."""

    def __init__(self, lib: Any, model: Any, sequences: int, length: int, options: ContextOptions) -> None:
        self._lib, self._sequences, self._length = lib, sequences, length
        if sequences > (most := int(lib.llama_max_parallel_sequences())):
            raise UsageError(f"llama.cpp runs at most {most} sequences at once, not {sequences}.", "Ask for fewer.")
        asked = parameters(lib, size_for(length) * sequences, sequences, options)
        asked.n_batch = asked.n_ubatch = max(asked.n_batch, sequences)
        asked.n_seq_max, asked.n_outputs_max, asked.kv_unified = sequences, sequences, False
        self._chunk: int = asked.n_batch // sequences
        doing = f"make room for {sequences} sequences of {length} tokens"
        self._ctx = library.new_context(model, asked, doing)
        self._sampler = lib.llama_sampler_init_greedy()
        self._read = 0
        self._last: list[int] = []  # where in the last batch each sequence's prediction lies

    def clear(self) -> None:
        """Forget all sequences."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._ctx), True)
        self._read, self._last = 0, []

    def feed(self, sequences: Sequence[Sequence[int]]) -> None:
        """Append equally many token ids to each sequence. Raises UsageError if the lengths differ or the tokens do not
        fit."""
        count = limits.check_batch(sequences, self._sequences, self._length - self._read, self._length)
        for start in range(0, count, self._chunk):
            self._decode(
                [sequence[start : start + self._chunk] for sequence in sequences], start + self._chunk >= count
            )

    def step(self) -> list[int]:
        """Return the likeliest next token of each sequence, and append it. Raises UsageError before the first
        `feed`."""
        if not self._last:
            raise UsageError("There is nothing to continue.", "Feed tokens first.")
        tokens = [int(self._lib.llama_sampler_sample(self._sampler, self._ctx, place)) for place in self._last]
        self.feed([[token] for token in tokens])
        return tokens

    def _decode(self, parts: Sequence[Sequence[int]], last: bool) -> None:
        """Run one pass; with `last`, note where the prediction at the end of each part lies."""
        length = len(parts[0])
        batch = self._lib.llama_batch_init(length * self._sequences, 0, 1)
        try:
            batch.n_tokens = length * self._sequences
            for place in range(batch.n_tokens):
                sequence, offset = divmod(place, length)
                batch.token[place] = parts[sequence][offset]
                batch.pos[place] = self._read + offset
                batch.n_seq_id[place] = 1
                batch.seq_id[place][0] = sequence
                batch.logits[place] = last and offset == length - 1
            if code := self._lib.llama_decode(self._ctx, batch):
                raise library.refusal(f"run {self._sequences} sequences (code {code})")
            self._lib.llama_synchronize(self._ctx)
        finally:
            self._lib.llama_batch_free(batch)
        self._read += length
        self._last = [(sequence + 1) * length - 1 for sequence in range(self._sequences)]

    def close(self) -> None:
        """Free the context; a second call does nothing."""
        if self._ctx:
            self._lib.llama_sampler_free(self._sampler)
            self._lib.llama_free(self._ctx)
            self._ctx = None
