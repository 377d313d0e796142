"""Ollama's Modelfile as its documentation and its parser read it: a list of (instruction, argument).

Rules, of docs/modelfile.mdx and parser/parser.go (2026): `# comment` and `INSTRUCTION arguments`, instructions in any
case; FROM is required; an argument ends at its line's end, but one that begins with a quote, or with three, ends where
the same stands before white space or the end; characters that do not print are dropped. PARAMETER names are those of
the documentation's table and of the runner's options in api/types.go.
"""

from __future__ import annotations

from collections.abc import Iterator

INSTRUCTIONS = frozenset(["from", "parameter", "template", "system", "adapter", "license", "message", "requires"])
INTEGERS = frozenset(
    ["num_ctx", "repeat_last_n", "seed", "num_predict", "draft_num_predict", "top_k", "num_gpu", "num_batch"]
)
FLOATS = frozenset(["repeat_penalty", "temperature", "top_p", "min_p"])


def parse(text: str) -> list[tuple[str, str]]:
    """Raises ValueError for what Ollama would refuse."""
    found = list(_commands(text))
    if not any(name == "model" for name, _ in found):
        raise ValueError("no FROM line")
    return found


def _commands(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
        elif text[at] == "#":
            at = _line_end(text, at)
        else:
            word, at = _word(text, at)
            if word.lower() not in INSTRUCTIONS:
                raise ValueError(f"'{word}' is no instruction")
            name, at = _word(text, at + 1) if word.lower() == "parameter" else (word.lower(), at)
            argument, at = _argument(text, at + 1)
            yield _checked("model" if name == "from" else name, argument, word.lower() == "parameter")


def _word(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and ((text[end].isascii() and text[end].isalnum()) or text[end] == "_"):
        end += 1
    if end >= len(text) or text[end] not in " \t":
        raise ValueError(f"what follows '{text[at:end]}' is no argument")
    return text[at:end], end


def _argument(text: str, at: int) -> tuple[str, int]:
    """Read as the parser does: at each line's end it looks whether what it has so far is whole."""
    end = at
    while True:
        end = _line_end(text, end)
        whole = _unquoted("".join(c for c in text[at:end] if c.isprintable() or c in "\n\r\t").strip())
        if whole is not None:
            return whole, end
        if end >= len(text):
            raise ValueError("a quote has no end")
        end += 1


def _unquoted(text: str) -> str | None:
    for quote in ('"""', '"'):
        if text.startswith(quote):
            return text[len(quote) : -len(quote)] if len(text) >= 2 * len(quote) and text.endswith(quote) else None
    return text


def _line_end(text: str, at: int) -> int:
    return min((found for found in (text.find("\n", at), text.find("\r", at)) if found >= 0), default=len(text))


def _checked(name: str, argument: str, parameter: bool) -> tuple[str, str]:
    if parameter and name in INTEGERS:
        int(argument)
    elif parameter and name in FLOATS:
        float(argument)
    elif parameter and name != "stop":
        raise ValueError(f"there is no parameter '{name}'")
    if not argument:
        raise ValueError(f"'{name}' says nothing")
    return name, argument
