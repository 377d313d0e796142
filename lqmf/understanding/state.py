"""The state of a dialogue, frozen. Knows no sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lqmf.records import Decision


@dataclass(frozen=True)
class Dialogue:
    """The state of a dialogue. `request` is the model's request that "the same" means; `names` are artifacts, the
    latest last; `artifact_is_it` says that "it" is the last of `names` rather than the request."""

    request: Decision | None = None
    last: Decision | None = None
    names: tuple[str, ...] = ()
    artifact_is_it: bool = False
    open: bool = False  # does a fragment ("with 8k context") still change the request?
    proposed: Decision | None = None  # what a job proposed to make next: a yes means it
    background: Mapping[str, Any] = field(
        default_factory=dict
    )  # what a question on the side ("is it gated?") leaves out
