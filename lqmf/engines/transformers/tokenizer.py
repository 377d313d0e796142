"""A model's own tokenizer, as its folder holds it: text to tokens, tokens to text, messages to a prompt, and which
tokens end an answer. Knows no weights."""

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
    """The tokenizer in `folder`. Raises IncompleteModel when there is none that can be read."""

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
        """The token that the tokenizer itself puts before a text; None where it has no such convention."""
        bos = self._tokenizer.bos_token_id
        first = self._tokenizer("a")["input_ids"][:1]
        return bos if bos is not None and first == [bos] else None

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Token ids of `text`. See the Engine promise."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        tokens: list[int] = []
        if clean:
            tokens = self._tokenizer(clean, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        return [self._bos, *tokens] if bos and self._bos is not None else list(tokens)

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """`tokens` between what the tokenizer puts around a text: [CLS] .. [SEP], or an end token behind it."""
        bare = self._tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self._tokenizer("a")["input_ids"]
        return add_special_tokens(tokens, bare, whole)

    def prompt(self, text: str) -> list[int]:
        """Tokens of a prompt: special ones read, the beginning token once, also where a template has written it out."""
        tokens = self.tokenize(text, special=True, bos=True)
        return tokens[1:] if self._bos is not None and tokens[:2] == [self._bos] * 2 else tokens

    def text(self, tokens: Sequence[int], *, special: bool = True) -> str:
        """The text of `tokens`; control tokens are silent unless `special`."""
        return str(
            self._tokenizer.decode(list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        )

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """`messages` through the model's chat template. Raises UsageError when it has none, or it refuses them."""
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
        """A dialogue through the tokenizer's own `apply_chat_template`, which may be given tools. Raises UsageError."""
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **more))
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"The model's chat template fails: {error}", "Give a plain prompt instead.") from error

    @property
    def known(self) -> int:
        """How many tokens have a text."""
        return len(self._tokenizer)

    def piece(self, token: int) -> str:
        """The entry of `token` in the vocabulary, as it is written there."""
        return str(self._tokenizer.convert_ids_to_tokens(token))

    @property
    def specials(self) -> dict[str, int]:
        """The ids of the special tokens that have a role, by role: bos, eos, unk, pad."""
        roles = {role: getattr(self._tokenizer, f"{role}_token_id", None) for role in ("bos", "eos", "unk", "pad")}
        return {role: int(token) for role, token in roles.items() if token is not None}

    def ends(self, *said: Any) -> frozenset[int]:
        """The tokens that end an answer: those `said` by configurations (a number, several, or None), the tokenizer's
        own, and those that are known by their names."""
        known = self._tokenizer.get_added_vocab()
        return self.ends_said(*said) | {known[name] for name in KNOWN_ENDS if name in known}

    def ends_said(self, *said: Any) -> frozenset[int]:
        """Those of `ends` that are not told by their names alone."""
        return frozenset(one for each in (*said, self._tokenizer.eos_token_id) for one in _several(each))

    def words(self, prompt: Sequence[int]) -> Words:
        """The text of what follows `prompt`, as it comes."""
        return Words(self, prompt)


class Words:
    """Feed it tokens, get the text that they add: whole characters only. A tokenizer may write a token differently
    behind others (spaces, accents), so each is read behind those before it."""

    def __init__(self, tokens: HfTokens, prompt: Sequence[int]) -> None:
        self._read = tokens
        self._tokens = list(prompt[-_SHOWN_BEFORE:])
        self._from, self._shown = 0, len(self._tokens)

    def feed(self, token: int) -> str:
        """What `token` makes certain; empty while it is a part of a character, and for control tokens."""
        self._tokens.append(token)
        known, now = self._texts()
        if now.endswith("\ufffd"):
            return ""
        self._from, self._shown = self._shown, len(self._tokens)
        return now[len(known) :]

    def finish(self) -> str:
        """What was held back and can be shown now that nothing follows."""
        known, now = self._texts()
        return now[len(known) :]

    def _texts(self) -> tuple[str, str]:
        start = self._tokens[self._from :]
        shown = self._tokens[self._from : self._shown]
        return self._read.text(shown, special=False), self._read.text(start, special=False)


def _several(said: Any) -> list[int]:
    several = said if isinstance(said, list | tuple) else [said]
    return [int(one) for one in several if isinstance(one, int)]
