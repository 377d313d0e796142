"""explain: what is known of a topic, with sources and what was measured here; a provider may put it in words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.errors import NotFound, ProviderError
from lqmf.operations.result import Result
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.knowledge.passages import Passage
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Topics(Result):
    """Everything that LQMF has notes on."""

    passages: tuple[Passage, ...]

    @property
    def document(self) -> dict[str, Any]:
        """`{"topics": [..]}`."""
        return {"topics": [one.words[0] for one in self.passages]}


@dataclass(frozen=True)
class Explained(Result):
    """The passages and figures that a question is about, and a provider's `answer` where one was given."""

    topic: str
    passages: tuple[Passage, ...]
    types: tuple[Mapping[str, Any], ...]
    results: tuple[Mapping[str, Any], ...]
    answer: Mapping[str, Any] | None = None

    @property
    def document(self) -> dict[str, Any]:
        """`{"topic", "passages": [{"title", "text", "sources"}], "types", "results", "answer"}`."""
        return {
            "topic": self.topic,
            "passages": [{"title": one.title, "text": one.text, "sources": list(one.sources)} for one in self.passages],
            "types": [dict(one) for one in self.types],
            "results": [dict(one) for one in self.results],
            "answer": self.answer,
        }


async def run(app: App, request: Request, ask: Ask) -> Explained | Topics:
    """Look the topic up; a free question is answered in a provider's words, where one is set. Raises NotFound."""
    from lqmf.knowledge.passages import passages

    question = str(request.topic or "")
    if not question:
        return Topics(tuple(passages()))
    found = await asyncio.to_thread(_looked_up, app, question)
    answer = await _answered(app, found)
    return Explained(found.topic, found.passages, found.types, found.results, answer)


def _looked_up(app: App, question: str) -> Explained:
    """Return passages, figures of the types that are named, and results of this store. Raises NotFound where nothing
    is known."""
    from lqmf.knowledge import figures, finding
    from lqmf.knowledge.last_plan import WHOLE, of_plan
    from lqmf.knowledge.passages import passages
    from lqmf.workspace import nearest

    found, names = finding.find(question), figures.types_in(question)
    planned = of_plan(question, app.last_plan) if app.last_plan else None
    if planned is not None:
        named = question.lower() not in WHOLE and any(question.lower() in one.words for one in found)
        found = [*found, planned] if named else [planned, *found]
    if not found and not names:
        guess = nearest(question.lower(), [word for one in passages() for word in one.words])
        hint = f"Did you mean '{guess}'? " if guess else ""
        topics = ", ".join(one.words[0] for one in passages())
        raise NotFound(f"LQMF's notes hold no answer to '{question}'.", f"{hint}They tell of: {topics}.")
    records = app.memory.list_records("ok")
    types = tuple(figures.of_type(name, records) for name in names)
    return Explained(question, tuple(found), types, tuple(figures.results(records)))


async def _answered(app: App, found: Explained) -> dict[str, Any] | None:
    """Return a provider's answer to a free question, told as it comes; None for a plain term, without a provider, and,
    the reason told, where none answers."""
    from lqmf.events import Notice, Said
    from lqmf.knowledge import answering
    from lqmf.knowledge.finding import is_term
    from lqmf.providers.config import llm_settings

    if is_term(found.topic) or app.llm is None:
        return None
    types, results = [dict(one) for one in found.types], [dict(one) for one in found.results]
    asked = answering.messages(found.topic, list(found.passages), types, results, app.redact)
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
