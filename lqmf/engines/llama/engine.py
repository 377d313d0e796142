"""The Engine promise over llama.cpp's C functions: any GGUF file, on the CPU or a GPU.

Knows nothing about artifacts, jobs or measuring. One engine is used from one thread. llama.cpp aborts the process on
a failed assertion: whatever can be foreseen (a long prompt, a token out of range, a cut file) is refused before it
gets there, and engines run in the worker process anyway.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqmf.engines import limits
from lqmf.engines.llama.batch import LlamaBatch
from lqmf.engines.llama.context import KV_TYPES, Context, ContextOptions, size_for
from lqmf.engines.local import InMemory
from lqmf.engines.promise import Message, Piece, Sampling
from lqmf.engines.stops import TextStream
from lqmf.errors import IncompleteModel, ModelError, UnsupportedModel, UsageError
from lqmf.ggml import library
from lqmf.ggml.json_grammar import grammar
from lqmf.model_files import chat_template
from lqmf.model_files.gguf_files import is_gguf, model_file
from lqmf.model_files.gguf_header import read_header, shards
from lqmf.model_files.model_kind import kind_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def can_open(path: Path) -> bool:
    """Return whether this engine runs the model at `path`: a GGUF file, or a folder that holds a GGUF file."""
    return any(is_gguf(file) for file in path.glob("*.gguf")) if path.is_dir() else is_gguf(path)


def open_model(path: Path, **options: Any) -> LlamaCppEngine:
    """Return the engine for `path`, a GGUF file or a folder with a GGUF model; `options` are those of
    LlamaCppEngine."""
    return LlamaCppEngine(model_file(path), **options)


class LlamaCppEngine(InMemory):
    """A GGUF model in memory.

    `context` in tokens (None: what the model was trained for, at most 4096); device "auto" takes a GPU where this build
    has one; `gpu_layers` None means all of them there. Raises NotFound, ModelError (with IncompleteModel and
    UnsupportedModel), OutOfMemory, GpuOutOfMemory, and UsageError for what this model or this build cannot do.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int | None = None,
        device: Literal["auto", "cpu", "gpu"] = "cpu",
        gpu_layers: int | None = None,
        threads: int | None = None,
        k_type: str = "f16",
        v_type: str = "f16",
        batch: int = 512,
    ) -> None:
        self._model: Any = None
        self._contexts: dict[str, Context] = {}
        self._pieces: dict[int, bytes] = {}
        self._lib = library.load()
        self._options = self._checked_options(device, gpu_layers, threads, (k_type, v_type), batch)
        self.device = "gpu" if self._options.gpu else "cpu"
        self.reason = f"on the {self.device.upper()}, in the types that the file has"
        self._load(path, gpu_layers)
        try:
            self._read_model(path, context)
        except (ModelError, UsageError):
            self.close()
            raise

    def _checked_options(
        self, device: str, gpu_layers: int | None, threads: int | None, cache: tuple[str, str], batch: int
    ) -> ContextOptions:
        if unknown := [name for name in cache if name not in KV_TYPES]:
            raise UsageError(f"There is no KV type '{unknown[0]}'.", f"Choose one of {', '.join(KV_TYPES)}.")
        possible = bool(self._lib.llama_supports_gpu_offload())
        wanted = device == "gpu" or (device == "cpu" and bool(gpu_layers))
        gpu = wanted or (device == "auto" and possible and gpu_layers != 0)
        if gpu and not possible:
            raise UsageError(
                "The installed llama-cpp-python is a CPU build and cannot use a GPU.",
                "Use --device cpu, or build it for the GPU: CMAKE_ARGS=-DGGML_CUDA=on lqmf doctor --fix",
            )
        return ContextOptions(max(1, batch), threads or library.threads(), *cache, gpu)

    def _load(self, path: Path, gpu_layers: int | None) -> None:
        for shard in shards(path):
            if missing := read_header(shard).missing_bytes:
                raise IncompleteModel(f"{shard.name} is cut short: {missing} bytes are missing.", "Get it again.")
        self._model = library.open_model(path, f"load {path.name}", n_gpu_layers=self._on_gpu(gpu_layers))

    def _on_gpu(self, layers: int | None) -> int:
        """Return llama.cpp's number for the layers on the GPU; it takes -1 for all of them."""
        return (-1 if layers is None else layers) if self._options.gpu else 0

    def _read_model(self, path: Path, context: int | None) -> None:
        lib = self._lib
        self._vocab = lib.llama_model_get_vocab(self._model)
        if lib.llama_vocab_type(self._vocab) == lib.LLAMA_VOCAB_TYPE_NONE:
            raise UnsupportedModel(f"{path.name} holds no tokenizer.", "Convert it again, with its tokenizer files.")
        if kind_at(path) != "decoder" or lib.llama_model_has_encoder(self._model):
            raise UnsupportedModel(f"{path.name} is not a model that continues text.", "Choose a decoder-only model.")
        self.name = library.version()
        self.vocabulary: int = lib.llama_vocab_n_tokens(self._vocab)
        trained: int = lib.llama_model_n_ctx_train(self._model) or limits.DEFAULT_CONTEXT
        self.context_length = limits.context(path.name, context, trained)

    # ------------------------------------------------------------ text

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Return the token ids of `text`. `special` lets special tokens that are spelt out be read as such; `bos` puts
        the beginning token first if the model's convention has one."""
        self._alive()
        begin = [self._lib.llama_vocab_bos(self._vocab)] if bos and self._adds_bos() else []
        return [*begin, *library.tokens(self._lib, self._vocab, text, frame=False, special=special)]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, special tokens written out. Raises UsageError for a token outside the
        vocabulary. (llama_detokenize would also tidy the spaces before punctuation, as transformers once did; this
        method returns the text that was tokenized.)"""
        self._check_tokens(tokens)
        text = b"".join(self._bytes(token, special=True) for token in tokens).decode("utf-8", "replace")
        return text.removeprefix(" ") if self._adds_space() else text

    def _adds_space(self) -> bool:
        """Return whether the tokenizer puts a space before every text, as SentencePiece does."""
        first = self.tokenize("a")[:1]
        return bool(first) and self._bytes(first[0], special=False).startswith(b" ")

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return `messages` as a prompt, through the template in the file. Raises UsageError if the file has no
        template, or the template refuses the messages."""
        self._alive()
        template = self._lib.llama_model_chat_template(self._model, None)
        if not template:
            raise UsageError("This model has no chat template.", "Give a plain prompt instead of messages.")
        lib, vocab = self._lib, self._vocab
        return chat_template.render(
            template.decode("utf-8", "replace"),
            messages,
            bos=self._token_text(lib.llama_vocab_bos(vocab)),
            eos=self._token_text(lib.llama_vocab_eos(vocab)),
            add_generation_prompt=add_generation_prompt,
        )

    def ends(self, token: int) -> bool:
        """Return whether generation stops at `token`."""
        self._check_tokens([token])
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def _adds_bos(self) -> bool:
        return bool(self._lib.llama_vocab_get_add_bos(self._vocab) and self._lib.llama_vocab_bos(self._vocab) >= 0)

    # ------------------------------------------------------------ generation

    def _prompt_tokens(self, text: str) -> list[int]:
        """Return the tokens of a prompt, the beginning token once, also if a chat template has already written it
        out."""
        tokens = self.tokenize(text, special=True, bos=True)
        twice = self._adds_bos() and len(tokens) > 1 and tokens[0] == tokens[1]
        return tokens[1:] if twice else tokens

    def _stream(self, tokens: list[int], sampling: Sampling) -> Iterator[Piece]:
        context = self._context("generate", self.context_length, outputs=1)
        context.clear()
        text = TextStream(sampling.stop)
        sampler = self._sampler(sampling)
        room = min(sampling.max_tokens, self.context_length - len(tokens) + 1)
        try:
            if room > 0:
                context.feed(tokens)
            for left in range(room - 1, -1, -1):
                token = self._lib.llama_sampler_sample(sampler, context.pointer, -1)
                if self._lib.llama_vocab_is_eog(self._vocab, token):
                    break
                yield Piece(text.feed(self._piece(token)), token)
                if text.stopped:
                    return
                if left:
                    context.feed_one(token)
            if rest := text.finish():
                yield Piece(rest)
        finally:
            self._lib.llama_sampler_free(sampler)

    def _sampler(self, sampling: Sampling) -> Any:
        lib = self._lib
        steps = [self._grammar(sampling.json_schema)] if sampling.json_schema else []
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            steps.append(lib.llama_sampler_init_greedy())
        else:
            steps += [
                lib.llama_sampler_init_top_k(sampling.top_k),
                lib.llama_sampler_init_top_p(sampling.top_p, 1),
                lib.llama_sampler_init_temp(sampling.temperature),
                lib.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF),
            ]
        for step in steps:
            lib.llama_sampler_chain_add(chain, step)
        return chain

    def _grammar(self, schema: str) -> Any:
        """The sampler that leaves only what may follow in a document of `schema`. Raises UsageError."""
        made = self._lib.llama_sampler_init_grammar(self._vocab, grammar(schema).encode(), b"root")
        if not made:
            raise UsageError("This JSON schema cannot guide a model.", "Ask for a simpler form.")
        return made

    def _piece(self, token: int) -> bytes:
        """The bytes that `token` adds to an answer, remembered: an answer repeats its tokens."""
        if token not in self._pieces:
            self._pieces[token] = self._bytes(token, special=False)
        return self._pieces[token]

    def _bytes(self, token: int, *, special: bool) -> bytes:
        """The bytes that `token` stands for; control tokens are silent unless `special`."""
        room = 64
        buffer = ctypes.create_string_buffer(room)
        count = self._lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self._lib.llama_token_to_piece(self._vocab, token, buffer, -count, 0, special)
        return buffer.raw[:count]

    # ------------------------------------------------------------ logits

    def logits(
        self, windows: Iterable[Sequence[int]], *, first: int = 0, step: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield for each window the logits at positions `first`..: (T - first, V) float32, the caller's own copy.
        Windows are read `step` tokens at a time (None: as many as fit a batch). Raises UsageError for a window that
        does not fit the context."""
        for window in windows:
            self._check_window(window, first)
            yield self._context("score", len(window), outputs=len(window) - first).score(window, first, step)

    def _context(self, use: str, length: int, outputs: int) -> Context:
        """Return the context for `use`. It is made when first needed, and again when a larger one is needed."""
        self._alive()
        have = self._contexts.get(use)
        if have is None or have.length < length or have.outputs < outputs:
            if have is not None:
                self._contexts.pop(use).free()
            self._contexts[use] = Context(self._lib, self._model, size_for(length), outputs, self._options)
        return self._contexts[use]

    def batch(self, sequences: int, length: int) -> LlamaBatch:
        """Return a LlamaBatch with room for `sequences` sequences of `length` tokens, run at once. The engine's other
        contexts are freed first. Raises UsageError for too many sequences, OutOfMemory, GpuOutOfMemory."""
        self._alive()
        self._forget()
        return LlamaBatch(self._lib, self._model, sequences, length, self._options)

    # ------------------------------------------------------------ end

    def _alive(self) -> None:
        if not self._model:
            raise UsageError("This engine is closed.", "Open the model again.")

    def close(self) -> None:
        """Free the model and its contexts; a second call does nothing."""
        self._forget()
        if self._model:
            self._lib.llama_model_free(self._model)
            self._model = None

    def _forget(self) -> None:
        """Free the contexts; each is made again when it is needed."""
        while self._contexts:
            self._contexts.popitem()[1].free()
