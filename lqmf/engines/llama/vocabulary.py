"""What a GGUF file's tokenizer does, by llama.cpp itself, without its weights: also of a file that is cut short.

Knows tokens; runs no model. Worker only, as all that loads libllama.
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

    def __enter__(self) -> LlamaVocabulary:
        return self

    def _load(self, path: Path, gpu_layers: int | None) -> None:
        asked = self._lib.llama_model_default_params()
        asked.vocab_only = True
        library.forget_log()
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), asked)
        if not self._model:
            raise library.refusal(f"read the vocabulary of {path.name}")

    def _read_model(self, path: Path, context: int | None) -> None:
        self._vocab: Any = self._lib.llama_model_get_vocab(self._model)
        if self._lib.llama_vocab_type(self._vocab) == self._lib.LLAMA_VOCAB_TYPE_NONE:
            raise UnsupportedModel(f"{path.name} holds no tokenizer.", "Convert it again, with its tokenizer files.")
        self.name = library.version()
        self.vocabulary = int(self._lib.llama_vocab_n_tokens(self._vocab))
        self.context_length = 0

    def prompt(self, text: str) -> list[int]:
        """Tokens of a prompt: special ones read, the beginning token once, also where a template has written it out."""
        return self._prompt_tokens(text)

    def plain(self, text: str) -> list[int]:
        """Tokens of a text alone, without what belongs around it."""
        return self._all(text, frame=False)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """`tokens` between what the file says belongs around a text."""
        return add_special_tokens(tokens, self.plain("a"), self._all("a", frame=True))

    def _all(self, text: str, *, frame: bool) -> list[int]:
        return library.tokens(self._lib, self._vocab, text, frame=frame, special=False)

    def piece(self, token: int) -> str:
        """The entry of `token` in the vocabulary, as it is written there."""
        self._check_tokens([token])
        return self._token_text(token)

    @property
    def specials(self) -> dict[str, int]:
        """The ids of the special tokens that have a role, by role: bos, eos, eot (end of a turn), pad."""
        roles = {role: int(getattr(self._lib, f"llama_vocab_{role}")(self._vocab)) for role in _ROLES}
        return {role: token for role, token in roles.items() if token >= 0}
