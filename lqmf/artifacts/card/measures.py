"""Writes the quality of an artifact as Markdown: the receipt's figures, by kind of text, its gate and its checks, with
bars.

Pure: a receipt in, text out. `lqmf.quality.measures` decides which figures there are. Logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lqmf.artifacts.card.markdown import bar, table, text
from lqmf.quality.measures import Group, busy, document, number, of_domain, reason, shown
from lqmf.records import Artifact

Receipt = Mapping[str, Any]

GROUPS: tuple[Group, ...] = ("quality", "machine")


def quality(artifact: Artifact, receipt: Receipt | None) -> str:
    """Return the section on quality, with those parts for which the receipt has facts."""
    told = document(artifact, receipt)
    rows = [row for group in GROUPS for row in measured(told, group)]
    if receipt is None or not rows:
        return "It was not measured. `lqmf test` measures it."
    parts = [table(("Measure", "Value", ""), rows), _missing(told), _conditions(receipt)]
    return "\n\n".join(filter(None, [*parts, domains(receipt), gate(receipt), checks(receipt)]))


def measured(told: Receipt, group: Group) -> Iterator[tuple[str, str, str]]:
    """Yield (heading, figure, remark) of each measure of `group` that was measured, and whose figure is reliable."""
    for one in shown(told, group):
        if one.value(told) is not None and not (one.timed and busy(told)):
            _, figure, remark = one.line(told)
            yield one.heading, figure, text(remark)


def _missing(told: Receipt) -> str:
    """A sentence for each reason why measures are missing; empty where all were measured."""
    reasons: dict[str, list[str]] = {}
    for one in (one for group in GROUPS for one in shown(told, group) if one.value(told) is None):
        reasons.setdefault(reason(told, *one.path).rstrip("."), []).append(one.label)
    return " ".join(f"Not measured: {', '.join(names)} ({text(why)})." for why, names in reasons.items())


def _conditions(receipt: Receipt) -> str:
    """A sentence on the text, windows and machine of the measurement."""
    source = receipt.get("text") or {}
    tokens, window = receipt.get("tokens_evaluated"), receipt.get("window_tokens")
    machine = text(", ".join(str(part) for part in (receipt.get("measured_on") or {}).values() if part))
    parts = (
        f"over {tokens:,} tokens" + (f" of {text(source['name'])}" if source.get("name") else "") if tokens else "",
        f"in windows of {window}" if tokens and window else "",
        f"on {machine}" if machine else "",
        "which other programs kept busy, so that no speed is told" if machine and busy(receipt) else "",
    )
    said = ", ".join(part for part in parts if part)
    measured = f"Measured {said}." if said else "Where it was measured was not recorded."
    if receipt.get("kl_divergence") is None:
        return measured
    return (
        f"{measured} KL divergence: over the second half of each window, from the source's distribution to this one's."
    )


# ---------------------------------------------------------------- by kind of text, gate, checks


def domains(receipt: Receipt) -> str:
    """Return the table of the loss on each kind of text, with bars; empty where the receipt has no domains."""
    found: dict[str, Mapping[str, Any]] = {str(name): one for name, one in (receipt.get("domains") or {}).items()}
    most = max((number(one, "kl_divergence", "mean") or 0.0 for one in found.values()), default=0.0)
    if not found:
        return ""
    rows = [(text(name), *_domain(one, most)) for name, one in found.items()]
    head = ("Kind of text", "KL divergence", "", "Same top choice", "Perplexity", "of the source")
    return "### By kind of text\n\n" + table(head, rows, right=(1, 3, 4, 5))


def _domain(one: Mapping[str, Any], most: float) -> tuple[str, str, str, str, str]:
    loss, same, own, source = of_domain(one)
    mean = number(one, "kl_divergence", "mean")
    if mean is None:
        return text(str(one.get("reason") or "not measured")), "", "", own, source
    return loss, bar(mean, most), same, own, source


BOUNDS = {"kl_mean": "KL divergence at most {:g}", "top1": "same top choice at least {:.0%}"}


def gate(receipt: Receipt) -> str:
    """Return a sentence on whether the artifact keeps within the bounds of its bits; empty where the gate gave no
    answer."""
    told = receipt.get("gate") or {}
    if told.get("passed") is None:
        return ""
    limits = ", ".join(
        BOUNDS[name].format(value) for name, value in (told.get("limits") or {}).items() if name in BOUNDS
    )
    bounds = f" ({limits})" if limits else ""
    if told["passed"]:
        return f"It keeps within the bounds set for its bits{bounds}."
    reasons = "; ".join(text(str(one)).rstrip(".") for one in told.get("reasons") or ())
    return f"**It does not keep within the bounds set for its bits{bounds}:** {reasons or 'no reason was recorded'}."


def checks(receipt: Receipt) -> str:
    """Return the table of the checks with their outcomes; empty for none."""
    rows = [
        (text(str(one["name"]).replace("_", " ")), "passed" if one["passed"] else "**failed**", _told(one))
        for one in receipt.get("checks") or ()
    ]
    return "### Checks\n\n" + table(("Check", "Outcome", ""), rows) if rows else ""


def _told(check: Mapping[str, Any]) -> str:
    return text(str(check.get("detail") or ""))
