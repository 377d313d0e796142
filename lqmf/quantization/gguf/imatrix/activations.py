"""The inputs of a model's weights while llama.cpp runs it: their squares, summed by column, one window of tokens at a
time.

Sees each matrix multiplication through `cb_eval`. Knows ggml's tensors; nothing of texts, files or convergence. Which
multiplications count, and how, is as in llama.cpp's tools/imatrix/imatrix.cpp (`collect_imatrix`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines.llama.context import ContextOptions, parameters, size_for
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.errors import ModelError
from lqmf.ggml import ggml, library
from lqmf.ggml.ggml import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sums = tuple[NDArray[np.float32], NDArray[np.float32]]  # (n_matrices, n_columns) and tokens seen: (n_matrices,)

_F32 = 0
_FEWEST_ROWS = 16  # llama-imatrix passes over shorter batches


class Watched(LlamaCppEngine):
    """A model on the CPU that is run for the inputs of its weights, not for its predictions."""

    def __init__(self, path: Path, *, threads: int = 0, output: bool = False) -> None:
        self._watching: Any = None  # the context and the batch, once the first window says how long they must be
        self._watcher = _Watcher(output)
        super().__init__(path, threads=threads or None)

    def squares(self, window: Sequence[int]) -> dict[tuple[str, ...], Sums]:
        """Run `window` (token ids) as a fresh sequence, and return the sums for each set of weights (GGUF names) that
        have the same input: squares (n_matrices, n_columns) and tokens seen (n_matrices,).

        Raises OutOfMemory, and ModelError when an input is not finite.
        """
        if self._watching is None:
            self._watching = self._begin(len(window))
        lib, (context, batch) = self._lib, self._watching
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        batch.n_tokens = len(window)
        for i, token in enumerate(window):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, True
            batch.seq_id[i][0] = 0
        self._watcher.start()
        if code := lib.llama_decode(context, batch):
            raise library.refusal(f"run the model (code {code})")
        return self._watcher.finish()

    def _begin(self, tokens: int) -> tuple[Any, Any]:
        """A context for windows of up to `tokens`, whose evaluation is watched, and a batch to fill."""
        kinds = ("f16", "f16")
        options = ContextOptions(size_for(tokens), self._options.threads, *kinds, gpu=False)
        asked = parameters(self._lib, size_for(tokens), size_for(tokens), options)
        asked.cb_eval = self._watcher.callback
        context = library.new_context(self._model, asked, f"make room for {tokens} tokens of context")
        return context, self._lib.llama_batch_init(size_for(tokens), 0, 1)

    def close(self) -> None:
        if self._watching:
            context, batch = self._watching
            self._watching = None
            self._lib.llama_batch_free(batch)
            self._lib.llama_free(context)
        super().close()


class _Watcher:
    """The callback that ggml calls for each node of a graph: first to ask whether the node matters, then, if so, once
    it is computed.

    Weights that multiply the same activations (a layer's q, k and v) share one sum. Nodes after the last multiplication
    that matters, above all the output head, are not computed from the second window on.
    """

    def __init__(self, output: bool) -> None:
        from llama_cpp import llama_cpp

        self._output = output
        self._ops = _operations()
        self._last: tuple[int, int] | None = None  # inputs and weights met when all that matters had been seen
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._see)
        self.start()

    def start(self) -> None:
        """Clear all sums, because a new graph is about to run."""
        self._weights: dict[tuple[int, ...], list[str]] = {}  # the weights that multiply an input
        self._sums: dict[tuple[int, ...], Sums] = {}
        self._met = 0
        self._at_last_sum = 0

    def finish(self) -> dict[tuple[str, ...], Sums]:
        """Return the sums since `start`. Raises ModelError for a sum that is not finite."""
        import numpy as np

        if self._met == self._at_last_sum:
            self._last = (len(self._sums), self._met)
        found: dict[tuple[str, ...], Sums] = {}
        for key, (sums, counts) in self._sums.items():
            names = tuple(self._weights[key])
            if not np.isfinite(sums).all():
                raise ModelError(f"What flows into {names[0]} is not finite.", "Get the model again, or use another.")
            old = found.get(names)
            found[names] = (old[0] + sums, old[1] + counts) if old else (sums, counts)
        return found

    def _see(self, address: int, ask: bool, _user: object) -> bool:
        node = Tensor.from_address(address)
        if node.op not in self._ops:
            return False
        weight, inputs = Tensor.from_address(node.src[0]), Tensor.from_address(node.src[1])
        ids = Tensor.from_address(node.src[2]) if self._ops[node.op] else None
        key = (node.src[1], node.src[2] if ids else 0, weight.ne[2], weight.ne[3])
        if ask:
            return self._asked(weight, inputs, ids, key)
        self._sums[key] = _routed(inputs, ids, weight.ne[2]) if ids else _dense(inputs, weight)
        self._at_last_sum = self._met
        return (len(self._sums), self._met) != self._last

    def _asked(self, weight: Tensor, inputs: Tensor, ids: Tensor | None, key: tuple[int, ...]) -> bool:
        name = _plain(weight.name)
        if not ids:
            if inputs.ne[1] < _FEWEST_ROWS or inputs.type != _F32:
                return False
            if not (name.startswith("blk.") or (self._output and name == "output.weight")):
                return False
        self._met += 1
        known = self._weights.setdefault(key, [])
        known.append(name)
        return len(known) == 1


def _plain(name: bytes) -> str:
    """The weight's own name: copied to another device it is called "CUDA0#blk.0.attn_k.weight#0"."""
    parts = name.decode("utf-8", "replace").split("#")
    return parts[1] if len(parts) > 1 else parts[0]


def _view(tensor: Tensor) -> NDArray[np.float32]:
    """The values in place, outermost dimension first: (ne3, ne2, ne1, ne0)."""
    import numpy as np

    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    room = 4 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    raw = (ctypes.c_char * room).from_address(tensor.data)
    return np.ndarray(shape, np.float32 if tensor.type == _F32 else np.int32, raw, strides=strides)


def _dense(inputs: Tensor, weight: Tensor) -> Sums:
    """Return one row of sums and one count, whatever the number of matrices: their sums follow one another in the
    row."""
    import numpy as np

    x = _view(inputs)
    outer, inner = weight.ne[3], weight.ne[2]
    if outer * inner == 1:
        sums = np.einsum("abrc,abrc->c", x, x)
    else:
        sums = np.zeros((outer, inner, inputs.ne[0]), np.float32)
        for i3 in range(inputs.ne[3]):
            for i2 in range(inputs.ne[2]):
                sums[i3 % outer, i2 % inner] += np.einsum("rc,rc->c", x[i3, i2], x[i3, i2])
    rows = inputs.ne[1] * inputs.ne[2] * inputs.ne[3] // (outer * inner)
    return sums.reshape(1, -1), np.array([rows], np.float32)


def _routed(inputs: Tensor, ids: Tensor, experts: int) -> Sums:
    """Return the sums of each expert over the tokens that the router sent to it. `inputs` (tokens, 1 or used, columns),
    `ids` (tokens, used)."""
    import numpy as np

    x = _view(inputs)[0]
    chosen = _view(ids)[0, 0]
    tokens, used = chosen.shape
    rows = (np.arange(tokens)[:, None] * x.shape[1] + np.arange(used) % x.shape[1]).ravel()
    order = np.argsort(chosen, axis=None, kind="stable")
    counts = np.bincount(chosen.ravel(), minlength=experts)
    flat, sums = x.reshape(-1, x.shape[2]), np.zeros((experts, x.shape[2]), np.float32)
    ends = np.cumsum(counts)
    for expert in np.flatnonzero(counts):
        own = flat[rows[order[ends[expert] - counts[expert] : ends[expert]]]]
        sums[expert] = np.einsum("rc,rc->c", own, own)
    return sums, counts.astype(np.float32)


@lru_cache(maxsize=1)
def _operations() -> dict[int, bool]:
    """The numbers of MUL_MAT and MUL_MAT_ID in the installed ggml, and whether experts are chosen by ids.

    Raises ToolchainError when its tensors are laid out in a way that is not known here.
    """
    ggml.check_layout("quantize with --no-imatrix.")
    names = {ggml.library().ggml_op_name(i): i for i in range(64)}
    return {names[b"MUL_MAT"]: False, names[b"MUL_MAT_ID"]: True}
