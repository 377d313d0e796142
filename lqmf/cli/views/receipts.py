"""How a receipt looks: quality against the source, speed, memory, samples. Pure: a receipt in, a view out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.tables import NONE, cell, milliseconds, percent, small
from lqmf.fit import predictions
from lqmf.records import Artifact
from lqmf.terminal import clean
from lqmf.units import duration, file_size, memory_size

Receipt = Mapping[str, Any]
Line = tuple[str, str, str]  # what, figure, remark
SAMPLE_LENGTH = 160
OLDER = "not measured when this receipt was made"
PASSED, FAILED = "✓", "✗"
FORESEEN = ("size_bytes", "peak_rss_bytes", "peak_gpu_bytes", "generation_tokens_per_second")  # told of in any case


def receipt_view(artifact: Artifact, receipt: Receipt) -> RenderableType:
    """The receipt of one artifact."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(ratio=1, overflow="fold", style="dim")
    measured = (*speed_lines(receipt), *prediction_lines(receipt))
    for group in (size_lines(artifact, receipt), quality_lines(receipt), measured):
        for line in group:
            grid.add_row(*line)
        grid.add_row("", "", "")
    for line in (*gate_lines(receipt), *check_lines(receipt)):
        grid.add_row(*line)
    parts = [grid] if not receipt.get("domains") else [grid, Text(""), domains_table(receipt["domains"])]
    panel = Panel(
        Group(*parts),
        title=Text(clean(artifact.name)),
        title_align="left",
        box=box.ROUNDED,
        padding=(1, 2),
        border_style="dim",
    )
    return Group(panel, *_samples(receipt))


def size_lines(artifact: Artifact, receipt: Receipt) -> Iterator[Line]:
    """Size, compression, bits per weight."""
    known = (receipt.get("base") or {}).get("model")
    unknown = f"measured against {clean(str(known))}" if known else "its source is not known"
    of = f"from {file_size(artifact.source_size_bytes)}" if artifact.source_size_bytes else unknown
    ratio = f", {artifact.compression_ratio:.2f} times smaller" if artifact.compression_ratio else ""
    yield "size", file_size(artifact.size_bytes), of + ratio
    if receipt.get("bits_per_weight") is not None:
        yield "bits per weight", f"{receipt['bits_per_weight']:.2f}", ""


def quality_lines(receipt: Receipt) -> Iterator[Line]:
    """Divergence, agreement and perplexity, or why they are missing; of an encoder its cosines."""
    if (similarity := receipt.get("similarity")) is not None:
        yield from _similarity_lines(similarity)
        yield from _extent(receipt)
        return
    if (loss := receipt.get("sequence_loss")) is not None:
        yield _loss_line(loss)
    yield from _divergence_lines(receipt)
    yield _conversion_line(receipt)
    yield _perplexity_line(receipt)
    yield from _extent(receipt)


def _divergence_lines(receipt: Receipt) -> Iterator[Line]:
    kl = receipt.get("kl_divergence")
    if kl is None:
        yield "KL divergence", NONE, reason(receipt, "kl_divergence")
    else:
        error = f"± {small(kl.get('standard_error'))} nats a token; 99 % are below {small(kl.get('p99'))}"
        yield "KL divergence", small(kl["mean"]), error
        if kl.get("noise_floor") is not None:
            yield "noise floor", small(kl["noise_floor"]), "what the same comparison finds of the source and itself"
    agreement = receipt.get("top1_agreement")
    told = "of tokens, against the source" if agreement is not None else reason(receipt, "top1_agreement")
    yield "same top choice", percent(agreement), told
    if (change := receipt.get("right_token")) is not None:
        usual = f"change of the probability of the text's own next token; usually by {percent(change['rms_change'])}"
        yield "right token", f"{change['mean_change'] * 100:+.2f} %", usual


