"""Runs a model's own tokenizer from its folder: text to tokens, tokens to text, messages to a prompt, and the tokens
that end an answer. Knows no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lqmf.engines.frame import add_special_tokens
from lqmf.engines.promise import Message
from lqmf.errors import IncompleteModel, UsageError
from lqmf.model_files import chat_template

# What ends a turn under a name of its own, whatever the configuration says (llama-vocab.cpp of llama.cpp has the list)
KNOWN_ENDS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<EOT>", "_<EOT>", "<|end_of_text|>", "<end_of_utterance>",
)  # fmt: skip
_SHOWN_BEFORE = 6  # tokens of the prompt that the first new ones are read behind


class HfTokens:
    """The tokenizer in `folder`. Raises IncompleteModel if the folder has no tokenizer that can be read."""

    def __init__(self, folder: Path, *, allow_remote_code: bool = False) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=allow_remote_code
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
            told = str(error).strip().partition("\n")[0]
            raise IncompleteModel(
                f"{folder.name} has no tokenizer that can be read: {told}", "Get it again."
            ) from error
        self._bos = self._begins_with()

    def _begins_with(self) -> int | None:
        """Return the token that the tokenizer itself puts before a text; None if it has no such convention."""
        bos = self._tokenizer.bos_token_id
        first = self._tokenizer("a")["input_ids"][:1]
        return bos if bos is not None and first == [bos] else None

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Return the token ids of `text`. `special` and `bos` are those of the Engine promise."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        tokens: list[int] = []
        if clean:
            tokens = self._tokenizer(clean, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        return [self._bos, *tokens] if bos and self._bos is not None else list(tokens)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return `tokens` with the tokenizer's special tokens around them: [CLS] .. [SEP], or an end token behind
        them."""
        bare = self._tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self._tokenizer("a")["input_ids"]
        return add_special_tokens(tokens, bare, whole)

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a prompt: special tokens are read as such, and the beginning token comes once, also if a
        template has written it out."""
        tokens = self.tokenize(text, special=True, bos=True)
        return tokens[1:] if self._bos is not None and tokens[:2] == [self._bos] * 2 else tokens

    def text(self, tokens: Sequence[int], *, special: bool = True) -> str:
        """Return the text of `tokens`; control tokens have no text unless `special`."""
        return str(
            self._tokenizer.decode(list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        )

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return `messages` as a prompt, through the model's chat template. Raises UsageError if the model has no
        template, or the template refuses the messages."""
        template = self._tokenizer.chat_template
        if isinstance(template, Mapping):
            template = template.get("default")
        if not template:
            raise UsageError("This model has no chat template.", "Give a plain prompt instead of messages.")
        return chat_template.render(
            str(template),
            messages,
            bos=self._tokenizer.bos_token or "",
            eos=self._tokenizer.eos_token or "",
            add_generation_prompt=add_generation_prompt,
        )

    def render_dialogue(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> str:
        """Return a dialogue as text, through the tokenizer's own `apply_chat_template`, which takes `more` (tools,
        say). Raises UsageError if the template fails."""
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **more))
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"The model's chat template fails: {error}", "Give a plain prompt instead.") from error

    @property
    def known(self) -> int:
        """Return how many tokens have a text."""
        return len(self._tokenizer)

    def piece(self, token: int) -> str:
        """Return the entry of `token` in the vocabulary, as it is written there."""
        return str(self._tokenizer.convert_ids_to_tokens(token))

    @property
    def specials(self) -> dict[str, int]:
        """Return the ids of the special tokens by their roles: bos, eos, unk, pad. Roles without a token are left
        out."""
        roles = {role: getattr(self._tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "unk", "pad")}
        return {role: int(token) for role, token in roles.items() if token is not None}

    def ends(self, *said: Any) -> frozenset[int]:
        """Return the tokens that end an answer: those `said` by configurations (a number, several numbers, or None),
        the tokenizer's own, and the tokens that are known by their names."""
        known = self._tokenizer.get_added_vocab()
        return self.ends_said(*said) | {known[name] for name in KNOWN_ENDS if name in known}

    def ends_said(self, *said: Any) -> frozenset[int]:
        """Return the tokens that end an answer, without those that are known by their names alone."""
        return frozenset(one for each in (*said, self._tokenizer.eos_token_id) for one in _several(each))

    def words(self, prompt: Sequence[int]) -> Words:
        """Return the Words that turn the tokens after `prompt` into text as they come."""
        return Words(self, prompt)


class Words:
    """The text that tokens add one after another: whole characters only. A tokenizer may write a token differently
    behind others (spaces, accents), so each token is read behind those before it."""

    def __init__(self, tokens: HfTokens, prompt: Sequence[int]) -> None:
        self._read = tokens
        self._tokens = list(prompt[-_SHOWN_BEFORE:])
        self._from, self._shown = 0, len(self._tokens)

    def feed(self, token: int) -> str:
        """Return the text that `token` makes certain; empty inside a character, and for control tokens."""
        self._tokens.append(token)
        known, now = self._texts()
        if now.endswith("\ufffd"):
            return ""
        self._from, self._shown = self._shown, len(self._tokens)
        return now[len(known) :]

    def finish(self) -> str:
        """Return the text that was held back, now that no token follows."""
        known, now = self._texts()
        return now[len(known) :]

    def _texts(self) -> tuple[str, str]:
        start = self._tokens[self._from :]
        shown = self._tokens[self._from : self._shown]
        return self._read.text(shown, special=False), self._read.text(start, special=False)


def _several(said: Any) -> list[int]:
    several = said if isinstance(said, list | tuple) else [said]
    return [int(one) for one in several if isinstance(one, int)]
