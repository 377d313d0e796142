"""How a receipt looks: quality against the source, speed, memory, samples. Pure: a receipt in, a view out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lqmf.cli.views.tables import NONE, Narrowing
from lqmf.fit import predictions
from lqmf.fit.quality import in_a_word
from lqmf.quality import measures
from lqmf.records import Artifact
from lqmf.terminal import clean
from lqmf.units import small

Receipt = Mapping[str, Any]
SAMPLE_LENGTH = 160
DOMAIN_FIGURES = ("KL divergence", "same top choice", "perplexity", "of the source")
PASSED, FAILED = "✓", "✗"
VERDICTS = {"True": (f"{PASSED} passed", "green"), "False": (f"{FAILED} failed", "bold red")}
FORESEEN = ("size_bytes", "peak_rss_bytes", "peak_gpu_bytes", "generation_tokens_per_second")  # told of in any case


def receipt_view(artifact: Artifact, receipt: Receipt) -> RenderableType:
    """The receipt of one artifact."""
    told = measures.document(artifact, receipt)
    speed = (*measured_lines(told, "machine"), *prediction_lines(receipt))
    judged = (*gate_lines(receipt), *check_lines(receipt))
    groups = (measured_lines(told, "file"), measured_lines(told, "quality"), speed, judged)
    lines = [line for group in groups for line in (*group, ("", "", ""))][:-1]
    grid = Narrowing(lambda narrow: _grid(lines, narrow=bool(narrow)), {"remarks": 70})
    parts: list[RenderableType] = (
        [grid] if not receipt.get("domains") else [grid, Text(""), domains_table(receipt["domains"])]
    )
    panel = Panel(
        Group(*parts),
        title=Text(clean(artifact.name)),
        title_align="left",
        box=box.ROUNDED,
        padding=(1, 2),
        border_style="dim",
    )
    return Group(panel, *_samples(receipt))


def _grid(lines: Sequence[measures.Line], *, narrow: bool) -> RenderableType:
    """Labels, figures and remarks; where the terminal is narrow, the remark follows the figure."""
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", no_wrap=True)
    if narrow:
        grid.add_column(ratio=1, overflow="fold")
        for label, figure, remark in lines:
            grid.add_row(label, Text.assemble((f"{figure} " if figure else "", "bold"), (remark, "dim")))
        return grid
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(ratio=1, overflow="fold", style="dim")
    for line in lines:
        grid.add_row(*line)
    return grid


def brief(artifact: Artifact) -> list[tuple[str, str | Text]]:
    """What a receipt comes to, in five lines: size, loss, speed, memory, gate; `show` has the rest."""
    told = measures.document(artifact, artifact.receipt)
    line = {one.id: one.line(told) for one in measures.MEASURES}
    rows: list[tuple[str, str | Text]] = [("size", _told(line["size_bytes"]))]
    if artifact.receipt and artifact.receipt.get("checks"):
        rows += [("loss", _loss(told)), ("speed", _speed(line)), ("memory", _told(line["peak_rss_bytes"]))]
        rows += [("gate", _judged(artifact.receipt))]
    return rows


def _loss(told: Receipt) -> str:
    kl, same = measures.named("kl_divergence"), measures.named("top1_agreement")
    if (loss := kl.value(told)) is not None:
        alike = f"; {same.line(told)[1]} of its first choices are the source's" if same.value(told) is not None else ""
        return f"{in_a_word(loss)}: {small(loss)} nats a token{alike}"
    found = next((one for one in measures.shown(told, "quality") if one.better and one.value(told) is not None), None)
    return " ".join(found.line(told)[:2]) if found else f"not measured: {measures.reason(told, *kl.path)}"


def _speed(line: Mapping[str, measures.Line]) -> str:
    writing, reading = (line[f"tokens_per_second_{name}"] for name in ("generation", "prompt"))
    if NONE in (writing[1], reading[1]):
        return _told(writing if writing[1] == NONE else reading)
    return f"writes {writing[1]}, reads {reading[1]}"


def _told(line: measures.Line) -> str:
    return f"not measured: {line[2]}" if line[1] == NONE else ", ".join(filter(None, line[1:]))


def _judged(receipt: Receipt) -> Text:
    """Whether it passed, with every check that failed by name and every reason."""
    failed = [_named(check["name"]) for check in receipt.get("checks") or () if not check["passed"]]
    gate = receipt.get("gate") or {}
    reasons = [clean(str(each)) for each in gate.get("reasons") or ()]
    checks = f"these checks failed: {', '.join(failed)}" if failed else f"all {len(receipt['checks'])} checks too"
    verdict, style = VERDICTS.get(str(gate.get("passed")), ("undecided", "yellow"))
    return Text.assemble((verdict, style), f"; {checks}" + (f". {' '.join(reasons)}" if reasons else ""))


def measured_lines(told: Receipt, group: measures.Group) -> Iterator[measures.Line]:
    """The figures of one group, each with its remark, or with the reason why it is missing."""
    for one in measures.shown(told, group):
        label, figure, remark = one.line(told)
        yield label, figure, clean(remark)
    if group == "quality" and told.get("tokens_evaluated"):
        yield "measured on", f"{told['tokens_evaluated']:,} tokens", f"in windows of {told.get('window_tokens')}"


def prediction_lines(receipt: Receipt) -> Iterator[measures.Line]:
    """One line, where something was predicted: each figure that was, and by how much the measurement differs."""
    beside = receipt.get("prediction") or {}
    if not beside:
        return
    known = dict.fromkeys((*predictions.LABELS, *beside))  # in this order
    shown = [name for name in known if name in beside and (name in FORESEEN or beside[name]["missed"])]
    remark = ", ".join(_foreseen(name, beside[name]) for name in shown)
    yield "predicted", "", f"{remark}: what was measured differs so much" if remark else "as measured"


def _foreseen(name: str, each: Mapping[str, Any]) -> str:
    label = predictions.LABELS.get(name, clean(name))
    return f"{label} {predictions.amount(name, each['predicted'])} ({predictions.percent(each['error'], '+')})"


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
    """A line for each kind of text; where the terminal is narrow, with short headings and without the source's
    perplexity."""
    return Narrowing(lambda narrow: _domains(domains, narrow=bool(narrow)), {"of the source": 70})


def _domains(domains: Mapping[str, Any], *, narrow: bool) -> RenderableType:
    figures = ("KL", "same top", "perplexity") if narrow else DOMAIN_FIGURES
    rows = Table(box=None, padding=(0, 1 if narrow else 2, 0, 0), header_style="dim")
    rows.add_column("text", style="dim", no_wrap=True)
    for name in figures:
        rows.add_column(name, justify="right", no_wrap=True)
    for name, found in domains.items():
        rows.add_row(clean(str(name)), *measures.of_domain(found)[: len(figures)])
    return rows


def _samples(receipt: Receipt) -> Iterator[RenderableType]:
    for sample in receipt.get("samples") or ():
        response = " ".join(clean(str(sample.get("response", ""))).split())
        shown = response if len(response) <= SAMPLE_LENGTH else response[:SAMPLE_LENGTH].rsplit(" ", 1)[0] + " .."
        yield Padding(Text(f"> {clean(str(sample.get('prompt', '')))}", style="cyan"), (0, 0, 0, 2))
        yield Padding(Text(shown or "(nothing)"), (0, 0, 0, 4))
