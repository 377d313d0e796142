"""Where models come from, as one record of functions, so that its users know neither the Hub nor a disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf.events import Emit
from lqmf.hub.published import PublishedGguf
from lqmf.records import ModelInfo, ModelRef


@dataclass(frozen=True)
class Models:
    """Where models come from: `resolve` reads what was typed, `inspect` fetches metadata, `fetch` the files.

    `missing` counts the bytes still to download; `stored` gives the folder of a model that is on this machine at that
    commit, without a network, or None; `present` the same for what `inspect` found; `published` asks who has a GGUF of
    it; `login` takes a token.
    """

    resolve: Callable[[str], ModelRef]
    inspect: Callable[[ModelRef], Awaitable[ModelInfo]]
    fetch: Callable[[ModelInfo, Emit, str], Awaitable[Path]]
    missing: Callable[[ModelInfo], int]
    stored: Callable[[ModelRef, str | None], Path | None]
    present: Callable[[ModelInfo], Path | None]
    published: Callable[[str], Awaitable[tuple[PublishedGguf, ...]]]
    login: Callable[[str], Any]
