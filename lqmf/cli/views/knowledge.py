"""How knowledge looks: a passage, its sources, figures of types, and whose words an answer is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import notice_view
from lqmf.cli.views.tables import NONE, cell, table
from lqmf.units import file_size, small

if TYPE_CHECKING:
    from lqmf.knowledge.passages import Passage


def topics_view(everything: Sequence[Passage]) -> RenderableType:
    """What can be explained."""
    rows = table("topic", "about", keep=("topic",))
    for one in everything:
        rows.add_row(one.words[0], one.title)
    return Group(rows, notice_view("`explain TOPIC` tells of one; a question in your own words will do, too."))


def explained_view(data: Mapping[str, Any]) -> RenderableType:
    """The passages, or, where a provider has answered already, what its answer rests on."""
    answer = data["answer"]
    parts: list[RenderableType] = [_credit(answer, data)] if answer else list(_passages(data["passages"]))
    if data["types"]:
        parts += [_types(data["types"]), *_measured(data["types"])]
    if not answer:
        sources = dict.fromkeys(source for one in data["passages"] for source in one["sources"])
        parts.append(notice_view(f"Sources: {'; '.join(sources)}."))
    return Group(*parts)


def _credit(answer: Mapping[str, Any], data: Mapping[str, Any]) -> RenderableType:
    titles = ", ".join(one["title"] for one in data["passages"])
    rests = f", from LQMF's notes ({titles})" if titles else ""
    return notice_view(f"These are the words of {answer['provider']}{rests}; check what matters against the notes.")


def _passages(found: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for one in found:
        parts += [Text(one["title"], style="bold"), Text(one["text"]), Text()]
    return parts


def _types(types: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = table(
        "type", "bits a weight", "expected KL", "from", "", right=("bits a weight", "expected KL"), keep=("type",)
    )
    for one in types:
        rows.add_row(
            one["type"], f"{one['bits_per_weight']:.2f}", small(one["expected_kl_nats"]), one["source"], one["summary"]
        )
    return rows


def _measured(types: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    results = [result for one in types for result in one["measured_here"]]
    if not results:
        return []
    rows = table(
        "measured here", "size", "KL", "perplexity", "tokens/s", right=("size", "KL", "perplexity", "tokens/s")
    )
    for one in results:
        speed = one["tokens_per_second"]
        rows.add_row(
            one["artifact"],
            file_size(one["size_bytes"]),
            small(one["kl_nats"]),
            cell(one["perplexity"]),
            f"{speed:,.0f}" if speed else NONE,
        )
    return [rows]
