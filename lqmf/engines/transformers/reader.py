"""The Reader promise over transformers: encoders and encoder-decoders in safetensors files, bitsandbytes artifacts too.

Runs in the worker process only: torch keeps its memory. Where and in which precision it runs is chosen as for the
engine of models that continue text.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines import limits
from lqmf.engines.promise import Closing
from lqmf.engines.transformers import loading
from lqmf.engines.transformers.tokenizer import HfTokens
from lqmf.errors import UsageError
from lqmf.model_files.model_kind import kind_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_CONTEXT = 512  # of a model whose configuration does not say what it was trained for


def open_model(path: Path, device: str) -> TransformersReader:
    """Return the reader for the folder `path`. Raises as `loading.load` does."""
    return TransformersReader(path, device=device)


class TransformersReader(Closing):
    """A model of the class that its configuration names."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        loaded = loading.load(path, device, threads=None, memory_bytes=None, allow_remote_code=False, writes=False)
        self._path_name, self._scratch = path.name, loaded.scratch
        self._model: Any = loaded.model
        self.nature = kind_at(path)
        self.device: str = loaded.placement.device
        self.reason = loaded.placement.reason
        self.name = f"transformers {version('transformers')} ({loaded.placement.dtype})"
        self._tokens = HfTokens(path)
        self.vocabulary: int = self._model.config.get_text_config().vocab_size
        self.context_length = self._holds(loaded.info.context_length)

    def _holds(self, trained: int | None) -> int:
        """Return the tokens that a text may have. RoBERTa counts its positions from behind the padding token, so it
        holds fewer than its table has."""
        table = trained or DEFAULT_CONTEXT
        padding = [getattr(part, "padding_idx", None) for name, part in self._model.named_modules() if _places(name)]
        return table - max((place + 1 for place in padding if place is not None), default=0)

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of `text`, without special tokens around it."""
        return self._tokens.tokenize(text)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return `tokens` with the tokenizer's special tokens around them."""
        return self._tokens.add_special_tokens(tokens)

    def states(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the encoder's last hidden states (T, H) float32 for `tokens`. Raises OutOfMemory, UsageError .."""
        part = self._model.get_encoder() if self.nature == "encoder-decoder" else self._model
        out = self._run(part, tokens, {}, output_hidden_states=True)
        last = out.get("last_hidden_state")
        return _rows(last if last is not None else out["hidden_states"][-1])

    def answers(self, tokens: Sequence[int], target: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits (N, V) of the N tokens of `target`, each predicted from the tokens before it. Raises
        UsageError for an encoder."""
        if self.nature != "encoder-decoder":
            raise UsageError(f"{self._path_name} is an encoder: it answers nothing.", "Take its states.")
        self._check(target)
        start = self._model.config.decoder_start_token_id
        begin = [self._model.config.bos_token_id if start is None else start]
        return _rows(self._run(self._model, tokens, {"decoder_input_ids": [*begin, *target[:-1]]})["logits"])

    def _run(self, part: Any, tokens: Sequence[int], more: dict[str, list[int]], **options: Any) -> Any:
        self._check(tokens)
        import torch

        where = "cuda:0" if self.device == "gpu" else "cpu"
        read = {name: torch.tensor([list(ids)], device=where) for name, ids in {"input_ids": tokens, **more}.items()}
        with loading.translated(self._path_name), torch.inference_mode():
            return part(**read, **options)

    def _check(self, tokens: Sequence[int]) -> None:
        if self._model is None:
            raise UsageError("This reader is closed.", "Open the model again.")
        limits.check_tokens(tokens, self.vocabulary)
        limits.check_text(tokens, self.context_length)

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._model is not None:
            self._model = None
            loading.release()
            if self._scratch is not None:
                self._scratch.cleanup()


def _places(name: str) -> bool:
    return name.endswith(("position_embeddings", "embed_positions"))


def _rows(found: Any) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = found[0].float().cpu().numpy().copy()
    return rows
