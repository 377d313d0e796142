"""`lqmf explain`: what is known of a topic, with sources and what was measured here; a provider may put it in words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.errors import NotFound, ProviderError
from lqmf.records import Decision, Outcome

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.knowledge.passages import Passage

COMMAND = Command(
    "explain",
    "what a term means, and what was measured of it here",
    intents=("explain",),
    examples=(
        "lqmf explain gptq",
        'lqmf explain "difference between Q4_K_M and Q4_0"',
        'lqmf explain "which type should I use?" --json',
    ),
    order=35,
)


def topics(incomplete: str) -> list[str]:
    """Topics that begin so."""
    from lqmf.knowledge.passages import passages

    return [name for one in passages() if (name := one.words[0]).startswith(incomplete.lower())]


def cli(
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="TOPIC", help="A term or a question; the topics if left out.", autocompletion=topics),
    ] = None,
) -> Decision:
    """Explain a term or answer a question on quantization, offline, from notes with their sources."""
    return options.typed("explain", topic=" ".join(topic) if topic else None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The passages and figures that a question is about; in a provider's words where it is a free question."""
    from lqmf.cli.views.knowledge import explained_view, topics_view
    from lqmf.knowledge.passages import passages

    question = str(decision.slots.get("topic") or "")
    if not question:
        everything = passages()
        return Outcome({"topics": [one.words[0] for one in everything]}, topics_view(everything))
    found, types, results = await asyncio.to_thread(_look_up, app, question)
    answered = await _answered(app, question, found, types, results)
    data = {
        "topic": question,
        "passages": [{"title": one.title, "text": one.text, "sources": list(one.sources)} for one in found],
        "types": types,
        "results": results,
        "answer": answered,
    }
    return Outcome(data, explained_view(data))


def _look_up(app: App, question: str) -> tuple[list[Passage], list[dict[str, Any]], list[dict[str, Any]]]:
    """Passages, figures of the types that are named, results of this store. Raises NotFound where nothing is known."""
    from lqmf.knowledge import figures, passages
    from lqmf.workspace import nearest

    found, names = passages.find(question), figures.types_in(question)
    if not found and not names:
        known = [word for one in passages.passages() for word in one.words]
        guess = nearest(question.lower(), known)
        hint = f"Did you mean '{guess}'? " if guess else ""
        raise NotFound(f"Nothing is known here of '{question}'.", f"{hint}`explain` alone lists the topics.")
    records = app.memory.list_records("ok")
    types = [figures.of_type(name, records) for name in names]
    return found, types, figures.results(records)


async def _answered(
    app: App,
    question: str,
    found: Sequence[Passage],
    types: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any]],
) -> dict[str, Any] | None:
    """A provider's answer to a free question, shown as it comes; None for a plain term, without a provider, and, the
    reason told, where none answers."""
    from lqmf.events import Notice, Said
    from lqmf.knowledge import answering
    from lqmf.knowledge.passages import is_term
    from lqmf.providers.config import llm_settings

    if is_term(question) or app.llm is None:
        return None
    asked = answering.messages(question, found, types, results, app.redact)
    told: list[str] = []
    name = app.llm.name
    try:
        async for piece in answering.answer(app.llm, asked, wait_s=llm_settings(app.settings).wait_s):
            told.append(piece)
            app.bus.publish(Said(text=piece))
    except ProviderError as error:
        app.bus.publish(Notice(text=app.redact(f"No answer: {error.message} LQMF's notes follow."), level="warning"))
        return None
    finally:
        if told:
            app.bus.publish(Said(text="\n"))
    return {"text": "".join(told), "provider": name}
