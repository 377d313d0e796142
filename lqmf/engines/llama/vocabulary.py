"""Runs the tokenizer of a GGUF file by llama.cpp itself, without the weights: also for a file that is cut short.

Knows tokens; runs no model. Worker only, as all code that loads libllama.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lqmf.engines.frame import add_special_tokens
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.errors import UnsupportedModel
from lqmf.ggml import library

_ROLES = ("bos", "eos", "eot", "pad")


class LlamaVocabulary(LlamaCppEngine):
    """The tokenizer in the file at `path`. Raises NotFound, ModelError (with UnsupportedModel where it has none)."""

    def _load(self, path: Path, gpu_layers: int | None) -> None:
        self._model = library.open_model(path, f"read the vocabulary of {path.name}", vocab_only=True)

    def _read_model(self, path: Path, context: int | None) -> None:
        self._vocab: Any = self._lib.llama_model_get_vocab(self._model)
        if self._lib.llama_vocab_type(self._vocab) == self._lib.LLAMA_VOCAB_TYPE_NONE:
            raise UnsupportedModel(f"{path.name} holds no tokenizer.", "Convert it again, with its tokenizer files.")
        self.name = library.version()
        self.vocabulary = int(self._lib.llama_vocab_n_tokens(self._vocab))
        self.context_length = 0

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a prompt: special tokens are read as such, and the beginning token comes once, also if a
        template has written it out."""
        return self._prompt_tokens(text)

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text alone, without special tokens around it."""
        return self._all(text, frame=False)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return `tokens` with the special tokens around them that the file defines for a text."""
        return add_special_tokens(tokens, self.plain("a"), self._all("a", frame=True))

    def _all(self, text: str, *, frame: bool) -> list[int]:
        return library.tokens(self._lib, self._vocab, text, frame=frame, special=False)

    def piece(self, token: int) -> str:
        """Return the entry of `token` in the vocabulary, as it is written there."""
        self._check_tokens([token])
        return self._token_text(token)

    @property
    def specials(self) -> dict[str, int]:
        """Return the ids of the special tokens by their roles: bos, eos, eot (end of a turn), pad. Roles without a
        token are left out."""
        roles = {role: int(getattr(self._lib, f"llama_vocab_{role}")(self._vocab)) for role in _ROLES}
        return {role: token for role, token in roles.items() if token >= 0}
