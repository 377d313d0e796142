"""Masks paths and secrets in texts that leave the machine: paths become `<path-1>`, secrets stars. Knows no prompt and
no provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# Quoted paths may hold spaces. A path of Windows has a drive letter, or two backslashes; an id (org/name) is no path,
# and neither is what follows the "//" of an address.
_QUOTED = r"""(?P<quote>["'`])(?P<inside>(?:~|\.{1,2})?/[^"'`\n]+|[A-Za-z]:[\\/][^"'`\n]+)(?P=quote)"""
_FILE = r"file://[^\s\"'`<>|]+"
_BARE = r"(?<![\w.:/~\\<-])(?:(?:~[\w.-]*|\.{1,2})?/[^\s\"'`<>|,;]+|[A-Za-z]:[\\/][^\s\"'`<>|,;]+|\\\\[^\s\"'`<>|,;]+)"
_PATH = re.compile(f"{_QUOTED}|{_FILE}|{_BARE}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Masks:
    """The masks of one prompt: a path is the same `<path-n>` wherever it stands. `redact` masks secrets in text;
    `paths` are the known paths, by each way in which they may be spelled."""

    def __init__(self, redact: Callable[[str], str], paths: Mapping[str, str] | None = None) -> None:
        self._redact = redact
        self._known = sorted((paths or {}).items(), key=lambda item: len(item[0]), reverse=True)
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return `text` with paths and secrets masked, so that it may go out."""
        for spelling, path in self._known:
            if spelling in text:
                text = text.replace(spelling, self._name(path))
        text = _PATH.sub(self._masked, text)
        return self._redact(_CONTROL.sub(" ", text))

    def data(self, value: Any) -> Any:
        """Return plain JSON data with every text in it masked, keys included, so that it may go out."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.data(item) for item in value]
        return value

    def _masked(self, found: re.Match[str]) -> str:
        if inside := found["inside"]:
            quote = found["quote"]
            return f"{quote}{self._name(inside)}{quote}"
        path = found[0].rstrip(".!?)")
        return self._name(path) + found[0][len(path) :]

    def _name(self, path: str) -> str:
        return self._names.setdefault(path, f"<path-{len(self._names) + 1}>")
