"""How a receipt looks: quality against the source, speed, memory, samples. Pure: a receipt in, a view out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.tables import NONE
from lqmf.fit import predictions
from lqmf.quality import measures
from lqmf.records import Artifact
from lqmf.terminal import clean

Receipt = Mapping[str, Any]
SAMPLE_LENGTH = 160
PASSED, FAILED = "✓", "✗"
FORESEEN = ("size_bytes", "peak_rss_bytes", "peak_gpu_bytes", "generation_tokens_per_second")  # told of in any case


def receipt_view(artifact: Artifact, receipt: Receipt) -> RenderableType:
    """The receipt of one artifact."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(ratio=1, overflow="fold", style="dim")
    told = measures.document(artifact, receipt)
    speed = (*measured_lines(told, "machine"), *prediction_lines(receipt))
    for group in (measured_lines(told, "file"), measured_lines(told, "quality"), speed):
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


def measured_lines(told: Receipt, group: measures.Group) -> Iterator[measures.Line]:
    """The figures of one group, each with its remark, or with the reason why it is missing."""
    for one in measures.shown(told, group):
        label, figure, remark = one.line(told)
        yield label, figure, clean(remark)
    if group == "quality" and told.get("tokens_evaluated"):
        yield "measured on", f"{told['tokens_evaluated']:,} tokens", f"in windows of {told.get('window_tokens')}"


def prediction_lines(receipt: Receipt) -> Iterator[measures.Line]:
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
    return f"{label} {predictions.amount(name, each['predicted'])} ({predictions.percent(each['error'], '+')}{miss})"


def gate_lines(receipt: Receipt) -> Iterator[measures.Line]:
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


def check_lines(receipt: Receipt) -> Iterator[measures.Line]:
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
        rows.add_row(clean(str(name)), *measures.of_domain(found))
    return rows


def _samples(receipt: Receipt) -> Iterator[RenderableType]:
    for sample in receipt.get("samples") or ():
        response = " ".join(clean(str(sample.get("response", ""))).split())
        shown = response if len(response) <= SAMPLE_LENGTH else response[:SAMPLE_LENGTH].rsplit(" ", 1)[0] + " .."
        yield Padding(Text(f"> {clean(str(sample.get('prompt', '')))}", style="cyan"), (0, 0, 0, 2))
        yield Padding(Text(shown or "(nothing)"), (0, 0, 0, 4))
