"""How good an artifact is, as Markdown: the receipt's figures, by kind of text, its gate and its checks, with bars.

Pure: a receipt in, text out. What was not measured says so, with the reason. Logarithms are natural.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lqmf.cards.markdown import bar, table, text
from lqmf.units import file_size

Receipt = Mapping[str, Any]

MEASURES = (
    ("Perplexity", "perplexity", "{:.4f}"),
    ("KL divergence from the source", "kl_divergence", ""),
    ("Top-1 agreement with the source", "top1_agreement", "{:.2%}"),
    ("KL divergence of the conversion to 16 bits", "conversion", ""),
    ("Tokens a second", "tokens_per_second", ""),
    ("Time to the first token", "latency_seconds", ""),
    ("Peak memory", "peak_memory_bytes", ""),
    ("Load time", "load_seconds", "{:.2f} s"),
)


def quality(receipt: Receipt | None) -> str:
    """The section's parts, those that there is something for."""
    if receipt is None:
        return "Not measured: no test was run. `lqmf test` measures it."
    reasons = receipt.get("reasons") or {}
    rows = [(label, _measure(receipt, field, form, reasons)) for label, field, form in MEASURES]
    parts = [table(("Measure", "Value"), rows + list(_more(receipt))), _conditions(receipt)]
    return "\n\n".join(filter(None, [*parts, domains(receipt), gate(receipt), checks(receipt)]))


def _measure(receipt: Receipt, field: str, form: str, reasons: Mapping[str, str]) -> str:
    value = receipt.get(field)
    if value is None:
        why = reasons.get(field) or reasons.get("*") or "no reason was recorded"
        return f"not measured: {text(str(why))}"
    shown = form.format(value) if form else COMPOSED[field](value)
    base = (receipt.get("base") or {}).get("perplexity") if field == "perplexity" else None
    return shown + (f" (source: {base:.4f})" if base is not None else "")


def _more(receipt: Receipt) -> Iterator[tuple[str, str]]:
    """Figures that older receipts, and other kinds of models, do not have."""
    if ratio := receipt.get("perplexity_ratio"):
        yield "Perplexity, by that of the source", f"{ratio['value']:.5f} ± {ratio['standard_error']:.5f}"
    if change := receipt.get("right_token"):
        error = f" ± {change['standard_error']:.4%}" if change.get("standard_error") is not None else ""
        yield "Probability of the right token, change", f"{change['mean_change']:+.4%}{error}"
    if cosine := (receipt.get("similarity") or {}).get("embedding_cosine"):
        yield "Cosine of embeddings with the source's", f"{cosine['mean']:.5f}, at least {cosine['min']:.5f}"
    if (loss := receipt.get("sequence_loss")) and loss.get("change") is not None:
        yield "Loss on known answers, change", f"{loss['change']:+.5f} nats a token"


def _divergence(value: Mapping[str, Any]) -> str:
    return f"{value['mean']:.5f} ± {value['standard_error']:.5f} nats a token; 99 % of tokens below {value['p99']:.4f}"


def _conversion(value: Mapping[str, Any]) -> str:
    found = value["kl_divergence"]
    told = f"{found['mean']:.6f} nats a token from the model as {text(str(value['source']['engine']))} runs it"
    if value.get("ignored_window"):
        return (
            f"{told}; llama.cpp ignores its sliding window of {value['ignored_window']} tokens, beyond which it differs"
        )
    beyond = f"; not compared beyond its sliding window of {value['sliding_window']} tokens"
    return told + (beyond if value.get("long_window_reason") else "")


def _speed(value: Mapping[str, Any]) -> str:
    return _joined((f"{rate:,.1f} {what}" for what, rate in _known(value, prompt="prompt", generation="generation")))


def _memory(value: Mapping[str, Any]) -> str:
    return _joined(f"{file_size(amount)} {what}" for what, amount in _known(value, rss="RAM", gpu="GPU"))


def _latency(value: Mapping[str, Any]) -> str:
    return _joined(f"{seconds * 1000:,.0f} ms" for _what, seconds in _known(value, first_token=""))


COMPOSED = {
    "kl_divergence": _divergence,
    "conversion": _conversion,
    "tokens_per_second": _speed,
    "peak_memory_bytes": _memory,
    "latency_seconds": _latency,
}


def _known(value: Mapping[str, Any], **labels: str) -> list[tuple[str, float]]:
    return [(label, value[name]) for name, label in labels.items() if value.get(name) is not None]


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "not measured: the receipt holds no value"


def _conditions(receipt: Receipt) -> str:
    """What was measured over, and where; logarithms are natural."""
    source = receipt.get("text") or {}
    tokens, window = receipt.get("tokens_evaluated"), receipt.get("window_tokens")
    machine = text(", ".join(str(part) for part in (receipt.get("measured_on") or {}).values() if part))
    parts = (
        f"over {tokens:,} tokens" + (f" of {text(source['name'])}" if source.get("name") else "") if tokens else "",
        f"in windows of {window}" if tokens and window else "",
        f"on {machine}" if machine else "",
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
    """The loss on each kind of text, with bars; empty where there is but one."""
    found: dict[str, Mapping[str, Any]] = {str(name): one for name, one in (receipt.get("domains") or {}).items()}
    most = max((_kl(one) or 0.0 for one in found.values()), default=0.0)
    if not found:
        return ""
    rows = [(text(name), *_domain(one, most)) for name, one in found.items()]
    head = ("Kind of text", "KL divergence", "", "Same first choice", "Perplexity", "of the source")
    return "### By kind of text\n\n" + table(head, rows, right=(1, 3, 4, 5))


def _kl(one: Mapping[str, Any]) -> float | None:
    found = (one.get("kl_divergence") or {}).get("mean")
    return float(found) if found is not None else None


def _domain(one: Mapping[str, Any], most: float) -> tuple[str, str, str, str, str]:
    kl, top1, own = _kl(one), one.get("top1_agreement"), one.get("perplexity")
    base = (one.get("base") or {}).get("perplexity")
    if kl is None:
        return text(str(one.get("reason") or "not measured")), "", "", _figure(own), _figure(base)
    return f"{kl:.5f}", bar(kl, most), f"{top1:.2%}" if top1 is not None else "", _figure(own), _figure(base)


def _figure(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


BOUNDS = {"kl_mean": "KL divergence at most {:g}", "top1": "same first choice at least {:.0%}"}


def gate(receipt: Receipt) -> str:
    """Whether it keeps within the bounds of its bits; empty where none were set."""
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
    """What was checked, each with its outcome."""
    rows = [
        (text(str(one["name"]).replace("_", " ")), "passed" if one["passed"] else "**failed**", _told(one))
        for one in receipt.get("checks") or ()
    ]
    return "### Checks\n\n" + table(("Check", "Outcome", ""), rows) if rows else ""


def _told(check: Mapping[str, Any]) -> str:
    return text(str(check.get("detail") or ""))