def _conversion_line(receipt: Receipt) -> Line:
    """What converting to GGUF alone changed, before anything was quantized."""
    found = receipt.get("conversion")
    if found is None:
        return "conversion", NONE, (receipt.get("reasons") or {}).get("conversion") or OLDER
    remark = (
        f"nats a token between the 16-bit GGUF and the model itself ({clean(str(found['source']['engine']))}); "
        f"same top choice {percent(found['top1_agreement'])}, logits within {found['largest_logit_error']:.3g}"
    )
    if found.get("ignored_window"):
        remark += f"; llama.cpp ignores its sliding window of {found['ignored_window']} tokens, beyond which it differs"
    elif found.get("long_window_reason"):
        remark += f"; beyond its sliding window of {found['sliding_window']} tokens not compared"
    return "conversion", small(found["kl_divergence"]["mean"]), remark


def _perplexity_line(receipt: Receipt) -> Line:
    base, perplexity = (receipt.get("base") or {}).get("perplexity"), receipt.get("perplexity")
    remark = f"the source has {base:.3f}" if base is not None else reason(receipt, "perplexity")
    if (ratio := receipt.get("perplexity_ratio")) is not None:
        remark += f"; ratio {ratio['value']:.4f} ± {small(ratio['standard_error'])}"
    return "perplexity", NONE if perplexity is None else f"{perplexity:.3f}", remark


def _similarity_lines(similarity: Mapping[str, Any]) -> Iterator[Line]:
    texts, tokens = similarity["embedding_cosine"], similarity["token_cosine"]
    between = texts.get("between_texts")
    remark = "" if between is None else f"; different texts have {between:.4f}"
    yield (
        "embedding cosine",
        f"{texts['mean']:.5f}",
        f"of {similarity['texts']} texts, at least {texts['min']:.5f}{remark}",
    )
    yield "token cosine", f"{tokens['mean']:.5f}", f"99 % are above {tokens['p1']:.5f}"


def _loss_line(loss: Mapping[str, Any]) -> Line:
    source = loss.get("source")
    remark = "nats a token of known answers" + ("" if source is None else f"; the source has {source:.4f}")
    return "sequence loss", f"{loss['artifact']:.4f}", remark


def _extent(receipt: Receipt) -> Iterator[Line]:
    """How much was read."""
    if receipt.get("tokens_evaluated"):
        yield "measured on", f"{receipt['tokens_evaluated']:,} tokens", f"in windows of {receipt.get('window_tokens')}"


def speed_lines(receipt: Receipt) -> Iterator[Line]:
    """Speed, latency, memory and use of the machine."""
    speed, latency = receipt.get("tokens_per_second") or {}, receipt.get("latency_seconds") or {}
    where = (receipt.get("measured_on") or {}).get("engine") or ""
    yield "writing", _rate(speed.get("generation")), clean(where) if speed else reason(receipt, "tokens_per_second")
    yield "reading", _rate(speed.get("prompt")), ""
    if latency.get("first_token") is not None:
        whole = f"a whole answer takes {duration(latency.get('per_response'))}" if latency.get("per_response") else ""
        yield "first token", milliseconds(latency["first_token"]), whole
    if receipt.get("load_seconds") is not None:
        yield "loading", duration(receipt["load_seconds"]), ""
    memory = receipt.get("peak_memory_bytes") or {}
    gpu = f"and {memory_size(memory['gpu'])} on the GPU" if memory.get("gpu") else ""
    yield "peak memory", memory_size(memory.get("rss")), gpu if memory else reason(receipt, "peak_memory_bytes")
    use = receipt.get("utilization") or {}
    if use.get("cpu") is not None:
        yield "CPU in use", f"{use['cpu']:.0f} %", f"GPU {use['gpu']:.0f} %" if use.get("gpu") is not None else ""


def prediction_lines(receipt: Receipt) -> Iterator[Line]:
    """One line, where something was predicted: each figure that was, by how much the measurement differs, and every
    miss."""
    beside = receipt.get("prediction") or {}
    if not beside:
        return
    missed = sum(bool(each["missed"]) for each in beside.values())
    known = dict.fromkeys((*predictions.LABELS, *beside))  # in this order
    shown = [name for name in known if name in beside and (name in FORESEEN or beside[name]["missed"])]
    remark = ", ".join(_foreseen(name, beside[name]) for name in shown)
    yield "prediction", f"{missed} of {len(beside)} missed" if missed else "met", remark


