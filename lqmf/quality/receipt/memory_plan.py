"""Plans whether two models fit the memory together, and if not, how many windows' logits can wait for the other model.

Knows sizes, files' headers and free memory; no engine, and no measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lqmf.errors import DoesNotFit
from lqmf.ggml import library
from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.model_files.config import text_part
from lqmf.model_files.gguf_files import model_file
from lqmf.model_files.gguf_header import LongArray, read_header
from lqmf.quality.receipt.weights import weights
from lqmf.texts.windows import first_scored
from lqmf.units import memory_size

_SHARE = 0.8  # of what is free, for models and what they compute in
_WAITING_SHARE = 0.5  # of the RAM that is then left, for logits that wait
_COPIES = 3  # of a window's logits where a model computes them: its own two, and the one handed out
_FLOAT_BYTES = 4
_EMBEDDINGS = ("embed", "wte", "lm_head")  # in the names of matrices with a row for each word


@dataclass(frozen=True)
class PairMemory:
    """The memory of a comparison, in bytes: `base` and `artifact` the weights of each model, `window` the logits of one
    window, `free` the memory free where the models run, `ram` the free RAM, where logits wait."""

    base: int
    artifact: int
    window: int
    free: int
    ram: int

    @property
    def together(self) -> bool:
        """Tell whether both models fit in memory at once."""
        return self.base + self.artifact + 2 * _COPIES * self.window <= _SHARE * self.free

    def waiting_windows(self, budget_bytes: int | None = None) -> int:
        """Return for how many windows the logits of one model can wait in RAM for the other model. `budget_bytes` None:
        half of the RAM that is left. Raises DoesNotFit when one model alone, or one window, is too large."""
        larger = max(self.base, self.artifact) + _COPIES * self.window
        left = self.ram if self.free != self.ram else self.ram - larger
        budget = _WAITING_SHARE * left if budget_bytes is None else budget_bytes
        if larger > _SHARE * self.free or budget < self.window:
            need, have = (larger + self.window) / _SHARE, self.free
            raise DoesNotFit(
                f"not measured: even one after the other, the models need {memory_size(need)}; "
                f"{memory_size(have)} are free.",
                "Close other programs, or measure on a machine with more memory.",
            )
        return int(budget // self.window)


def pair_memory(base: Path, artifact: Path, device: str, window_tokens: int) -> PairMemory:
    """Return the memory that comparing the models `base` and `artifact` takes on `device`, in windows of
    `window_tokens` tokens, and the memory free now on this machine."""
    from lqmf import hardware

    here = hardware.detect()
    on_gpu = device != "cpu" and bool(here.gpus) and _offloads(artifact)
    dtype = "bfloat16" if on_gpu else "float32"
    return PairMemory(
        base=_loaded_bytes(base, dtype),
        artifact=_loaded_bytes(artifact, dtype),
        window=window_bytes(window_tokens, max(_vocabulary(base), _vocabulary(artifact))),
        free=here.gpus[0].memory_free_bytes if on_gpu else here.ram_available_bytes,
        ram=here.ram_available_bytes,
    )


def _offloads(path: Path) -> bool:
    """Whether the engine for the model at `path` was built for a GPU: a CPU build does not use a GPU that is there."""
    if _is_folder(path):
        import torch

        return bool(torch.cuda.is_available())
    return bool(library.load().llama_supports_gpu_offload())


def window_bytes(tokens: int, vocabulary: int) -> int:
    """Return the bytes of the float32 logits at the scored positions (at least one) of a window of `tokens` tokens."""
    return max(1, (tokens - 1 - first_scored(tokens)) * vocabulary) * _FLOAT_BYTES


def _loaded_bytes(path: Path, dtype: str) -> int:
    if _is_folder(path):
        return safetensors_folder.stored(path).loaded_bytes(dtype)
    return weights(path).size_bytes


def _vocabulary(path: Path) -> int:
    if _is_folder(path):
        told = safetensors_folder.config(path)
        return int(told.get("vocab_size") or text_part(told).get("vocab_size") or _rows(path))
    words = read_header(model_file(path)).metadata.get("tokenizer.ggml.tokens", ())
    return words.length if isinstance(words, LongArray) else len(words)


def _rows(folder: Path) -> int:
    """The number of rows of the embedding matrix, for a configuration that names no vocabulary size."""
    tensors = safetensors_header.tensors(folder)
    named = [one for one in tensors if any(part in one.name for part in _EMBEDDINGS) and len(one.shape) == 2]
    return max((one.shape[0] for one in named), default=0)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and safetensors_folder.is_model(path)
