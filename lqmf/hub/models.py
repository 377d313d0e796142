"""The source of models as one record of functions, so that its users know neither the Hub nor a disk."""

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
    """Functions that read and fetch models: `resolve` turns the typed name into a reference, `inspect` fetches
    metadata, `fetch` fetches the files.

    `missing` counts the bytes still to download; `stored` returns the folder of a model that is on this machine at that
    commit, without a network, or None; `present` returns the folder of a model that `inspect` described, or None;
    `published` lists repositories with a GGUF of the model; `login` takes a token.
    """

    resolve: Callable[[str], ModelRef]
    inspect: Callable[[ModelRef], Awaitable[ModelInfo]]
    fetch: Callable[[ModelInfo, Emit, str], Awaitable[Path]]
    missing: Callable[[ModelInfo], int]
    stored: Callable[[ModelRef, str | None], Path | None]
    present: Callable[[ModelInfo], Path | None]
    published: Callable[[str], Awaitable[tuple[PublishedGguf, ...]]]
    login: Callable[[str], Any]