def _foreseen(name: str, each: Mapping[str, Any]) -> str:
    label = predictions.LABELS.get(name, clean(name))
    miss = ", missed" if each["missed"] else ""
    return f"{label} {_amount(name, each['predicted'])} ({predictions.percent(each['error'], '+')}{miss})"


def _amount(name: str, value: float) -> str:
    """A quantity in the unit that its name ends in."""
    if name == "size_bytes":
        return file_size(value)
    units: dict[str, Callable[[float], str]] = {
        "bytes": memory_size,
        "second": _rate,
        "seconds": duration,
        "nats": small,
    }
    write = units.get(name.rsplit("_", 1)[-1])
    return write(value) if write else cell(value)


def gate_lines(receipt: Receipt) -> Iterator[Line]:
    """Whether it passed the gate, its limits, and each reason why not."""
    gate = receipt.get("gate")
    if not gate:
        return
    marks = {True: f"{PASSED} passed", False: f"{FAILED} failed", None: NONE}
    reasons = [clean(str(each)) for each in gate.get("reasons") or ()]
    limits = gate.get("limits") or {}
    told = (
        f"at most {limits['kl_mean']:g} nats, at least {100 * limits['top1']:.0f} % the same top choice"
        if limits
        else ""
    )
    yield "gate", marks[gate.get("passed")], reasons[0] if reasons else told
    for each in reasons[1:]:
        yield "", "", each


def check_lines(receipt: Receipt) -> Iterator[Line]:
    """What was checked: those that failed each with what was seen, the others by name; then what could not be."""
    checks = receipt.get("checks") or ()
    passed = [_named(check["name"]) for check in checks if check["passed"]]
    if passed:
        yield "checks", f"{PASSED} {len(passed)} of {len(checks)}", ", ".join(passed)
    for check in checks:
        if not check["passed"]:
            yield _named(check["name"]), FAILED, clean(str(check.get("detail") or ""))
    missing: dict[str, list[str]] = {}
    for name, why in (receipt.get("reasons") or {}).items():
        if name.startswith("checks."):
            missing.setdefault(clean(str(why)), []).append(_named(name.removeprefix("checks.")))
    for why, names in missing.items():
        yield "not checked", NONE, f"{', '.join(names)}: {why}"


def _named(check: Any) -> str:
    return clean(str(check)).replace("_", " ")


def domains_table(domains: Mapping[str, Any]) -> RenderableType:
    """A line for each kind of text."""
    figures = ("KL divergence", "same top choice", "perplexity", "of the source")
    rows = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    rows.add_column("text", style="dim")
    for name in figures:
        rows.add_column(name, justify="right", no_wrap=True)
    for name, found in domains.items():
        rows.add_row(clean(str(name)), *_domain_cells(found))
    return rows


def _domain_cells(found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    kl, base = found.get("kl_divergence") or {}, found.get("base") or {}
    shown = (NONE if one is None else f"{one:.3f}" for one in (found.get("perplexity"), base.get("perplexity")))
    perplexity, source = shown
    return small(kl.get("mean")), percent(found.get("top1_agreement")), perplexity, source


def reason(receipt: Receipt, field: str) -> str:
    """Why a figure is missing, as the receipt says."""
    reasons = receipt.get("reasons") or {}
    return clean(str(reasons.get(field) or reasons.get("*") or "not measured"))


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f} tokens/s" if value >= 10 else f"{value:.1f} tokens/s"


def _samples(receipt: Receipt) -> Iterator[RenderableType]:
    for sample in receipt.get("samples") or ():
        response = " ".join(clean(str(sample.get("response", ""))).split())
        shown = response if len(response) <= SAMPLE_LENGTH else response[:SAMPLE_LENGTH].rsplit(" ", 1)[0] + " .."
        yield Padding(Text(f"> {clean(str(sample.get('prompt', '')))}", style="cyan"), (0, 0, 0, 2))
        yield Padding(Text(shown or "(nothing)"), (0, 0, 0, 4))
