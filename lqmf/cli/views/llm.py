"""How the language models that may help look: who they are, how they are, what a test of one gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from lqmf.cli.views.messages import Unfolded, done_view, notice_view
from lqmf.cli.views.tables import NONE, cell, table, when

_STATES = {"closed": "", "half-open": "resting is over; the next call decides", "open": "left alone for {rest_s:.0f} s"}


def status_view(data: Mapping[str, Any]) -> RenderableType:
    """A row a provider, then what stands in its way, the limits, and who is in use."""
    rows = table("provider", "model", "key", "last call", "health", keep=("provider",))
    for one in data["providers"]:
        rows.add_row(_name(one), cell(one["model"]), _key(one), _last(one["last_call"]), _health(one))
    hindered = [
        notice_view(f"{one['name']}: {one['reason']}", warning=one["place"] is not None)
        for one in data["providers"]
        if one["reason"] and (one["place"] or one["key"] != "missing")
    ]
    return Group(_in_use(data), rows, *map(Unfolded, hindered), notice_view(_today(data)))


def _in_use(data: Mapping[str, Any]) -> RenderableType:
    if data["provider"] == "none":
        return notice_view("No provider helps: the planner's rules decide. `llm switch PROVIDER` asks one to advise.")
    after = f", then {', '.join(data['fallbacks'])}" if data["fallbacks"] else ""
    return Text.assemble((data["provider"], "bold"), f"{after}: from {data['source']}")


def _name(one: Mapping[str, Any]) -> Text:
    place = one["place"]
    mark = "● " if place == 1 else f"{place} " if place else "  "
    return Text(f"{mark}{one['name']}", style="bold" if place else "")


def _key(one: Mapping[str, Any]) -> str:
    return one["key_source"] or str(one["key"])


def _last(call: Mapping[str, Any] | None) -> str:
    if call is None:
        return NONE
    outcome = "" if call["outcome"] == "ok" else f", {call['outcome'].replace('_', ' ')}"
    return f"{when(call['at'])}, {call['seconds']:.1f} s{outcome}"


def _health(one: Mapping[str, Any]) -> str:
    health = one["health"]
    if one["last_call"] is None:
        return NONE
    failures = f"{health['failures']} failed in a row" if health["failures"] else "well"
    state = _STATES[health["state"]].format(**health)
    return f"{failures}; {state}" if state else failures


def _today(data: Mapping[str, Any]) -> str:
    today, most = data["today"], data["budget"]
    parts = (
        _of(f"{today['calls']:,}", most["calls"], "calls", ",d"),
        _of(f"{today['tokens']:,}", most["tokens"], "tokens", ",d"),
        _of(f"${today['cost']:.4f}", most["cost"], "", ".2f"),
    )
    return f"Today: {', '.join(parts)}. The chat waits {data['wait_s']:g} s for advice."


def _of(used: str, most: Any, unit: str, form: str) -> str:
    limit = f" of {'$' if form == '.2f' else ''}{format(most, form)}" if most is not None else ""
    return f"{used}{limit} {unit}".strip()


def switched_view(data: Mapping[str, Any]) -> RenderableType:
    """What was written, and what hinders it."""
    said = "The planner's rules decide alone now" if data["provider"] == "none" else f"{data['provider']} helps now"
    parts: list[RenderableType] = [Unfolded(done_view(f"{said}: written to {data['path']}."))]
    if data["in_use"] != data["provider"]:
        parts.append(notice_view(f"{data['in_use']}, from {data['in_use_from']}, still comes first.", warning=True))
    if not data["ready"]:
        parts.append(Unfolded(notice_view(f"{data['reason']} {data['remedy']}", warning=True)))
    return Group(*parts)


def tested_view(data: Mapping[str, Any]) -> RenderableType:
    """That it answered, and what that took."""
    counted = [f"{data[f'{way}_tokens']} tokens {word}" for way, word in (("input", "in"), ("output", "out")) if
               data[f"{way}_tokens"] is not None]  # fmt: skip
    price = f"${data['cost']:.6f}" if data["cost"] is not None else "its price is not known here"
    return done_view(
        f"{data['provider']} answers: {data['model']}, {data['seconds']:.2f} s, {', '.join((*counted, price))}."
    )
