"""A model in memory whose tensors can be replaced, to measure how that changes its predictions. Worker only.

The base is loaded once, without a memory map, so that its weights may be written to (on a GPU as well). The source's
log-probabilities are kept; a change costs one run over the windows. Knows nothing of sizes, types or choices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines.llama.context import parameters, size_for
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.errors import DoesNotFit
from lqmf.ggml import ggml, library
from lqmf.ggml.ggml import Tensor
from lqmf.texts.windows import first_scored
from lqmf.units import memory_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK_ELEMENTS = 1 << 22  # of logits looked at together


def _check_room(size_bytes: int) -> None:
    import psutil

    free = int(psutil.virtual_memory().available)
    if size_bytes > free:
        raise DoesNotFit(
            f"Choosing types needs the model in memory, {memory_size(size_bytes)}; {memory_size(free)} is free.",
            "Close other programs, or choose one of llama.cpp's own types, such as `--type Q4_K_M`.",
        )


class PatchedModel(LlamaCppEngine):
    """The model at `path`, a single file; raises as LlamaCppEngine does, and DoesNotFit."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._places: dict[str, set[int]] = {}

    def _load(self, path: Path, gpu_layers: int | None) -> None:
        _check_room(path.stat().st_size)
        mode, layers = self._lib.LLAMA_LOAD_MODE_NONE, self._on_gpu(gpu_layers)
        self._model = library.open_model(path, f"load {path.name}", load_mode=mode, n_gpu_layers=layers)

    @property
    def beginning(self) -> int | None:
        """Return the token that this model's texts begin with; None if they begin with no such token."""
        begin = self.tokenize("", bos=True)
        return begin[0] if begin else None

    def locate(self, names: Sequence[str]) -> list[str]:
        """Find where these tensors lie in memory, and return the names of those that the model uses. A tied head is a
        second copy of the embedding: both are found under one name. Raises ToolchainError for an unknown ggml,
        LqmfError."""
        ggml.check_layout("choose one of llama.cpp's own types instead of auto.")
        wanted = {name.encode(): name for name in names}

        def see(tensor: int, ask: bool, _user: object) -> bool:
            for place in Tensor.from_address(tensor).src:
                if place and (name := wanted.get(Tensor.from_address(place).name)):
                    self._places.setdefault(name, set()).add(place)
            return False

        callback = self._lib.ggml_backend_sched_eval_callback(see)
        asked = parameters(self._lib, size_for(1), 1, self._options)
        asked.cb_eval = callback
        context = library.new_context(self._model, asked, "look at the model")
        try:
            token = (self._lib.llama_token * 1)(0)
            self._lib.llama_decode(context, self._lib.llama_batch_get_one(token, 1))
        finally:
            self._lib.llama_free(context)
        return [name for name in names if name in self._places]

    def put(self, name: str, data: NDArray[np.uint8]) -> None:
        """Replace the tensor `name`, which `locate` found, by `data`: its bytes in the base's own type."""
        import numpy as np

        data = np.ascontiguousarray(data)
        for place in self._places[name]:
            ggml.library().ggml_backend_tensor_set(place, data.ctypes.data, 0, data.nbytes)


class Divergences:
    """KL(source || changed model), nats a token, over the second half of each window, as in receipts: the loss of an
    attention's keys shows where there are many tokens to attend to."""

    def __init__(self, model: PatchedModel, windows: Sequence[Sequence[int]]) -> None:
        self._model, self._windows = model, [list(window) for window in windows]
        self._source = [_log_softmax(self._score(window)) for window in self._windows]

    def _score(self, window: Sequence[int]) -> NDArray[np.float32]:
        return next(self._model.logits([window], first=first_scored(len(window))))

    @property
    def windows(self) -> int:
        return len(self._windows)

    @property
    def source_digest(self) -> str:
        """Return a hash of these windows and of the source's predictions on them."""
        seen = hashlib.sha256(repr(self._windows).encode())
        for rows in self._source:
            seen.update(rows[-1].tobytes())
        return seen.hexdigest()

    def each(self, first: int, end: int) -> list[NDArray[np.float64]]:
        """Return the KL of each scored token in nats, for each window from `first` to before `end`, for the model as it
        is now."""
        pairs = zip(self._windows[first:end], self._source[first:end], strict=True)
        return [_kl(source, self._score(window)) for window, source in pairs]


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    logits -= logits.max(axis=-1, keepdims=True)
    for rows in _blocks(*logits.shape):
        logits[rows] -= np.log(np.exp(logits[rows]).sum(axis=-1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return logits


def _kl(log_p: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL(P || Q) of each row: with d = log q' - log p less its mean under P, it is log(1 + sum P (exp d - 1 - d)),
    which keeps its digits where the two are nearly alike."""
    import numpy as np

    made = []
    for rows in _blocks(*logits.shape):
        known = log_p[rows] > -np.inf
        p = np.exp(log_p[rows])
        d = np.subtract(logits[rows], log_p[rows], out=np.zeros_like(p), where=known)
        d -= (p * d).sum(axis=-1, keepdims=True)
        made.append(np.log1p((p * (np.expm1(d) - d)).sum(axis=-1, dtype=np.float64)))
    return np.concatenate(made)


def _blocks(rows: int, vocabulary: int) -> list[slice]:
    step = max(1, _BLOCK_ELEMENTS // vocabulary)
    return [slice(start, start + step) for start in range(0, rows, step)]
