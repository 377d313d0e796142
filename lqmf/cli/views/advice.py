"""How advice looks: what a provider's model would choose and why, what was left out of it, models that it named."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType

from lqmf.cli.views.messages import marked_view, notice_view
from lqmf.planning.taking import describe_suggestion
from lqmf.records import Advice, Suggestion
from lqmf.terminal import clean

WORDS = {"kv_type": "cache"}


def advice_view(advice: Advice) -> RenderableType:
    """Who advises what, and why; then its notes, and what of its answer was left out."""
    parts: list[RenderableType] = []
    if advice.slots or advice.reason:
        parts.append(marked_view("»", "cyan", clean(f"{advice.provider} {_what(advice)}: {advice.reason}")))
    parts += [notice_view(clean(note)) for note in advice.notes]
    parts += [notice_view(f"{advice.provider}: {clean(left_out)}", warning=True) for left_out in advice.dropped]
    return Group(*parts)


def _what(advice: Advice) -> str:
    if not advice.slots:
        return "would choose the same" if not advice.dropped else "says"
    told = (f"{WORDS.get(name, name)} {_value(value)}" for name, value in advice.slots.items())
    return f"advises {', '.join(told)}"


def _value(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def suggestions_view(found: Sequence[Suggestion]) -> RenderableType:
    """Models that were named, a line each."""
    lines = [marked_view("»", "cyan", clean(f"{one.id}: {describe_suggestion(one)}")) for one in found]
    return Group(notice_view("A helper names these; `plan org/name` has a model's own figures."), *lines)
