"""The Engine promise over transformers: source models, and bitsandbytes, GPTQ and AWQ artifacts, in safetensors files.

Runs in the worker process only: torch keeps its memory. Knows nothing about artifacts, jobs or measuring. One engine
is used from one thread. Where and in which precision it runs is chosen when it is opened, with a `reason`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqmf.engines import limits
from lqmf.engines.local import InMemory
from lqmf.engines.promise import Message, Piece, Sampling
from lqmf.engines.stops import TextStream
from lqmf.engines.transformers import loading
from lqmf.engines.transformers.batch import TransformersBatch
from lqmf.engines.transformers.tokenizer import HfTokens
from lqmf.errors import UsageError
from lqmf.model_files import safetensors_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CACHES = ("past_key_values", "cache_params")  # what models call the memory of what they have read
OF_LLAMA_CPP = ("k_type", "v_type", "batch", "gpu_layers")  # in a manifest's `run`: that engine's own settings


def can_open(path: Path) -> bool:
    """Return whether this engine runs the model at `path`: a folder with a config.json and weights."""
    return path.is_dir() and safetensors_folder.is_model(path)


def open_model(path: Path, **options: Any) -> TransformersEngine:
    """Return the engine for the folder `path`. `options` are those of TransformersEngine; llama.cpp's own are
    ignored."""
    return TransformersEngine(path, **{name: said for name, said in options.items() if name not in OF_LLAMA_CPP})


class TransformersEngine(InMemory):
    """A model in memory, run by transformers.

    `context` in tokens (None: what the model was trained for, at most 4096); device "auto" takes a GPU where PyTorch
    has one; `memory_bytes` is the most that its weights may take there: the rest goes to the CPU's memory, or stays on
    the disk. The model's own Python runs only with `allow_remote_code`. Raises as `loading.load` does.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        device: Literal["auto", "cpu", "gpu"] = "cpu",
        threads: int | None = None,
        memory_bytes: int | None = None,
        allow_remote_code: bool = False,
    ) -> None:
        loaded = loading.load(
            path, device, threads=threads, memory_bytes=memory_bytes, allow_remote_code=allow_remote_code
        )
        self._path_name = path.name
        self._model: Any = loaded.model
        self._scratch = loaded.scratch
        self.device: str = loaded.placement.device
        self.dtype, self.reason = loaded.placement.dtype, loaded.placement.reason
        self.name = f"transformers {version('transformers')} ({self.dtype})"
        self._tokens = HfTokens(path, allow_remote_code=allow_remote_code)
        configs = (self._model.config, self._model.generation_config)
        self.vocabulary: int = self._model.config.get_text_config().vocab_size
        self._ends = self._tokens.ends(*(getattr(one, "eos_token_id", None) for one in configs))
        self._keeps = "logits_to_keep" in inspect.signature(self._model.forward).parameters
        self.context_length = limits.context(path.name, context, loaded.info.context_length)

    # ------------------------------------------------------------ text

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Return the token ids of `text`. `special` lets special tokens that are spelt out be read as such; `bos` puts
        the beginning token first if the model's convention has one."""
        return self._tokens.tokenize(text, special=special, bos=bos)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, special tokens written out. Raises UsageError for a token outside the
        vocabulary."""
        self._check_tokens(tokens)
        return self._tokens.text(tokens)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return `messages` as a prompt, through the model's template. Raises UsageError if the model has no template,
        or the template refuses the messages."""
        return self._tokens.render(messages, add_generation_prompt=add_generation_prompt)

    def ends(self, token: int) -> bool:
        """Return whether generation stops at `token`."""
        self._check_tokens([token])
        return token in self._ends

    # ------------------------------------------------------------ generation

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue `prompt` as every engine here does. Raises UsageError for a JSON schema too."""
        if sampling.json_schema:
            raise UsageError("transformers cannot hold a model to a JSON schema here.", "Use a GGUF artifact for that.")
        return super().generate(prompt, sampling)

    def _prompt_tokens(self, text: str) -> list[int]:
        return self._tokens.prompt(text)

    def _stream(self, prompt: list[int], sampling: Sampling) -> Iterator[Piece]:
        text, words = TextStream(sampling.stop), self._tokens.words(prompt)
        room = min(sampling.max_tokens, self.context_length - len(prompt) + 1)
        for token in islice(self._drawn(prompt, sampling), max(0, room)):
            if token in self._ends:
                break
            yield Piece(text.feed(words.feed(token).encode()), token)
            if text.stopped:
                return
        if rest := text.feed(words.finish().encode()) + text.finish():
            yield Piece(rest)

    def _drawn(self, prompt: list[int], sampling: Sampling) -> Iterator[int]:
        """Yield the tokens that come after `prompt`, each computed when it is asked for."""
        draw = _sampler(sampling)
        read = list(prompt)
        new, cache = read, dict[str, Any]()
        while True:
            row, cache = self._next(new, cache)
            token = draw(row)
            yield token
            read.append(token)
            new = [token] if cache else read  # a model without a cache reads all again

    def _next(self, tokens: Sequence[int], cache: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the logits (V,) float32, on the CPU, of the token after `tokens` (read behind those in `cache`), and
        the new cache."""
        out = self._forward(tokens, keep=1, use_cache=True, **cache)
        return out.logits[0, -1].float().cpu(), _kept(out)

    # ------------------------------------------------------------ logits

    def logits(
        self, windows: Iterable[Sequence[int]], *, first: int = 0, step: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield for each window the logits at positions `first`..: (T - first, V) float32, the caller's own copy.
        Windows are read `step` tokens at a time (None: all at once). Raises UsageError for a window that does not fit
        the context."""
        for window in windows:
            self._check_window(window, first)
            yield self._read(window, first) if step is None else self._read_in_parts(window, first, step)

    def _read(self, window: Sequence[int], first: int) -> NDArray[np.float32]:
        count = len(window) - first
        out = self._forward(window, keep=count, use_cache=False)
        rows: NDArray[np.float32] = out.logits[0, -count:].float().cpu().numpy().copy()
        return rows

    def _read_in_parts(self, window: Sequence[int], first: int, step: int) -> NDArray[np.float32]:
        """Return the logits as `_read` does. Each part is read with the cache of the parts before it; a model without a
        cache reads all tokens again."""
        import numpy as np

        rows, cache = [], dict[str, Any]()
        for start in range(0, len(window), step):
            end = min(start + step, len(window))
            count = min(step, end - start, max(0, end - first))
            new = window[start if cache else 0 : end]
            out = self._forward(new, keep=max(1, count), use_cache=True, **cache)
            cache = _kept(out)
            if count:
                rows.append(out.logits[0, -count:].float().cpu().numpy())
        return np.concatenate(rows)

    def _forward(self, tokens: Sequence[int], *, keep: int, **more: Any) -> Any:
        """Run `tokens` as one sequence; return the model's output, with at least the last `keep` rows of logits. Raises
        OutOfMemory .."""
        return self._together([tokens], keep=keep, **more)

    def _together(self, sequences: Sequence[Sequence[int]], *, keep: int, **more: Any) -> Any:
        """Run sequences of the same length at once. Raises OutOfMemory, GpuOutOfMemory."""
        self._alive()
        import torch

        if self._keeps:
            more["logits_to_keep"] = keep
        with loading.translated(self._path_name), torch.inference_mode():
            rows = [list(tokens) for tokens in sequences]
            ids = torch.tensor(rows, device="cuda:0" if self.device == "gpu" else "cpu")
            return self._model(input_ids=ids, **more)

    def batch(self, sequences: int, length: int) -> TransformersBatch:
        """Return a TransformersBatch with room for `sequences` sequences of `length` tokens, run at once."""
        self._alive()
        return TransformersBatch(self._together, CACHES, sequences, length)

    # ------------------------------------------------------------ end

    def _alive(self) -> None:
        if self._model is None:
            raise UsageError("This engine is closed.", "Open the model again.")

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._model is None:
            return
        self._model = None
        loading.release()
        if self._scratch is not None:
            self._scratch.cleanup()


def _kept(out: Any) -> dict[str, Any]:
    """Return the caches in a model's output, by the names under which the model takes them back."""
    return {name: out[name] for name in CACHES if out.get(name) is not None}


def _sampler(sampling: Sampling) -> Any:
    """Return the function that draws a token from logits (V,), in llama.cpp's order: the `top_k` likeliest tokens, of
    these the likeliest that make up `top_p`, then the temperature."""
    import torch

    if sampling.temperature <= 0:
        return lambda row: int(row.argmax())
    random = torch.Generator().manual_seed(sampling.seed & 0xFFFFFFFF)

    def draw(row: torch.Tensor) -> int:
        count = min(sampling.top_k, row.numel()) if sampling.top_k > 0 else row.numel()
        values, tokens = row.topk(count)
        chances = values.softmax(-1)
        likely = values[chances.cumsum(-1) - chances < sampling.top_p]
        chosen = torch.multinomial((likely / sampling.temperature).softmax(-1), 1, generator=random)
        return int(tokens[chosen])

    return draw
