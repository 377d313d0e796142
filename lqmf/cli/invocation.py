"""What a line of words came to. A record only; imports no typer, so that a sentence costs nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from lqmf.records import Decision


@dataclass(frozen=True)
class Invocation:
    """A command's module and its Decision; or, with `module` None, a sentence. `options` are the common ones given."""

    module: ModuleType | None = None
    decision: Decision | None = None
    sentence: str = ""
    options: dict[str, Any] = field(default_factory=dict)
