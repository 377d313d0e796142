"""What Tab offers in the chat: commands, their options, topics, artifacts, models seen before, types, folders, words of
sentences.

Knows prompt_toolkit's promise of a completer; asks the session's App for names, and lists folders; reads no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from lqmf.cli import registry
from lqmf.errors import LqmfError

if TYPE_CHECKING:
    from lqmf.cli.session import Session

WORD = re.compile(r"\S*$")
PATHS = ("./", "../", "/", "~/")
SPOKEN = ("quantize", "compare", "to", "for", "cpu", "gpu", "gguf", "demo", "the same in", "bits", "with context")


class ChatCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Everything that begins like the word before the cursor, commands first, whatever the case."""
        before = document.text_before_cursor
        word = (WORD.search(before) or [""])[0]
        for candidate in dict.fromkeys(candidates(before[: len(before) - len(word)].split(), word, self._session)):
            yield Completion(candidate, start_position=-len(word))


def candidates(words: list[str], word: str, session: Session) -> Iterator[str]:
    """What `word` may become, after `words`."""
    if word.startswith(PATHS):
        yield from _paths(word)
        return
    if words and words[-1] == "--type":
        yield from beginning(word, _types())
        return
    if not words:
        yield from beginning(word, registry.builtin_names())
    elif registry.exists(words[0]):
        yield from beginning(word, _options(words[0]) if word.startswith("-") else _following(words))
    if not word.startswith("-"):
        yield from beginning(word, (*_known(session), *_types(), *SPOKEN))


def _paths(word: str) -> list[str]:
    """Folders, and GGUF files, that a path which is begun may name."""
    head, _, begun = word.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(f"{head}/")) as found:
            entries = sorted((one.name, one.is_dir()) for one in found if one.name.startswith(begun))
    except OSError:
        return []
    shown = [(name, folder) for name, folder in entries if begun or not name.startswith(".")]
    return [f"{head}/{name}" + ("/" if folder else "") for name, folder in shown if folder or name.endswith(".gguf")]


def beginning(word: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that begin with `word`, in any case of letters."""
    return [name for name in names if name.lower().startswith(word.lower())]


def _command(name: str) -> Any:
    from lqmf.cli import tree

    return tree.leaf(name)


def _options(name: str) -> list[str]:
    params = [param for param in _command(name).params if not getattr(param, "hidden", False)]
    return [option for param in params for option in param.opts if option.startswith("--")]


def _following(words: list[str]) -> list[str]:
    """What may come after `words`, a command's name and more: its subcommands, names of settings or of commands."""
    if words == ["help"]:
        return registry.names()
    if words == ["explain"]:
        from lqmf.knowledge.passages import passages

        return [topic.words[0] for topic in passages()]
    if words in (["config", "get"], ["config", "set"]):
        from lqmf.settings import keys

        return list(keys())
    if words in (["llm", "switch"], ["llm", "test"]):
        from lqmf.settings import provider_names

        return [*provider_names(), "none"]
    return list(getattr(_command(words[0]), "commands", {})) if len(words) == 1 else []


def _known(session: Session) -> list[str]:
    """Artifacts on disk and models seen before; nothing where the workspace cannot be read."""
    try:
        artifacts = [artifact.name for artifact in session.app.shelf.artifacts()]
        return [*artifacts, *session.app.memory.model_ids()]
    except LqmfError:
        return []


def _types() -> list[str]:
    from lqmf.quantization import registry

    return registry.type_names()
